"""Named timers by deadline. The clock is the caller's."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from krishiv_checkpoint._events import Timer

__all__ = ["Timers"]


class Timers:
    """Timers that are set, moved, cancelled and, when their deadline is past, popped."""

    def __init__(self) -> None:
        self._deadlines: dict[Timer, float] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def set(self, timer: Timer, deadline: float) -> None:
        """Let `timer` be due at `deadline`; if it is set already, it moves."""
        self._deadlines[timer] = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), timer))

    def cancel(self, timer: Timer) -> None:
        """Forget `timer`, if it is set."""
        self._deadlines.pop(timer, None)

    def clear(self) -> None:
        """Forget them all."""
        self._deadlines.clear()

    def pop_due(self, now: float) -> Timer | None:
        """Take out one timer whose deadline is past, the earliest first."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        timer = heapq.heappop(self._heap)[2]
        del self._deadlines[timer]
        return timer

    def wait(self, now: float) -> float | None:
        """Return the seconds until the next deadline; None if no timer is set."""
        self._drop_stale()
        return max(0.0, self._heap[0][0] - now) if self._heap else None

    def _drop_stale(self) -> None:
        while self._heap and self._deadlines.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
