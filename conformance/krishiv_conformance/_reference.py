"""The reference source: sinks and stores are tested against it.

It releases rows by epochs, not by the clock: after a step of rows it gives none until a barrier has passed. So a job
has as many epochs with rows as there are steps, on a fast machine and on a busy one, and a step of none is an epoch
without rows.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_conformance._harness import SourceHarness
from krishiv_conformance._rows import SCHEMA
from krishiv_connectors import Reader, Source, Split
from krishiv_guarantees import SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from krishiv_connectors import SourceContext

__all__ = ["ReferenceHarness", "ReferenceSource", "set_pace", "split_id"]

_PACE = "pace.json"


class ReferenceSource(Source[int]):
    """Arrow IPC files of rows x `SCHEMA`, one split each; a position is the number of the next row.

    Parameters
    ----------
    folder : Path
        Holds ``part-<n>.arrow``.
    steps : sequence of int
        Rows that each split releases between two barriers, in turns.
    """

    def __init__(self, folder: Path, steps: Sequence[int]) -> None:
        self._folder = folder
        self._steps = tuple(steps)

    def schema(self) -> pa.Schema:
        """`SCHEMA`."""
        return SCHEMA

    def splits(self) -> Sequence[Split]:
        """One per file."""
        return [Split(path.name) for path in sorted(self._folder.glob("part-*.arrow"))]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        """Open a file at row `position`."""
        with pa.OSFile(str(self._folder / split.id)) as file:
            table = pa.ipc.open_file(file).read_all()
        numbers = random.Random(f"{split.id} {position}")
        steps = (max(0, step + numbers.randint(-step // 2, step // 2)) for step in itertools.cycle(self._steps))
        return _PacedReader(table, position or 0, steps, ctx.batch_rows)

    def capabilities(self) -> SourceCapabilities:
        """Bounded, replayed in order from exact positions."""
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)


class _PacedReader(Reader[int]):
    def __init__(self, table: pa.Table, position: int, steps: Iterator[int], batch_rows: int) -> None:
        self._table = table
        self._next = position
        self._steps = steps
        self._released = next(steps)
        self._batch_rows = batch_rows

    def read(self) -> pa.RecordBatch | None:
        count = min(self._released, self._batch_rows, self._table.num_rows - self._next)
        if count == 0:
            return None
        rows = self._table.slice(self._next, count).combine_chunks()
        self._next += count
        self._released -= count
        return rows.to_batches()[0]

    def position(self) -> int:
        # Asked for once per barrier: what follows belongs to the next epoch.
        self._released = next(self._steps)
        return self._next

    @property
    def finished(self) -> bool:
        return bool(self._next >= self._table.num_rows)


class ReferenceHarness(SourceHarness):
    """Fills and makes the reference source."""

    connector = ReferenceSource

    def make(self, workdir: Path) -> ReferenceSource:
        """Return the source, at the pace that `set_pace` wrote down."""
        pace = workdir / _PACE
        return ReferenceSource(workdir, json.loads(pace.read_text()) if pace.exists() else (25,))

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Write one file."""
        with pa.OSFile(str(workdir / split_id(part)), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)


def split_id(part: int) -> str:
    """Return the id of the split that holds a part."""
    return f"part-{part}.arrow"


def set_pace(workdir: Path, steps: Sequence[int]) -> None:
    """Let a reference source in `workdir` release `steps` rows per epoch and split, in turns."""
    (workdir / _PACE).write_text(json.dumps(list(steps)))
