"""Windowed aggregation: raw rows are kept by pane until the watermark closes their windows, then aggregated once.

Buffering costs no latency, because a window's result is due only when it closes, and aggregating once is several
times faster than merging partial results per batch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_checkpoint import OperatorSnapshot
from krishiv_guarantees import FatalError
from krishiv_stream._engine.elements import END_OF_TIME
from krishiv_stream._engine.event_time import floor_to_microseconds, ticks, ticks_of
from krishiv_stream._engine.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from krishiv_checkpoint import CheckpointStore
    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.metrics import OperatorMetrics
    from krishiv_stream._engine.snapshots import SnapshotCollector
    from krishiv_stream._engine.state.panes import Panes
    from krishiv_stream._expressions.compiled import CompiledAggregation
    from krishiv_stream._plan.nodes import WindowNode

__all__ = ["WindowOperator", "WindowShape"]

_NO_TIME = -(2**63)


class WindowShape:
    """A window in ticks of the event-time column.

    `horizon(watermark)` is the start of the earliest window that has not fired; a row before it is late.
    """

    def __init__(self, node: WindowNode, unit: str) -> None:
        self.unit = unit
        self.size = ticks_of(node.window.size, unit)
        self.every = ticks_of(node.window.every, unit)
        self.pane = ticks_of(node.window.pane, unit)
        self.offset = ticks_of(node.window.offset, unit)
        self.lateness = ticks_of(node.lateness, unit)

    def horizon(self, watermark: int) -> int:
        """Return the start of the earliest window that `watermark` (microseconds) leaves open."""
        if watermark == END_OF_TIME:
            return END_OF_TIME
        closed_before = ticks_of(watermark, self.unit) - self.lateness
        return self._align(closed_before - self.size, self.every) + self.every

    def pane_of(self, time: int) -> int:
        """Return the start of the pane that holds `time`."""
        return self._align(time, self.pane)

    def panes_of(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pane start of each of `times`."""
        return (times - self.offset) // self.pane * self.pane + self.offset

    def last_window(self, pane: int) -> int:
        """Return the start of the last window that covers `pane`."""
        return self._align(pane, self.every)

    def windows_of(self, pane: int) -> range:
        """Return the starts of all windows that cover `pane`."""
        last = self.last_window(pane)
        first = self._align(pane + self.pane - self.size - 1, self.every) + self.every
        return range(first, last + 1, self.every)

    def panes_in(self, start: int) -> range:
        """Return the panes of the window that begins at `start`."""
        return range(start, start + self.size, self.pane)

    def _align(self, time: int, step: int) -> int:
        return (time - self.offset) // step * step + self.offset


class WindowOperator(Operator):
    """One subtask of a windowed aggregate."""

    def __init__(
        self,
        node: WindowNode,
        *,
        operator_id: str,
        subtask: int,
        key_groups: tuple[int, int],
        panes: Panes,
        aggregation: CompiledAggregation,
        metrics: OperatorMetrics,
        batch_rows: int,
    ) -> None:
        super().__init__()
        self.late: list[Operator] = []
        time_type = node.inputs[0].schema.field(node.input_event_time).type
        self._shape = WindowShape(node, time_type.unit)
        self._time_type = time_type
        self._time_column = node.input_event_time
        self._schema = node.schema
        self._keys = len(node.keys)
        self._id = operator_id
        self._subtask = subtask
        self._key_groups = key_groups
        self._panes = panes
        self._aggregation = aggregation
        self._kept = list(aggregation.required_columns)
        self._metrics = metrics
        self._batch_rows = batch_rows
        self._watermark = _NO_TIME
        self._horizon = _NO_TIME

    def following(self) -> Sequence[Operator]:
        """Return the outputs and the late side outputs."""
        return [*self.outputs, *self.late]

    def process(self, batch: pa.RecordBatch) -> None:
        """Put the rows into their panes; late ones go to the side output or are counted and dropped."""
        times = ticks(batch, self._time_column)
        oldest, newest = int(times.min()), int(times.max())
        if oldest < self._horizon:
            batch, times = self._without_late(batch, times)
            if not batch.num_rows:
                return
            oldest = int(times.min())
        kept = batch.select(self._kept) if self._kept else _row_count_only(batch)
        pane = self._shape.pane_of(oldest)
        if pane == self._shape.pane_of(newest):
            self._panes.append(pane, kept)
        else:
            for start, part in _by_pane(kept, self._shape.panes_of(times)):
                self._panes.append(start, part)

    def watermark(self, time: int) -> None:
        """Fire every window that has closed, oldest first, then pass on how far the results have come."""
        self._watermark = time
        horizon = self._shape.horizon(time)
        if horizon > self._horizon:
            for start in self._closing(horizon):
                self._fire(start)
            self._horizon = horizon
            for pane in self._panes.starts():
                if self._shape.last_window(pane) < horizon:
                    self._panes.drop(pane)
            ahead = END_OF_TIME if time == END_OF_TIME else floor_to_microseconds(horizon, self._shape.unit)
            for output in self.outputs:
                output.watermark(ahead)
        for operator in self.late:
            operator.watermark(time)

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        """Take references to the panes; they are written in the background."""
        taken = self._panes.snapshot(barrier.epoch, snapshots.completed)
        inline = {"watermark": self._watermark, "horizon": self._horizon, "panes": self._panes.starts()}
        directory = f"state/{snapshots.prefix}"

        def write(store: CheckpointStore) -> OperatorSnapshot:
            segments, files = taken.write(store, f"{directory}/{self._id}-{self._subtask}-0.arrow")
            return OperatorSnapshot(self._id, self._subtask, self._key_groups, {**inline, "segments": segments}, files)

        snapshots.defer(write)
        super().barrier(barrier, snapshots)

    def restore(
        self,
        snapshots: Sequence[OperatorSnapshot],
        store: CheckpointStore,
        group_rows: Callable[[pa.RecordBatch], NDArray[np.int64]] | None,
    ) -> None:
        """Take over the state of every earlier subtask whose key groups overlap these."""
        first, past = self._key_groups
        relevant = [s for s in snapshots if s.key_groups[0] < past and first < s.key_groups[1]]
        horizons = {s.inline["horizon"] for s in relevant}
        if len(horizons) > 1:
            raise FatalError(f"subtasks of {self._id!r} stood at different times in one epoch: {sorted(horizons)}")
        for snapshot in relevant:
            inside = first <= snapshot.key_groups[0] and snapshot.key_groups[1] <= past
            self._panes.restore(snapshot, store, None if inside else self._selector(group_rows))
            self._watermark = snapshot.inline["watermark"]
            self._horizon = snapshot.inline["horizon"]

    @property
    def restored_watermark(self) -> int | None:
        """The watermark at the restored barrier, microseconds; None if none had come."""
        return None if self._watermark == _NO_TIME else self._watermark

    def _selector(
        self, group_rows: Callable[[pa.RecordBatch], NDArray[np.int64]] | None
    ) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        first, past = self._key_groups

        def select(batch: pa.RecordBatch) -> pa.RecordBatch:
            if group_rows is None:
                return batch
            groups = group_rows(batch)
            return batch.filter(pa.array((groups >= first) & (groups < past)))

        return select

    def _without_late(
        self, batch: pa.RecordBatch, times: NDArray[np.int64]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        late = times < self._horizon
        self._metrics.late_rows += int(late.sum())
        if self.late:
            rows = batch.filter(pa.array(late))
            for operator in self.late:
                operator.process(rows)
        return batch.filter(pa.array(~late)), times[~late]

    def _closing(self, horizon: int) -> list[int]:
        starts = {start for pane in self._panes.starts() for start in self._shape.windows_of(pane) if start < horizon}
        return sorted(start for start in starts if start >= self._horizon)

    def _fire(self, start: int) -> None:
        rows = self._rows_of(start)
        result = self._aggregation.apply(rows)
        bounds = [self._constant(start, result.num_rows), self._constant(start + self._shape.size, result.num_rows)]
        columns = [*result.columns[: self._keys], *bounds, *result.columns[self._keys :]]
        table = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        for offset in range(0, table.num_rows, self._batch_rows):
            self.emit(table.slice(offset, self._batch_rows))

    def _rows_of(self, start: int) -> Iterator[pa.RecordBatch]:
        for pane in self._shape.panes_in(start):
            yield from self._panes.read(pane)

    def _constant(self, time: int, rows: int) -> pa.Array:
        return pa.array(np.full(rows, time, dtype=np.int64)).cast(self._time_type)

    def close(self) -> None:
        """Forget the panes."""
        self._panes.close()
        super().close()


def _by_pane(batch: pa.RecordBatch, panes: NDArray[np.int64]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each pane with its rows; slices where rows come in time order, a stable sort where they do not."""
    if bool((panes[1:] < panes[:-1]).any()):
        order = np.argsort(panes, kind="stable")
        panes = panes[order]
        batch = batch.take(pa.array(order))
    edges = [0, *(np.nonzero(panes[1:] != panes[:-1])[0] + 1).tolist(), len(panes)]
    for first, past in pairwise(edges):
        yield int(panes[first]), batch.slice(first, past - first)


def _row_count_only(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch that only says how many rows there are: nothing else is aggregated."""
    return pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows)], names=["_"])
