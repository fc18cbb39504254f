"""The futures of open requests, by number."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future
from typing import Any

from krishiv_checkpoint._errors import JobOver

__all__ = ["Answers"]


class Answers:
    """Futures that wait for their answer. Thread-safe."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def open(self) -> tuple[int, Future[Any]]:
        """Return a fresh number and its future, which cannot be cancelled; after `close` it has failed already."""
        number, future = next(self._numbers), Future[Any]()
        future.set_running_or_notify_cancel()
        with self._lock:
            if not self._closed:
                self._open[number] = future
                return number, future
        future.set_exception(_closed())
        return number, future

    def complete(self, number: int, result: object) -> None:
        """Answer a request; one that is answered already stays as it is."""
        if (future := self._take(number)) is not None:
            future.set_result(result)

    def fail(self, number: int, error: BaseException) -> None:
        """Answer a request with an error; one that is answered already stays as it is."""
        if (future := self._take(number)) is not None:
            future.set_exception(error)

    def close(self) -> None:
        """Fail what is still open, and whatever will be opened."""
        with self._lock:
            self._closed = True
            left, self._open = self._open, {}
        for future in left.values():
            future.set_exception(_closed())

    def _take(self, number: int) -> Future[Any] | None:
        with self._lock:
            return self._open.pop(number, None)


def _closed() -> JobOver:
    return JobOver("the attempt was closed before it could answer", hint="ask again once the job runs")
