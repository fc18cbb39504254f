"""A limit on rows per second, shared by all subtasks of a source."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RateLimiter"]

_BURST = 0.1


class RateLimiter:
    """Spreads rows evenly in time.

    Parameters
    ----------
    rate : float
        Rows per second; at most a tenth of a second's worth is let through at once.
    now : callable
        Seconds, from a clock that never goes back.
    """

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._now = now
        self._lock = threading.Lock()
        self._due = now()

    def took(self, rows: int) -> None:
        """Note that `rows` rows went through."""
        with self._lock:
            self._due = max(self._due, self._now() - _BURST) + rows / self.rate

    def delay(self) -> float:
        """Return the seconds to wait before the next rows; 0 if none."""
        return max(0.0, self._due - self._now())

    @property
    def batch_rows(self) -> int:
        """Rows in a batch so that batches follow each other smoothly."""
        return max(1, round(self.rate * _BURST / 2))
