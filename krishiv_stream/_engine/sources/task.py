"""A source task: reads its splits, makes batches of useful size, tells the time, and puts barriers into the stream."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_checkpoint import BarrierKind, OperatorSnapshot, failpoint
from krishiv_connectors import SourceContext
from krishiv_guarantees import KrishivError, RetriableError
from krishiv_stream._engine.errors import DifferentSourceSchema
from krishiv_stream._engine.inbox import Cancelled
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.sources.committed import CommittedPositions
from krishiv_stream._engine.sources.open_split import OpenSplit, SplitClock
from krishiv_stream._engine.sources.source_time import SourceTime, SubtaskTime
from krishiv_stream._engine.task import TaskThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors import Source
    from krishiv_stream._engine.control import Control
    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.metrics import OperatorMetrics, TaskMetrics
    from krishiv_stream._engine.snapshots import SnapshotWriter
    from krishiv_stream._engine.sources.assigner import SplitAssigner
    from krishiv_stream._engine.sources.bad_rows import BadRows
    from krishiv_stream._engine.sources.limiter import RateLimiter

__all__ = ["SourceHead", "SourceOptions", "SourceTask"]

_FIRST_POLL = 0.0005
_LONGEST_POLL = 0.02

_log = logging.getLogger("krishiv_stream")


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is read.

    Parameters
    ----------
    columns : tuple of str
        The columns that the pipeline uses, in schema order.
    batch_rows : int
        Rows at which a batch goes on its way.
    linger : float
        Seconds after which a smaller one does.
    """

    operator_id: str
    subtask: int
    columns: tuple[str, ...]
    schema: pa.Schema
    batch_rows: int
    linger: float


class SourceHead(Operator):
    """The first operator of a source's chain: its rows, and beside them its dead letters."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[Operator] = []

    def following(self) -> Sequence[Operator]:
        """Return the outputs and the dead-letter outputs."""
        return [*self.outputs, *self.letters]

    def send_letters(self, batch: pa.RecordBatch) -> None:
        """Hand a batch of dead letters to their outputs."""
        for operator in self.letters:
            operator.process(batch)


class SourceTask(TaskThread):
    """One subtask of a source."""

    def __init__(
        self,
        id: str,
        head: Operator,
        control: Control,
        writer: SnapshotWriter,
        metrics: TaskMetrics,
        *,
        source: Source[Any],
        assigner: SplitAssigner,
        clock: SplitClock,
        time: SourceTime,
        options: SourceOptions,
        counters: OperatorMetrics,
        bad_rows: BadRows,
        limiter: RateLimiter | None,
        finished: frozenset[str],
    ) -> None:
        super().__init__(id, head, control, writer, metrics)
        self._source = source
        self._assigner = assigner
        self._clock = clock
        self._options = options
        self._counters = counters
        self._bad_rows = bad_rows
        self._limiter = limiter
        self._finished = set(finished)
        self._open: list[OpenSplit] = []
        self._turn = 0
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_since = 0.0
        self._ended = False
        self._drained = False
        self._stopped = False
        self._poll = _FIRST_POLL
        self._now = clock.now
        self._next_discovery = self._now() + source.discovery_interval
        self._time = SubtaskTime(time, options.subtask, head, clock.idle_timeout, clock.now)
        self._triggers: deque[Barrier] = deque()
        self._positions = CommittedPositions()
        self._wake = threading.Condition()
        rows = options.batch_rows if limiter is None else min(options.batch_rows, limiter.batch_rows)
        self._batch_rows = rows
        self._context = SourceContext(
            columns=options.columns, batch_rows=rows, bad_rows=bad_rows, gauge=counters.gauges.__setitem__
        )
        self._schema = pa.schema([options.schema.field(name) for name in options.columns])

    def trigger(self, barrier: Barrier) -> None:
        """Have `barrier` put into the stream before the next batch. Any thread."""
        with self._wake:
            self._triggers.append(barrier)
            self._wake.notify()

    def committed(self, epoch: int) -> None:
        """Have the source told that every sink applied `epoch`. Any thread."""
        self._positions.commit(epoch)
        self.wake()

    def wake(self) -> None:
        """End a wait, so that a change of `Control` is seen. Any thread."""
        with self._wake:
            self._wake.notify()

    def cancel(self) -> None:
        """Wake the thread so that it sees the cancellation."""
        self._context.stopping.set()
        self.wake()

    def run(self) -> None:
        """Read until cancelled; after the end of all splits only barriers are passed on."""
        self._time.begin()
        while not self._control.cancelled.is_set():
            if self._triggers:
                self._emit_barrier(self._triggers.popleft())
            elif self._positions.due:
                self._publish()
            elif self._ended or self._stopped:
                self._wait(None)
            elif self._control.draining.is_set():
                self._drained = True
                self._end()
            else:
                self._work()
        self._publish()
        raise Cancelled

    def _work(self) -> None:
        delay = 0.0 if self._limiter is None else self._limiter.delay()
        if delay > 0:
            self._flush()
            self._wait(delay)
            return
        self._open_splits()
        if self._read():
            self._poll = _FIRST_POLL
            return
        if self._pending and self._now() - self._pending_since < self._options.linger:
            self._wait(min(self._poll, self._options.linger))
            return
        self._flush()
        if self._nothing_left():
            self._end()
        else:
            self._tell_time()
            self._wait(self._poll)
            self._poll = min(self._poll * 2, _LONGEST_POLL)

    def _wait(self, seconds: float | None) -> None:
        with self._wake:
            ends = self._control.cancelled.is_set() or (seconds is not None and self._control.draining.is_set())
            if not self._triggers and not self._positions.due and not ends:
                self._wake.wait(seconds)

    def _open_splits(self) -> None:
        if self._assigner.discovers and self._options.subtask == 0 and self._now() >= self._next_discovery:
            self._discover()
        while not self._assigner.empty:
            assigned = self._assigner.take(len(self._open))
            if assigned is None:
                return
            reader = self._source.open(assigned.split, assigned.position, self._context)
            self._open.append(OpenSplit(assigned, reader, self._clock))
            self._time.wake()

    def _discover(self) -> None:
        try:
            self._assigner.discover()
        except RetriableError as error:
            _log.warning("source %r: could not look for new splits: %s", self._options.operator_id, error.message)
        self._next_discovery = self._now() + self._source.discovery_interval

    def _publish(self) -> None:
        """Tell the source what has been committed; trouble with it is no trouble of the job."""
        positions = self._positions.take()
        if positions:
            try:
                self._source.committed(positions, self._context)
            except KrishivError as error:
                _log.warning("source %r: positions were not published: %s", self._options.operator_id, error.message)

    def _read(self) -> bool:
        """Read from the next split in turn that has rows; returns whether one had."""
        for _ in range(len(self._open)):
            self._turn = (self._turn + 1) % len(self._open)
            split = self._open[self._turn]
            batch = split.read()
            if batch is not None:
                self._take(batch)
                return True
            if split.finished:
                self._finish(split)
                return True
        return False

    def _take(self, batch: pa.RecordBatch) -> None:
        if not self._pending:
            self._pending_since = self._now()
        self._pending.append(self._checked(batch))
        self._pending_rows += batch.num_rows
        if self._limiter is not None:
            self._limiter.took(batch.num_rows)
        if self._pending_rows >= self._batch_rows or self._now() - self._pending_since >= self._options.linger:
            self._flush()

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema.equals(self._schema):
            return batch
        missing = [name for name in self._schema.names if name not in batch.schema.names]
        if not missing:
            batch = batch.select(self._schema.names)
        if missing or not batch.schema.equals(self._schema):
            raise DifferentSourceSchema(
                f"source {self._options.operator_id!r} gave columns {batch.schema.names} of types "
                f"{[str(t) for t in batch.schema.types]}; the job was planned with {self._schema.names} of "
                f"{[str(t) for t in self._schema.types]}",
                hint="a source's batches have exactly the schema that its schema() returns",
            )
        return batch

    def _flush(self) -> None:
        """Send what has been read, then the time."""
        self._bad_rows.flush()
        if not self._pending:
            return
        batch = self._pending[0] if len(self._pending) == 1 else pa.concat_batches(self._pending)
        self._pending.clear()
        self._pending_rows = 0
        self._counters.rows_out += batch.num_rows
        self._time.wake()
        self.head.process(batch)
        self._tell_time()

    def _tell_time(self) -> None:
        if not self._ended:  # the end has told the last of it
            self._time.tell(self._open, self._assigner)
            self._counters.watermark = self._time.told

    def _finish(self, split: OpenSplit) -> None:
        self._positions.end(split.split.id, split.position())
        split.close()
        self._open.remove(split)
        self._finished.add(split.split.id)

    def _nothing_left(self) -> bool:
        return not self._open and self._assigner.empty and not self._assigner.discovers

    def _end(self) -> None:
        self._flush()
        self._ended = True
        self.head.end()
        self._control.on_ended(self.id)

    def _emit_barrier(self, barrier: Barrier) -> None:
        self._flush()
        self._tell_time()
        failpoint("barrier.before_emit")
        collector = self.collector(barrier.epoch)
        opened = [split.snapshot() for split in self._open]
        self._positions.pass_barrier(barrier.epoch, {each["id"]: each["position"] for each in opened})
        inline: dict[str, Any] = {
            "open": opened,
            "finished": sorted(self._finished),
            "time": self._time.told,
            "ended": self._ended,
            "drained": self._drained,
        }
        if self._options.subtask == 0:
            inline.update(self._assigner.snapshot())
        collector.add(OperatorSnapshot(self._options.operator_id, self._options.subtask, inline=inline))
        self.snapshot(barrier, collector)
        self._stopped = barrier.kind is BarrierKind.STOP

    def _close(self) -> None:
        for split in self._open:
            try:
                split.close()
            except Exception as error:
                self._control.on_failure(self.id, error)
        self._context.close()
        super()._close()
