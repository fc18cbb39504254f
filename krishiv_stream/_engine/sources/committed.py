"""Which positions of a subtask may be published: those that a barrier met whose epoch every sink has applied."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CommittedPositions"]


class CommittedPositions:
    """The positions of one subtask, from the barrier that meets them until their epoch is committed.

    `commit` may be called from any thread, the rest from the subtask's own.
    """

    def __init__(self) -> None:
        self._ended: dict[str, Any] = {}
        self._waiting: deque[tuple[int, dict[str, Any]]] = deque()
        self._committed = self._taken = 0
        self._lock = threading.Lock()

    def end(self, split: str, position: Any) -> None:
        """Note the last position of a split that has ended, for the next barrier."""
        self._ended[split] = position

    def pass_barrier(self, epoch: int, open_splits: Mapping[str, Any]) -> None:
        """Note where every split is at the barrier of `epoch`."""
        self._waiting.append((epoch, {**self._ended, **open_splits}))
        self._ended.clear()

    def commit(self, epoch: int) -> None:
        """Note that every sink has applied `epoch`, and so all before it."""
        with self._lock:
            self._committed = max(self._committed, epoch)

    @property
    def due(self) -> bool:
        """Whether there is something to take."""
        return self._committed > self._taken

    def take(self) -> dict[str, Any]:
        """Return the newest committed position of every split that has moved since the last call."""
        with self._lock:
            self._taken = self._committed
        positions: dict[str, Any] = {}
        while self._waiting and self._waiting[0][0] <= self._taken:
            positions.update(self._waiting.popleft()[1])
        return positions
