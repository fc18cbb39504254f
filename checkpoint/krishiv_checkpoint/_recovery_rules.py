"""What recovery decides, without doing any of it: which sinks fit the checkpoint, what to commit, what to abort."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING

from krishiv_checkpoint._records import CommitScope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from krishiv_checkpoint._entries import Manifest
    from krishiv_checkpoint._records import Committable, Mark, Prepared

__all__ = [
    "CommitStep",
    "Difference",
    "DifferenceKind",
    "SinkState",
    "committed_after",
    "compare",
    "foreign_marks",
    "leftovers",
    "next_epoch",
    "plan_commits",
]


@dataclass(frozen=True, kw_only=True)
class SinkState:
    """One sink: what the checkpoint knows of it, and what it says itself.

    Parameters
    ----------
    sink : str
        Its id.
    scope : CommitScope
        Whether its slots commit one by one.
    committed : mapping of slot to epoch
        What the checkpoint records as applied.
    pending : tuple of Committable
        What the checkpoint holds above that; only this sink's.
    applied : mapping of slot to epoch
        `last_applied` of every slot that anyone knows of; 0 for None. Of an EPOCH-scope sink: the same for each.
    """

    sink: str
    scope: CommitScope
    committed: Mapping[int, int]
    pending: tuple[Committable, ...]
    applied: Mapping[int, int]

    def lanes(self) -> Iterable[_Lane]:
        """What commits in line: each slot, or the whole sink."""
        slots = sorted({*self.committed, *self.applied, *(c.slot for c in self.pending)})
        if self.scope is CommitScope.EPOCH:
            return [self._lane(None, slots)] if slots else []
        return [self._lane(slot, [slot]) for slot in slots]

    def _lane(self, slot: int | None, slots: Sequence[int]) -> _Lane:
        committed = max(self.committed.get(s, 0) for s in slots)
        prepared = [c.epoch for c in self.pending if c.slot in slots]
        applied = max(self.applied.get(s, 0) for s in slots)
        return _Lane(slot, committed, max([committed, *prepared]), applied)


@dataclass(frozen=True)
class _Lane:
    slot: int | None
    committed: int
    known: int
    applied: int


class DifferenceKind(StrEnum):
    """How a sink and a checkpoint disagree."""

    AHEAD = "ahead"
    BEHIND = "behind"


@dataclass(frozen=True)
class Difference:
    """A slot (None: the whole sink) whose own record does not fit the checkpoint.

    Parameters
    ----------
    applied : int
        The newest epoch that the sink says it applied; 0 for none.
    checkpoint : int
        AHEAD: the newest epoch that the checkpoint knows of. BEHIND: the one it records as committed.
    """

    sink: str
    slot: int | None
    kind: DifferenceKind
    applied: int
    checkpoint: int

    def __str__(self) -> str:
        where = f"sink {self.sink!r}" if self.slot is None else f"sink {self.sink!r}, slot {self.slot}"
        if self.kind is DifferenceKind.AHEAD:
            return f"{where} holds epochs {self.checkpoint + 1} to {self.applied}"
        has = f"ends at epoch {self.applied}" if self.applied else "has no mark at all"
        return f"{where} {has}, but epoch {self.checkpoint} was committed to it"


@dataclass(frozen=True)
class CommitStep:
    """One call of `commit`: an epoch of one slot, or of all slots (None)."""

    sink: str
    slot: int | None
    epoch: int
    committables: tuple[Committable, ...]


def compare(sink: SinkState) -> list[Difference]:
    """Return where `sink` does not fit the checkpoint (P15).

    Its own record has to lie between what the checkpoint records as committed and what it holds prepared.
    """
    differences: list[Difference] = []
    for lane in sink.lanes():
        if lane.applied > lane.known:
            differences.append(Difference(sink.sink, lane.slot, DifferenceKind.AHEAD, lane.applied, lane.known))
        elif lane.applied < lane.committed:
            differences.append(Difference(sink.sink, lane.slot, DifferenceKind.BEHIND, lane.applied, lane.committed))
    return differences


def plan_commits(sink: SinkState) -> list[CommitStep]:
    """Return what is still to be applied, oldest first (P5). What the sink itself records as applied is left out."""
    steps: list[CommitStep] = []
    for lane in sink.lanes():
        mine = [c for c in sink.pending if lane.slot in (None, c.slot) and c.epoch > lane.applied]
        mine.sort(key=_age)
        for epoch, group in groupby(mine, key=_epoch):
            steps.append(CommitStep(sink.sink, lane.slot, epoch, tuple(group)))
    return sorted(steps, key=lambda step: step.epoch)


def committed_after(sink: SinkState) -> dict[str, int]:
    """Return the sink's part of `committed_through` once every step of `plan_commits` succeeded."""
    committed = dict(sink.committed)
    for committable in sink.pending:
        committed[committable.slot] = max(committed.get(committable.slot, 0), committable.epoch)
    return {str(slot): committed[slot] for slot in sorted(committed)}


def leftovers(sink: str, prepared: Iterable[Prepared], manifests: Iterable[Manifest], own_token: int) -> list[Prepared]:
    """Return what may be aborted: prepared under a lower token and listed in none of `manifests` (P11)."""
    listed = {(c.sink, c.slot, c.epoch, c.token) for manifest in manifests for c in manifest.pending}
    return [p for p in prepared if p.token < own_token and (sink, p.slot, p.epoch, p.token) not in listed]


def foreign_marks(marks: Iterable[Mark], known: Collection[str]) -> list[Mark]:
    """Return the marks of lineages other than the `known` ones (P15)."""
    return [mark for mark in marks if mark.lineage not in known]


def next_epoch(highest_in_log: int, sinks: Iterable[SinkState]) -> int:
    """Return the id of the first epoch to trigger: above every id seen anywhere (P2)."""
    return 1 + max([highest_in_log, *(epoch for sink in sinks for epoch in sink.applied.values())])


def _epoch(committable: Committable) -> int:
    return committable.epoch


def _age(committable: Committable) -> tuple[int, int, int]:
    return committable.epoch, committable.token, committable.slot
