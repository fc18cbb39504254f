"""The writer side of a sink: writes batches, and at each barrier flushes or prepares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import Committable, failpoint
from krishiv_connectors import OutputHeld, TwoPhaseSink
from krishiv_stream._engine.operator import Operator

if TYPE_CHECKING:
    import pyarrow as pa

    from krishiv_connectors import Sink, SinkContext
    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.metrics import OperatorMetrics
    from krishiv_stream._engine.snapshots import SnapshotCollector

__all__ = ["SinkWriter"]


class SinkWriter(Operator):
    """One slot of a sink.

    Parameters
    ----------
    sink : Sink
        This slot's own copy.
    context : SinkContext
        Who it is; `slot` is set.
    previous : int
        The newest epoch of this slot that the restored manifest records as committed; 0 if none.
    """

    def __init__(self, sink: Sink, context: SinkContext, previous: int, metrics: OperatorMetrics) -> None:
        super().__init__()
        self._sink = sink
        self._context = context
        self._previous = previous
        self._metrics = metrics
        self._unconfirmed: list[Committable] = []

    def open(self) -> None:
        """Open the sink's writer."""
        self._sink.open(self._context)

    def process(self, batch: pa.RecordBatch) -> None:
        """Write `batch`."""
        self._metrics.rows_in += batch.num_rows
        self._sink.write(batch)

    def watermark(self, time: int) -> None:
        """Note how far the output has come."""
        self._metrics.watermark = time

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        """Make everything before the barrier durable; hand in what no durable manifest is known to hold (P4)."""
        if isinstance(self._sink, TwoPhaseSink):
            failpoint("prepare.before")
            try:
                self._prepare(self._sink, barrier.epoch)
            except OutputHeld as error:
                snapshots.decline(error)
                return
            failpoint("prepare.after")
            self._unconfirmed = [c for c in self._unconfirmed if c.epoch > snapshots.completed]
            snapshots.committables.extend(self._unconfirmed)
        else:
            self._sink.flush()

    def close(self) -> None:
        """Close the sink's writer; publishes nothing."""
        self._sink.close()

    def _prepare(self, sink: TwoPhaseSink, epoch: int) -> None:
        slot = self._context.slot
        if slot is None:
            raise ValueError("a sink's writer has a slot")
        payload = sink.prepare(epoch)
        context = self._context
        self._unconfirmed.append(Committable(context.sink_id, slot, epoch, context.token, self._previous, payload))
        self._previous = epoch
