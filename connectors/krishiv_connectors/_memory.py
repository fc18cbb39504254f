"""Rows from memory and into memory, for tests and for looking at results in the same process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from krishiv_checkpoint import CommitOutcome, Mark, Prepared, failpoint
from krishiv_connectors._errors import MemoryChanged
from krishiv_connectors._sink import Sink, StickyError, TwoPhaseSink, refuse_newer, single_slot
from krishiv_connectors._source import Reader, Source, Split
from krishiv_guarantees import SinkCapabilities, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_checkpoint import Committable
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors._source import SourceContext

__all__ = ["MemoryAppendSink", "MemorySink", "MemorySource"]

_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Ticks of a second, by unit of timestamps."""


class MemorySource(Source[int]):
    """Rows that are in memory: bounded, replayable as long as the same rows are given again.

    Parameters
    ----------
    data : pa.Table, pa.RecordBatch or sequence of pa.RecordBatch
        The rows. Batches are read as they are given, cut only where they are longer than the engine wishes.
    splits : int
        Into how many splits the rows are divided, each a run of consecutive rows, as equal as can be.
    """

    def __init__(self, data: pa.Table | pa.RecordBatch | Sequence[pa.RecordBatch], *, splits: int = 1) -> None:
        if splits < 1:
            raise ValueError(f"splits is {splits}; a source has 1 or more")
        if isinstance(data, pa.RecordBatch):
            data = [data]
        self._table: pa.Table = data if isinstance(data, pa.Table) else pa.Table.from_batches(data)
        self._splits = splits

    def schema(self) -> pa.Schema:
        """Return the columns of the rows."""
        return self._table.schema

    def splits(self) -> Sequence[Split]:
        """Return the runs of rows, each with a digest of its content."""
        return [
            Split(f"rows-{index}", {"first": first, "rows": rows, "digest": _digest(self._table.slice(first, rows))})
            for index, (first, rows) in enumerate(self._runs())
        ]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        """Open a run of rows at row `position` of it.

        Raises
        ------
        MemoryChanged
            If the position was stored for other rows than these.
        """
        rows = self._table.slice(split.payload["first"], split.payload["rows"])
        if position is not None and _digest(rows) != split.payload["digest"]:
            raise MemoryChanged(
                f"split {split.id} was read up to row {position}, but its rows are not those of that run",
                hint='give the same rows in the same order again, or begin anew with restore="none"',
                split=split.id,
            )
        return _MemoryReader(rows if ctx.columns is None else rows.select(list(ctx.columns)), position or 0, ctx)

    def capabilities(self) -> SourceCapabilities:
        """Bounded, with exact positions and the same order each time."""
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the smallest `column` of the run, in microseconds; None if it has no value."""
        rows = self._table.slice(split.payload["first"], split.payload["rows"])
        least: int | None = pc.min(rows.column(column)).value
        # Rounded down: a cast rounds towards zero, which is later than the row before 1970.
        return None if least is None else least * 1_000_000 // _TICKS[rows.schema.field(column).type.unit]

    def _runs(self) -> list[tuple[int, int]]:
        ends = [self._table.num_rows * (index + 1) // self._splits for index in range(self._splits)]
        return [(first, end - first) for first, end in zip([0, *ends], ends, strict=False)]


class _MemoryReader(Reader[int]):
    def __init__(self, rows: pa.Table, position: int, ctx: SourceContext) -> None:
        self._rows = rows.num_rows
        self._position = position
        self._batches = iter(rows.slice(position).to_batches(max_chunksize=ctx.batch_rows))

    def read(self) -> pa.RecordBatch | None:
        for batch in self._batches:
            if batch.num_rows:
                self._position += batch.num_rows
                return batch
        return None

    def position(self) -> int:
        return self._position

    @property
    def finished(self) -> bool:
        return bool(self._position >= self._rows)


def _digest(rows: pa.Table) -> str:
    # Combined and written out, because equal rows may lie in unequal buffers.
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
    return xxhash.xxh3_128_hexdigest(memoryview(sink.getvalue()))


@dataclass
class _Target:
    """What all copies of one memory sink share: it outlives jobs and simulated crashes, not the process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    schema: pa.Schema | None = None
    staged: dict[tuple[str, str, int, int, int], tuple[pa.RecordBatch, ...]] = field(
        default_factory=dict[tuple[str, str, int, int, int], tuple[pa.RecordBatch, ...]]
    )
    marks: dict[tuple[str, str, int], tuple[str, int]] = field(
        default_factory=dict[tuple[str, str, int], tuple[str, int]]
    )
    rows: list[tuple[str, str, int, pa.RecordBatch]] = field(default_factory=list[tuple[str, str, int, pa.RecordBatch]])
    """Published: lineage, sink, epoch, batch; in the order of commits."""

    def batches(self) -> list[pa.RecordBatch]:
        with self.lock:
            return [batch for _, _, _, batch in self.rows]

    def table(self) -> pa.Table:
        if self.schema is None:
            raise ValueError("no job has opened this sink yet, so its columns are not known")
        return pa.Table.from_batches(self.batches(), self.schema)


class MemorySink(TwoPhaseSink):
    """Keeps rows in memory, two-phase like a real target: exactly once as long as the process lives.

    The sink object given to the pipeline is the one to look at afterwards. It may be used by several jobs.

    Notes
    -----
    A crash of the process loses everything, which is why `capabilities` claims no durability.
    """

    def __init__(self) -> None:
        self._target = _Target()
        self._ctx: SinkContext | None = None

    @property
    def batches(self) -> list[pa.RecordBatch]:
        """The committed batches, in the order of commits."""
        return self._target.batches()

    def table(self) -> pa.Table:
        """Return the committed rows, in the order of commits."""
        return self._target.table()

    def open(self, ctx: SinkContext) -> None:
        """Begin with nothing written."""
        self._ctx = ctx
        self._target.schema = ctx.schema
        self._written: list[pa.RecordBatch] = []
        self._sticky = StickyError()

    def write(self, batch: pa.RecordBatch) -> None:
        """Hold `batch` until `prepare`."""
        with self._sticky.guard():
            self._written.append(batch.cast(self._open().schema))

    def prepare(self, epoch: int) -> bytes:
        """Put the epoch's rows where every copy of this sink finds them; the payload is empty."""
        ctx = self._open()
        if ctx.slot is None:
            raise ValueError("a committer writes no rows")
        with self._sticky.guard(), self._target.lock:
            written, self._written = tuple(self._written), []
            self._target.staged[ctx.lineage, ctx.sink_id, ctx.token, epoch, ctx.slot] = written
        return b""

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Publish what one slot staged and move its mark, in one step."""
        ctx = self._open()
        slot = single_slot(committables)
        (committable,) = committables
        key = (ctx.lineage, ctx.sink_id, committable.token, epoch, slot)
        failpoint("commit.during")
        with self._target.lock:
            _, applied = self._target.marks.get((ctx.lineage, ctx.sink_id, slot), ("", 0))
            if applied >= epoch:
                self._target.staged.pop(key, None)
                return CommitOutcome.already_done()
            batches = self._target.staged.pop(key, None)
            if batches is None:
                return CommitOutcome.failed(f"slot {slot} has nothing staged for epoch {epoch}")
            self._target.rows += [(ctx.lineage, ctx.sink_id, epoch, batch) for batch in batches]
            self._target.marks[ctx.lineage, ctx.sink_id, slot] = (ctx.job, epoch)
        failpoint("commit.during")
        return CommitOutcome.done()

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Drop what is staged under these names, in the lineage that the payload names."""
        ctx = self._open()
        refuse_newer(prepared, ctx.token)
        with self._target.lock:
            for item in prepared:
                key = (item.payload.decode(), ctx.sink_id, item.token, item.epoch, item.slot)
                self._target.staged.pop(key, None)

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return what is staged for `lineage`."""
        sink_id = self._open().sink_id
        with self._target.lock:
            return [
                Prepared(token, epoch, slot, lineage.encode())
                for whose, sink, token, epoch, slot in sorted(self._target.staged)
                if (whose, sink) == (lineage, sink_id)
            ]

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the mark of `slot`."""
        with self._target.lock:
            mark = self._target.marks.get((lineage, self._open().sink_id, slot))
        return None if mark is None else mark[1]

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks of `job`, of every lineage."""
        with self._target.lock:
            marks = sorted(self._target.marks.items())
        return [Mark(lineage, whose, slot, epoch) for (lineage, _, slot), (whose, epoch) in marks if whose == job]

    def rewind(self, lineage: str, epoch: int) -> bool:
        """Drop the rows of later epochs."""
        mine = (lineage, self._open().sink_id)
        with self._target.lock:
            self._target.rows = [row for row in self._target.rows if row[:2] != mine or row[2] <= epoch]
            for key, (job, applied) in self._target.marks.items():
                if key[:2] == mine:
                    self._target.marks[key] = (job, min(applied, epoch))
        return True

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, but of this process alone."""
        return SinkCapabilities(durable_flush=False, two_phase=True, recovers_prepared=False)

    def _open(self) -> SinkContext:
        if self._ctx is None:
            raise ValueError("the sink is not open")
        return self._ctx


class MemoryAppendSink(Sink):
    """Keeps rows in memory as they are written: at least once, rows show up before their epoch is complete."""

    def __init__(self) -> None:
        self._target = _Target()

    @property
    def batches(self) -> list[pa.RecordBatch]:
        """The batches written so far, in the order in which they came."""
        return self._target.batches()

    def table(self) -> pa.Table:
        """Return the rows written so far."""
        return self._target.table()

    def open(self, ctx: SinkContext) -> None:
        """Note the columns."""
        self._ctx = ctx
        self._target.schema = ctx.schema

    def write(self, batch: pa.RecordBatch) -> None:
        """Append `batch`."""
        with self._target.lock:
            self._target.rows.append((self._ctx.lineage, self._ctx.sink_id, 0, batch))

    def flush(self) -> None:
        """Do nothing: rows are where they belong already."""

    def capabilities(self) -> SinkCapabilities:
        """Nothing outlives the process."""
        return SinkCapabilities(durable_flush=False)
