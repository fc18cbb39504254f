"""A split that a subtask reads: its reader, how far its event time has come, and when it last gave rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from krishiv_stream._engine.event_time import floor_to_microseconds, known_ticks
from krishiv_stream._engine.sources.assigner import Assigned

if TYPE_CHECKING:
    import pyarrow as pa

    from krishiv_connectors import Reader
    from krishiv_stream._plan.watermarks import WatermarkStrategy

__all__ = ["OpenSplit", "SplitClock"]


class SplitClock:
    """Turns the event times of batches into watermarks, by the user's strategy."""

    def __init__(self, strategy: WatermarkStrategy | None, column: str | None, unit: str | None) -> None:
        self._strategy = strategy if column is not None else None
        self._column = column or ""
        self._unit = unit or "us"
        self.idle_timeout = None if strategy is None else strategy.idle_timeout

    def advance(self, current: int | None, batch: pa.RecordBatch) -> int | None:
        """Return the watermark after `batch`, microseconds; it never falls. Rows without a time say nothing of it."""
        if self._strategy is None:
            return current
        times = known_ticks(batch, self._column)
        if not len(times):
            return current
        oldest = floor_to_microseconds(int(times.min()), self._unit)
        newest = floor_to_microseconds(int(times.max()), self._unit)
        risen = self._strategy.advance(current, oldest, newest, time.time_ns() // 1_000)
        return risen if current is None else max(current, risen)


class OpenSplit:
    """One split being read."""

    def __init__(self, assigned: Assigned, reader: Reader[Any], clock: SplitClock) -> None:
        self.split = assigned.split
        self.watermark = assigned.watermark
        self._reader = reader
        self._clock = clock
        self._last_rows = time.monotonic()

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows, or None; the watermark counts them at once."""
        batch = self._reader.read()
        if batch is not None:
            self.watermark = self._clock.advance(self.watermark, batch)
            self._last_rows = time.monotonic()
        stated = self._reader.watermark()
        if stated is not None and (self.watermark is None or stated > self.watermark):
            self.watermark = stated
        return batch

    @property
    def finished(self) -> bool:
        """Whether the split has ended for good."""
        return self._reader.finished

    @property
    def idle(self) -> bool:
        """Whether it has given no rows for longer than the idle timeout."""
        timeout = self._clock.idle_timeout
        return timeout is not None and time.monotonic() - self._last_rows > timeout

    def snapshot(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return Assigned(self.split, self._reader.position(), self.watermark).snapshot()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
