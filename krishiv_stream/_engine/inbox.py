"""A task's inbox: one bounded queue per input channel, with alignment.

Senders block when their channel is full (backpressure); barriers queue behind data. A channel that has delivered a
barrier is blocked until the others have delivered theirs.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from krishiv_stream._engine.elements import Watermark, size_of

if TYPE_CHECKING:
    from krishiv_stream._engine.elements import Element

__all__ = ["Cancelled", "Inbox"]


class Cancelled(Exception):
    """The attempt is over: unwinds a task's thread, and is no failure of it."""


class Inbox:
    """The input channels of one task; any number of senders, one receiver.

    Parameters
    ----------
    channels : int
        Number of input channels.
    capacity : int
        Bytes after which a channel is full. One element always fits, however large.
    """

    def __init__(self, channels: int, capacity: int) -> None:
        self._queues: list[deque[Element]] = [deque() for _ in range(channels)]
        self._bytes = [0] * channels
        self._blocked = [False] * channels
        self._capacity = capacity
        self._next = 0
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._drained = threading.Condition(lock)
        self._waiting = False

    def put(self, channel: int, element: Element) -> None:
        """Append `element`; blocks while the channel is full. Raises `Cancelled` once the inbox is closed."""
        size = size_of(element)
        with self._filled:
            # Not "and the queue holds something": that may be a signal, and nobody is woken when a signal is taken.
            while size and self._bytes[channel] and self._bytes[channel] + size > self._capacity and not self._closed:
                self._drained.wait()
            if self._closed:
                raise Cancelled
            queue = self._queues[channel]
            if not size and queue and isinstance(element, Watermark) and isinstance(queue[-1], Watermark):
                queue[-1] = element  # it says all that the one before said: signals do not pile up
                return
            queue.append(element)
            self._bytes[channel] += size
            if self._waiting:
                self._filled.notify()

    def get(self) -> tuple[int, Element]:
        """Return the next element of an unblocked channel, and the channel; blocks until there is one."""
        with self._filled:
            while True:
                if self._closed:
                    raise Cancelled
                channel = self._ready()
                if channel is not None:
                    return channel, self._take(channel)
                self._waiting = True
                self._filled.wait()
                self._waiting = False

    def block(self, channel: int) -> None:
        """Deliver nothing more from `channel` until `unblock_all`."""
        with self._filled:
            self._blocked[channel] = True

    def unblock_all(self) -> None:
        """Deliver from every channel again."""
        with self._filled:
            self._blocked = [False] * len(self._queues)

    def close(self) -> None:
        """Wake every sender and the receiver with `Cancelled`."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._drained.notify_all()

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait in all channels."""
        return sum(self._bytes)

    def _ready(self) -> int | None:
        count = len(self._queues)
        for step in range(count):
            channel = (self._next + step) % count
            if self._queues[channel] and not self._blocked[channel]:
                return channel
        return None

    def _take(self, channel: int) -> Element:
        element = self._queues[channel].popleft()
        size = size_of(element)
        if size:
            self._bytes[channel] -= size
            self._drained.notify_all()
        self._next = (channel + 1) % len(self._queues)
        return element
