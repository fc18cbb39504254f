"""A split that a subtask reads: its reader, how far its event time has come, and when it last gave rows."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from krishiv_stream._engine.event_time import floor_to_microseconds, known_ticks
from krishiv_stream._engine.sources.assigner import Assigned

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from krishiv_connectors import Reader
    from krishiv_stream._plan.watermarks import WatermarkStrategy

__all__ = ["OpenSplit", "SplitClock"]


class SplitClock:
    """Turns the event times of batches into watermarks, by the user's strategy.

    Parameters
    ----------
    now : callable
        Seconds, from a clock that never goes back.
    """

    def __init__(
        self,
        strategy: WatermarkStrategy | None,
        column: str | None,
        unit: str | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._strategy = strategy if column is not None else None
        self._column = column or ""
        self._unit = unit or "us"
        self.idle_timeout = None if strategy is None else strategy.idle_timeout
        self.now = now

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

    def without_rows(self, current: int | None) -> int | None:
        """Return the watermark after an answer without rows, microseconds; it never falls."""
        if self._strategy is None:
            return current
        risen = self._strategy.without_rows(current, time.time_ns() // 1_000)
        return risen if current is None or risen is None else max(current, risen)


class OpenSplit:
    """One split being read.

    It is idle once it has answered with nothing for longer than the idle timeout. Time in which it was not asked (the
    engine was held up by what follows, or by a rate limit) does not count.
    """

    def __init__(self, assigned: Assigned, reader: Reader[Any], clock: SplitClock) -> None:
        self.split = assigned.split
        self.watermark = assigned.watermark
        self.idle = False
        self._reader = reader
        self._clock = clock
        # One that was idle at the restored barrier is so again as soon as it has nothing.
        self._nothing_since: float | None = -math.inf if assigned.idle else None

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows, at least one, or None; the watermark counts them at once."""
        batch = self._reader.read()
        if batch is not None and not batch.num_rows:
            batch = None
        if batch is None:
            self.watermark = self._clock.without_rows(self.watermark)
        else:
            self.watermark = self._clock.advance(self.watermark, batch)
        stated = self._reader.watermark()
        risen = stated is not None and (self.watermark is None or stated > self.watermark)
        if risen:
            self.watermark = stated
        self._note_answer(nothing=batch is None and not risen)
        return batch

    def _note_answer(self, *, nothing: bool) -> None:
        timeout = self._clock.idle_timeout
        if timeout is None or not nothing:
            self._nothing_since, self.idle = None, False
            return
        now = self._clock.now()
        if self._nothing_since is None:
            self._nothing_since = now
        self.idle = now - self._nothing_since > timeout

    @property
    def finished(self) -> bool:
        """Whether the split has ended for good."""
        return self._reader.finished

    def position(self) -> Any:
        """Return where its next row is."""
        return self._reader.position()

    def snapshot(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return Assigned(self.split, self.position(), self.watermark, self.idle).snapshot()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
