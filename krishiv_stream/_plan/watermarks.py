"""Watermark strategies: how far event time has come, judged from the rows read so far.

A watermark *w* says: no row before *w* is expected any more. A strategy is stateless; the engine keeps the current
watermark of every split, and stores it in checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_stream._durations import microseconds, seconds

if TYPE_CHECKING:
    from krishiv_stream._durations import Duration

__all__ = ["BoundedDelay", "ProcessingTime", "WatermarkStrategy", "bounded_delay", "monotonic", "processing_time"]


@dataclass(frozen=True)
class WatermarkStrategy:
    """Base of all strategies; subclass it and give `advance`.

    Parameters
    ----------
    idle_timeout : float or None
        Seconds without rows after which a split no longer holds back the watermark; None: never.
    """

    idle_timeout: float | None = None

    def advance(self, current: int | None, oldest: int, newest: int, now: int) -> int:
        """Return the watermark of a split after a batch.

        Parameters
        ----------
        current : int or None
            The watermark before it, microseconds since 1970 UTC; None at first.
        oldest, newest : int
            Smallest and largest event time in the batch, microseconds.
        now : int
            The clock, microseconds.

        Returns
        -------
        int
            The watermark after it. The engine never lets it fall.
        """
        raise NotImplementedError("a watermark strategy defines `advance`")

    def without_rows(self, current: int | None, now: int) -> int | None:
        """Return the watermark of a split that has no rows just now; parameters as those of `advance`.

        Unchanged, unless a strategy goes by the clock.
        """
        return current


@dataclass(frozen=True)
class BoundedDelay(WatermarkStrategy):
    """The newest event time less `delay` (microseconds)."""

    delay: int = 0

    def advance(self, current: int | None, oldest: int, newest: int, now: int) -> int:
        """Return the newest event time less the delay."""
        return newest - self.delay

    def __str__(self) -> str:
        return f"{self.delay / 1e6:g}s behind the newest row{_idle(self.idle_timeout)}"


@dataclass(frozen=True)
class ProcessingTime(WatermarkStrategy):
    """The clock of the machine. Results depend on when the job runs."""

    def advance(self, current: int | None, oldest: int, newest: int, now: int) -> int:
        """Return the clock."""
        return now

    def without_rows(self, current: int | None, now: int) -> int | None:
        """Return the clock: windows close though no row comes."""
        return now

    def __str__(self) -> str:
        return f"the clock{_idle(self.idle_timeout)}"


def bounded_delay(delay: Duration, idle_timeout: Duration | None = None) -> WatermarkStrategy:
    """Return the strategy for rows that are at most `delay` out of order."""
    return BoundedDelay(None if idle_timeout is None else seconds(idle_timeout), microseconds(delay))


def monotonic(idle_timeout: Duration | None = None) -> WatermarkStrategy:
    """Return the strategy for rows whose event time never falls within a split."""
    return bounded_delay(0, idle_timeout)


def processing_time() -> WatermarkStrategy:
    """Return the strategy that follows the machine's clock."""
    return ProcessingTime()


def _idle(timeout: float | None) -> str:
    return "" if timeout is None else f", idle after {timeout:g}s"
