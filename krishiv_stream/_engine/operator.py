"""The base of all operators: a node of a chain that hands batches, time and barriers straight to the next ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_stream._engine.elements import END_OF_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.snapshots import SnapshotCollector

__all__ = ["Operator"]


class Operator:
    """One operator in a task's chain. All calls come from the task's thread.

    A subclass overrides `process` and what else it needs; whatever it overrides, it passes on with `emit` or
    ``super()``.
    """

    def __init__(self) -> None:
        self.outputs: list[Operator] = []

    def following(self) -> Sequence[Operator]:
        """Return every operator that this one feeds, side outputs included."""
        return self.outputs

    def open(self) -> None:
        """Get ready, before the first batch; then open what follows."""
        for operator in self.following():
            operator.open()

    def process(self, batch: pa.RecordBatch) -> None:
        """Take a batch of at least one row."""
        self.emit(batch)

    def emit(self, batch: pa.RecordBatch) -> None:
        """Hand `batch` to every output; empty ones go no further."""
        if batch.num_rows:
            for output in self.outputs:
                output.process(batch)

    def watermark(self, time: int) -> None:
        """Event time has come to `time`, microseconds; it never falls."""
        for operator in self.following():
            operator.watermark(time)

    def idle(self) -> None:
        """Nothing is known of time until the next watermark."""
        for operator in self.following():
            operator.idle()

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        """Everything before this belongs to the barrier's epoch: add a snapshot, then pass it on."""
        for operator in self.following():
            operator.barrier(barrier, snapshots)

    def end(self) -> None:
        """No more rows will come."""
        self.watermark(END_OF_TIME)
        self.end_following()

    def end_following(self) -> None:
        """Tell what follows that no more rows will come; it has been told of time already."""
        for operator in self.following():
            operator.end_following()

    def close(self) -> None:
        """Let go of everything; also after an error."""
        for operator in self.following():
            operator.close()
