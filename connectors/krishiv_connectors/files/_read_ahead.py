"""Runs an iterator on a thread of its own, a few items ahead of the reader."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["ReadAhead"]

T = TypeVar("T")

_DEPTH = 2
_PATIENCE = 0.05


class ReadAhead(Generic[T]):
    """Decodes on another core while the reader's thread works on what was decoded before.

    Parameters
    ----------
    items : generator
        Is run, and closed, on the new thread only. What it raises is raised by `take` after its last item.
    """

    def __init__(self, items: Generator[T], name: str) -> None:
        self._items = items
        self._ready: deque[T] = deque()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._done = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self) -> T | None:
        """Return the next item; None if there is none yet (after 50 ms) or any more (`exhausted`)."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._done, _PATIENCE)
            if self._ready:
                item = self._ready.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    @property
    def exhausted(self) -> bool:
        """Whether every item was taken and the iterator has ended without an error."""
        with self._changed:
            return self._done and not self._ready and self._error is None

    def close(self) -> None:
        """Stop the thread, after the item that it is making, and wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:  # the reader's thread raises it, whatever it is
            self._error = error
        finally:
            self._items.close()
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _put(self, item: T) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < _DEPTH)
            if not self._closed:
                self._ready.append(item)
                self._changed.notify_all()
            return not self._closed
