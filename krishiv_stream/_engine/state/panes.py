"""Window panes: the raw rows of each stretch of event time, kept until no open window needs them.

Snapshots are append-only segments: at a barrier the rows that no completed checkpoint holds go into one new file,
each row into one file only; older files are referred to again as long as one of their panes is open. When many small
segments pile up, the smaller ones are written anew as one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_checkpoint import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krishiv_checkpoint import CheckpointStore, OperatorSnapshot, StateFile
    from krishiv_stream._engine.state.blocks import BlockStore, HeldBlocks

__all__ = ["PaneSnapshot", "Panes"]

_SMALL_ROWS = 8_192
_SMALL_RUN = 64
_MAX_SEGMENTS = 32
_MOST_WASTE = 4


@dataclass
class _Segment:
    """A file that holds chunks, in the order of `panes`; `file` is known once it has been written."""

    epoch: int
    panes: list[int]
    file: StateFile | None = None


@dataclass
class _Chunk:
    block: int
    rows: int
    segment: _Segment | None = None


@dataclass
class PaneSnapshot:
    """The panes at one barrier: segments to refer to, and the rows that go into a new one. Written once."""

    segments: list[_Segment]
    fresh: _Segment
    batches: HeldBlocks

    def write(self, store: CheckpointStore, key: str) -> tuple[list[list[int]], tuple[StateFile, ...]]:
        """Write the new segment, and return for every file the pane of each of its batches, and the files."""
        segments = list(self.segments)
        try:
            if self.fresh.panes:
                self.fresh.file = write_state(store, key, self.batches)
                segments.append(self.fresh)
        finally:
            self.batches.release()
        written = [(segment.panes, segment.file) for segment in segments if segment.file is not None]
        return [panes for panes, _ in written], tuple(file for _, file in written)


class Panes:
    """Rows by pane. A pane's number is its start, in the unit of the event-time column."""

    def __init__(self, blocks: BlockStore) -> None:
        self._blocks = blocks
        self._panes: defaultdict[int, list[_Chunk]] = defaultdict(list)
        self._small: defaultdict[int, int] = defaultdict(int)
        self.rows = 0

    def append(self, pane: int, batch: pa.RecordBatch) -> None:
        """Add the rows of `batch` to `pane`."""
        chunks = self._panes[pane]
        chunks.append(_Chunk(self._blocks.put(_alone(batch)), batch.num_rows))
        self.rows += batch.num_rows
        if batch.num_rows < _SMALL_ROWS:
            self._small[pane] += 1
            if self._small[pane] >= _SMALL_RUN:
                self._join_small(pane)

    def starts(self) -> list[int]:
        """Return the panes that hold rows, in order."""
        return sorted(self._panes)

    def read(self, pane: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `pane`, batch by batch."""
        for chunk in self._panes.get(pane, ()):
            yield self._blocks.get(chunk.block)

    def drop(self, pane: int) -> None:
        """Forget `pane`."""
        self._small.pop(pane, None)
        for chunk in self._panes.pop(pane, ()):
            self._blocks.drop(chunk.block)
            self.rows -= chunk.rows

    def snapshot(self, epoch: int, completed: int) -> PaneSnapshot:
        """Take the panes as they are; `completed` is the newest epoch with a durable manifest (P4)."""
        retained = self._retained(completed)
        kept = {id(segment) for segment in retained}
        fresh = _Segment(epoch, [])
        blocks: list[int] = []
        for pane, chunks in self._panes.items():
            for chunk in chunks:
                if id(chunk.segment) not in kept:
                    chunk.segment = fresh
                    fresh.panes.append(pane)
                    blocks.append(chunk.block)
        return PaneSnapshot(retained, fresh, self._blocks.hold(blocks))

    def restore(
        self,
        snapshot: OperatorSnapshot,
        store: CheckpointStore,
        select: Callable[[pa.RecordBatch], pa.RecordBatch] | None,
    ) -> None:
        """Add the rows of a stored snapshot; with `select`, only those it keeps (another key-group range)."""
        for panes, file in zip(snapshot.inline["segments"], snapshot.files, strict=True):
            segment = _Segment(0, list(panes), file)
            open_panes = set(snapshot.inline["panes"])
            for pane, batch in zip(panes, read_state(store, file), strict=True):
                kept = batch if select is None else select(batch)
                if pane in open_panes and kept.num_rows:
                    chunk = _Chunk(self._blocks.put(kept), kept.num_rows, segment if select is None else None)
                    self._panes[pane].append(chunk)
                    self.rows += kept.num_rows

    def close(self) -> None:
        """Forget everything."""
        self._panes.clear()
        self._blocks.close()

    def _retained(self, completed: int) -> list[_Segment]:
        """Return the segments that stay as they are: all, or, when they are many, the largest of them."""
        found: dict[int, _Segment] = {}
        rows: defaultdict[int, int] = defaultdict(int)
        for chunks in self._panes.values():
            for chunk in chunks:
                segment = chunk.segment
                if segment is not None and segment.epoch <= completed and segment.file is not None:
                    found[id(segment)] = segment
                    rows[id(segment)] += chunk.rows
        if len(found) <= _MAX_SEGMENTS:
            return list(found.values())
        largest = sorted(found, key=rows.__getitem__, reverse=True)[: _MAX_SEGMENTS // 2]
        return [found[each] for each in largest]

    def _join_small(self, pane: int) -> None:
        """Make one block of the small ones that no snapshot has written yet, so that tiny batches do not pile up."""
        chunks = self._panes[pane]
        small = [c for c in chunks if c.segment is None and c.rows < _SMALL_ROWS]
        self._small[pane] = 0
        if len(small) < 2:
            return
        joined = pa.concat_batches([self._blocks.get(chunk.block) for chunk in small])
        chosen = {chunk.block for chunk in small}
        self._panes[pane] = [chunk for chunk in chunks if chunk.block not in chosen]
        for chunk in small:
            self._blocks.drop(chunk.block)
        self._panes[pane].append(_Chunk(self._blocks.put(joined), joined.num_rows))


def _alone(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return `batch`, copied if it is a small part of large buffers: else a few rows keep all of them in memory."""
    if batch.num_rows < _SMALL_ROWS and batch.get_total_buffer_size() > _MOST_WASTE * batch.nbytes:
        return pa.concat_batches([batch])
    return batch
