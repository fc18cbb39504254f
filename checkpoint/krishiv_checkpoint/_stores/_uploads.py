"""Bytes on their way into a bucket while they are still being made."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Upload"]

_QUEUED = 4
"""Pieces that wait to be taken; then whoever makes them waits."""
_LOOK = 0.1
"""Seconds after which a maker who waits looks whether the upload has failed."""


class Upload:
    """Runs `put` in a thread of its own, over what is sent to it.

    Parameters
    ----------
    put : callable
        Takes an iterator of bytes; returns when all of them are stored, and stores nothing if the iterator raises.
        What it raises, `send` or `finish` raises.
    """

    def __init__(self, put: Callable[[Iterator[bytes | bytearray]], object]) -> None:
        self._pieces: queue.Queue[bytes | bytearray | None] = queue.Queue(_QUEUED)
        self._over = threading.Event()
        self._given_up = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(put,), name="ks-upload")
        self._thread.start()

    def send(self, piece: bytes | bytearray) -> None:
        """Hand on `piece`, which must not change any more; waits while too many are on their way."""
        self._hand_on(piece)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until all that was sent is stored."""
        self._hand_on(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Store nothing of what was sent, if that is not done yet."""
        self._given_up = True
        self._hand_on(None)
        self._thread.join()

    def _hand_on(self, piece: bytes | bytearray | None) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._pieces.put(piece, timeout=_LOOK)
                return

    def _run(self, put: Callable[[Iterator[bytes | bytearray]], object]) -> None:
        try:
            put(self._sent())
        except BaseException as error:  # the library's panics are no exceptions
            self._error = error
        finally:
            self._over.set()

    def _sent(self) -> Iterator[bytes | bytearray]:
        while (piece := self._pieces.get()) is not None and not self._given_up:
            yield piece
        if self._given_up:
            raise _GivenUp


class _GivenUp(Exception):
    """The upload is not to be completed."""
