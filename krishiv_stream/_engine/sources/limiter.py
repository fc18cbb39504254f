"""A limit on rows per second, shared by all subtasks of a source."""

from __future__ import annotations

import threading
import time

__all__ = ["RateLimiter"]

_BURST = 0.1


class RateLimiter:
    """Spreads rows evenly in time.

    Parameters
    ----------
    rate : float
        Rows per second; at most a tenth of a second's worth is let through at once.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._lock = threading.Lock()
        self._due = time.monotonic()

    def took(self, rows: int) -> None:
        """Note that `rows` rows went through."""
        with self._lock:
            self._due = max(self._due, time.monotonic() - _BURST) + rows / self.rate

    def delay(self) -> float:
        """Return the seconds to wait before the next rows; 0 if none."""
        return max(0.0, self._due - time.monotonic())

    @property
    def batch_rows(self) -> int:
        """Rows in a batch so that batches follow each other smoothly."""
        return max(1, round(self.rate * _BURST / 2))
