"""What a source says of event time: each subtask by the splits that it reads, and, where it reads none, by the others.

A subtask without splits is not idle: it may be given a split whose rows come next. It follows the slowest of those that
read; where none reads, nothing holds time back, and it goes where the furthest came.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_stream._engine.elements import START_OF_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krishiv_stream._engine.operator import Operator
    from krishiv_stream._engine.sources.assigner import SplitAssigner
    from krishiv_stream._engine.sources.open_split import OpenSplit

__all__ = ["SourceTime", "SubtaskTime"]


@dataclass(frozen=True)
class _Bound:
    """How far time may go, microseconds; None: no further than it has come. `idle`: nothing is known of it."""

    time: int | None = None
    idle: bool = False


_HOLD = _Bound()
_IDLE = _Bound(idle=True)


@dataclass
class _Said:
    time: int | None
    reading: bool = False
    idle: bool = False


class SourceTime:
    """What the subtasks of one source have said; shared by their threads.

    Parameters
    ----------
    restored : int or None
        How far the source had come at the restored barrier, microseconds.
    """

    def __init__(self, subtasks: int, restored: int | None = None) -> None:
        self.restored = restored
        self._said = [_Said(restored) for _ in range(subtasks)]
        self._lock = threading.Lock()

    def say(self, subtask: int, time: int | None, *, reading: bool, idle: bool) -> None:
        """Note what `subtask` has told what follows it."""
        with self._lock:
            self._said[subtask] = _Said(time, reading, idle)

    def bound_by_others(self, subtask: int) -> _Bound:
        """Return how far a subtask without splits may go."""
        with self._lock:
            said = list(self._said)
        readers = [each for number, each in enumerate(said) if each.reading and number != subtask]
        if not readers:
            return _Bound(max((each.time for each in said if each.time is not None), default=None))
        live = [each.time for each in readers if not each.idle]
        return _least(live) if live else _IDLE


class SubtaskTime:
    """What one subtask says of time.

    Parameters
    ----------
    head : Operator
        Hears it.
    idle_timeout : float or None
        Seconds without any split after which the whole source no longer holds back time; None: never.
    """

    def __init__(
        self,
        shared: SourceTime,
        subtask: int,
        head: Operator,
        idle_timeout: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.told = shared.restored
        self._shared = shared
        self._subtask = subtask
        self._head = head
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._told_idle = False
        self._without_splits_since: float | None = None

    def begin(self) -> None:
        """Tell how far a restored source had come."""
        if self.told is not None:
            self._head.watermark(self.told)

    def tell(self, splits: Sequence[OpenSplit], assigner: SplitAssigner) -> None:
        """Tell what follows how far time has come, if that has changed. All rows read so far have been sent."""
        bound = self._of_splits(splits, assigner) if splits else self._without_splits(assigner)
        self._shared.say(self._subtask, self.told, reading=bool(splits), idle=bound.idle)
        if bound.idle:
            if not self._told_idle:
                self._told_idle = True
                self._head.idle()
        elif bound.time is not None:
            self._rise(bound.time)
            self._shared.say(self._subtask, self.told, reading=bool(splits), idle=False)

    def wake(self) -> None:
        """If idleness was told, take it back: rows follow."""
        if self._told_idle:
            self._told_idle = False
            self._head.watermark(START_OF_TIME if self.told is None else self.told)

    def _rise(self, time: int) -> None:
        if self.told is not None and time <= self.told:
            self.wake()
            return
        self.told = time
        self._told_idle = False
        self._head.watermark(time)

    def _of_splits(self, splits: Iterable[OpenSplit], assigner: SplitAssigner) -> _Bound:
        self._without_splits_since = None
        times = [split.watermark for split in splits if not split.idle]
        unread = assigner.unread_minimum()
        if unread is not None:
            times.append(unread)
        return _least(times) if times else _IDLE

    def _without_splits(self, assigner: SplitAssigner) -> _Bound:
        others = self._shared.bound_by_others(self._subtask)
        if not assigner.empty:
            self._without_splits_since = None
            unread = assigner.unread_minimum()
            return _HOLD if unread is None or others.time is None else _Bound(min(unread, others.time))
        now = self._clock()
        if self._without_splits_since is None:
            self._without_splits_since = now
        patience = self._idle_timeout
        return _IDLE if patience is not None and now - self._without_splits_since > patience else others


def _least(times: Sequence[int | None]) -> _Bound:
    known = [time for time in times if time is not None]
    return _Bound(min(known)) if len(known) == len(times) else _HOLD
