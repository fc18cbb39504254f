"""Sinks that only the bench has use for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import krishiv_stream as ks
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    import pyarrow as pa

    from krishiv_connectors import SinkContext

__all__ = ["ArrivalSink", "DropSink"]


class DropSink(ks.Sink):
    """Counts rows and forgets them. `rows` belongs to all copies of the sink, which run one slot."""

    def __init__(self) -> None:
        self.counter = [0]

    @property
    def rows(self) -> int:
        """Rows written."""
        return self.counter[0]

    def open(self, ctx: SinkContext) -> None:
        """Nothing to open."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Count."""
        self.counter[0] += batch.num_rows

    def flush(self) -> None:
        """Nothing waits."""

    def capabilities(self) -> SinkCapabilities:
        """None."""
        return SinkCapabilities(durable_flush=False)


class ArrivalSink(DropSink):
    """Notes when each batch arrives, and what its first row says in column `sent`, both nanoseconds of one clock."""

    def __init__(self, sent: str | None = None) -> None:
        super().__init__()
        self._sent = sent
        self.arrivals: list[int] = []
        self.sent: list[int] = []

    def write(self, batch: pa.RecordBatch) -> None:
        """Note the time."""
        self.arrivals.append(time.perf_counter_ns())
        if self._sent is not None:
            self.sent.append(batch.column(self._sent)[0].as_py())
        super().write(batch)
