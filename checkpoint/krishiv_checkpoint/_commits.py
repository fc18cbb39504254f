"""Which committables are carried, listed in a durable manifest, being applied, and applied (P4, P5).

A *lane* is the unit in which commits are ordered: one slot of a sink, or the whole sink where it commits all slots of
an epoch in one call. In a lane epoch n+1 starts only after n succeeded; lanes do not wait for each other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import CommittableLost
from krishiv_checkpoint._events import Timer, TimerKind
from krishiv_checkpoint._instructions import Commit, SetTimer
from krishiv_checkpoint._records import CommitScope, Committable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["CommitLedger", "Lane", "LaneState"]

_Key = tuple[str, int, int, int]


class LaneState(StrEnum):
    """What happens to the head of a lane."""

    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"


@dataclass
class Lane:
    """One line of commits, oldest first.

    Parameters
    ----------
    listed : deque of (epoch, committables)
        What durable manifests list and the sink has not applied yet.
    tries, errors : int
        How often the head was tried, and how often in a row that raised.
    """

    sink: str
    slot: int | None
    listed: deque[tuple[int, tuple[Committable, ...]]] = field(
        default_factory=deque[tuple[int, tuple[Committable, ...]]]
    )
    state: LaneState = LaneState.IDLE
    tries: int = 0
    errors: int = 0

    @property
    def running(self) -> bool:
        """Whether the head is being applied."""
        return self.state is LaneState.RUNNING

    @property
    def waiting(self) -> bool:
        """Whether the head waits for its next try."""
        return self.state is LaneState.WAITING

    def start(self) -> Commit:
        """Return the instruction that applies the head."""
        epoch, committables = self.listed[0]
        instruction = Commit(self.sink, self.slot, epoch, committables, self.tries)
        self.state = LaneState.RUNNING
        self.tries += 1
        return instruction

    def wait(self, after: float) -> SetTimer:
        """Return the instruction that brings the head back in `after` seconds."""
        self.state = LaneState.WAITING
        return SetTimer(Timer(TimerKind.RETRY, self.listed[0][0], self.sink, self.slot), after)

    def end(self) -> tuple[Committable, ...]:
        """Take the head off: it is applied."""
        _, committables = self.listed.popleft()
        self.state = LaneState.IDLE
        self.tries = self.errors = 0
        return committables


class CommitLedger:
    """Keeps every committable from its first ack until its sink applied it.

    Parameters
    ----------
    scopes : mapping of sink id to CommitScope
        Every two-phase sink of the job.
    committed_through : mapping of sink id to mapping of slot to epoch
        What recovery found applied; slots that no longer exist stay in it.
    """

    def __init__(self, scopes: Mapping[str, CommitScope], committed_through: Mapping[str, Mapping[int, int]]) -> None:
        self._scopes = dict(scopes)
        self._applied = {sink: dict(slots) for sink, slots in committed_through.items()}
        self._known: dict[_Key, Committable] = {}
        self._listed: set[_Key] = set()
        self._lanes: dict[tuple[str, int | None], Lane] = {}

    def knows_sink(self, sink: str) -> bool:
        """Whether `sink` is a two-phase sink of this job."""
        return sink in self._scopes

    def take(self, committable: Committable) -> None:
        """Add one that an ack carries; if it is known or applied already, nothing changes."""
        if committable.epoch > self._applied_through(committable):
            self._known.setdefault(_key(committable), committable)

    def pending(self) -> tuple[Committable, ...]:
        """Return everything not applied yet, oldest first: what the next manifest lists.

        Raises
        ------
        CommittableLost
            If a slot's chain of epochs has a gap: publishing the manifest would lose the rows of the missing epoch.
        """
        pending = tuple(sorted(self._known.values(), key=_order))
        for slot in _by_slot(pending):
            self._check_chain(slot)
        return pending

    def committed_through(self) -> dict[str, dict[int, int]]:
        """Return a copy of what is applied, per sink and slot."""
        return {sink: dict(slots) for sink, slots in self._applied.items()}

    def publish(self, manifest: Iterable[Committable]) -> None:
        """Let what a now durable manifest lists be applied."""
        fresh = [c for c in manifest if _key(c) in self._known and _key(c) not in self._listed]
        self._listed.update(map(_key, fresh))
        for (sink, slot, epoch), group in groupby(sorted(fresh, key=self._lane_order), key=self._lane_epoch):
            slot_or_all = None if self._scopes[sink] is CommitScope.EPOCH else slot
            lane = self._lanes.setdefault((sink, slot_or_all), Lane(sink, slot_or_all))
            lane.listed.append((epoch, tuple(group)))

    def start_idle(self) -> Iterator[Commit]:
        """Start the head of every lane that has one and is not busy."""
        for lane in self._lanes.values():
            if lane.listed and lane.state is LaneState.IDLE:
                yield lane.start()

    def lane(self, sink: str, slot: int | None, epoch: int) -> Lane | None:
        """Return the lane whose head is exactly this commit, if there is one."""
        lane = self._lanes.get((sink, slot))
        return lane if lane is not None and lane.listed and lane.listed[0][0] == epoch else None

    def end(self, lane: Lane) -> None:
        """Record that the head of `lane` is applied."""
        for committable in lane.end():
            self._applied.setdefault(committable.sink, {})[committable.slot] = committable.epoch
            key = _key(committable)
            self._listed.discard(key)
            del self._known[key]

    def is_applied(self, epoch: int) -> bool:
        """Whether no sink has anything left to apply of `epoch` or of one before it."""
        return all(not lane.listed or lane.listed[0][0] > epoch for lane in self._lanes.values())

    def _check_chain(self, slot: list[Committable]) -> None:
        previous = self._applied_through(slot[0])
        for committable in slot:
            if committable.previous != previous:
                raise CommittableLost(
                    f"sink {committable.sink!r}, slot {committable.slot}: epoch {committable.epoch} follows epoch "
                    f"{committable.previous}, but the last one known is {previous}",
                    hint="this is a defect of the engine or of the sink; the job stopped before anything was lost",
                    sink=committable.sink,
                    slot=committable.slot,
                    epoch=committable.epoch,
                )
            previous = committable.epoch

    def _applied_through(self, committable: Committable) -> int:
        return self._applied.get(committable.sink, {}).get(committable.slot, 0)

    def _lane_epoch(self, committable: Committable) -> tuple[str, int, int]:
        whole_sink = self._scopes[committable.sink] is CommitScope.EPOCH
        return committable.sink, 0 if whole_sink else committable.slot, committable.epoch

    def _lane_order(self, committable: Committable) -> tuple[tuple[str, int, int], int]:
        return self._lane_epoch(committable), committable.slot


def _key(committable: Committable) -> _Key:
    return committable.sink, committable.slot, committable.epoch, committable.token


def _order(committable: Committable) -> tuple[int, int, str, int]:
    return committable.epoch, committable.token, committable.sink, committable.slot


def _by_slot(committables: Iterable[Committable]) -> Iterator[list[Committable]]:
    slots: dict[tuple[str, int], list[Committable]] = {}
    for committable in committables:
        slots.setdefault((committable.sink, committable.slot), []).append(committable)
    yield from slots.values()
