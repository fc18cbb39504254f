"""The values that cross the boundary between the data plane and the checkpoint: what tasks acknowledge, what sinks
leave prepared, what a manifest refers to. All are immutable and all are JSON when stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

__all__ = [
    "Ack",
    "BarrierKind",
    "CommitOutcome",
    "CommitScope",
    "CommitStatus",
    "Committable",
    "Mark",
    "OperatorSnapshot",
    "Prepared",
    "StateFile",
]


class BarrierKind(StrEnum):
    """Why a barrier travels: what follows once its epoch is committed."""

    CHECKPOINT = "checkpoint"
    SAVEPOINT = "savepoint"
    STOP = "stop"
    FINISH = "finish"


class CommitScope(StrEnum):
    """Whether a sink commits each slot by itself or all slots of an epoch in one call."""

    SLOT = "slot"
    EPOCH = "epoch"


class StateFile(msgspec.Struct, frozen=True):
    """One file of a snapshot in the checkpoint store.

    Parameters
    ----------
    key : str
        Its key in the store, relative to the job.
    sha256 : str
        Hex digest of its bytes.
    size : int
        Bytes.
    """

    key: str
    sha256: str
    size: int


class OperatorSnapshot(msgspec.Struct, frozen=True):
    """What one subtask of one operator remembers at a barrier.

    Parameters
    ----------
    operator : str
        Stable operator id.
    subtask : int
        Which subtask took it.
    key_groups : (int, int)
        First and past-last key group it speaks for; ``(0, 0)`` where state is not keyed.
    inline : dict
        Small JSON values: split positions, watermarks, the index over `files`.
    files : tuple of StateFile
        Every file it needs to be restored, new ones and ones that earlier epochs wrote.
    """

    operator: str
    subtask: int
    key_groups: tuple[int, int] = (0, 0)
    inline: dict[str, Any] = {}
    files: tuple[StateFile, ...] = ()


class Committable(msgspec.Struct, frozen=True):
    """What one sink slot prepared in one epoch.

    Parameters
    ----------
    sink : str
        Stable id of the sink.
    slot : int
        Sink subtask.
    epoch, token : int
        The epoch, and the fencing token of the attempt that prepared it. Together they are unique (P2).
    previous : int
        The epoch this slot prepared before this one, in this lineage; 0 if none (P14).
    payload : bytes
        The sink's own words; opaque here.
    """

    sink: str
    slot: int
    epoch: int
    token: int
    previous: int
    payload: bytes


class Prepared(msgspec.Struct, frozen=True):
    """A prepared artefact that a sink finds outside, by its name (P11)."""

    token: int
    epoch: int
    slot: int
    payload: bytes


class Mark(msgspec.Struct, frozen=True):
    """A sink's own record that it applied an epoch (P15). The job's name is an attribute, never a key."""

    lineage: str
    job: str
    slot: int
    epoch: int


class Ack(msgspec.Struct, frozen=True):
    """One task's answer to a barrier.

    `committables` holds everything that the task's sink slots prepared and do not yet know to be in a manifest, the
    epochs before this one included: an ack that gets lost is made good by the next (P4).
    """

    task: str
    epoch: int
    token: int
    snapshots: tuple[OperatorSnapshot, ...] = ()
    committables: tuple[Committable, ...] = ()


class CommitStatus(StrEnum):
    """How a commit ended."""

    DONE = "done"
    ALREADY_DONE = "already_done"
    RETRY_LATER = "retry_later"
    FAILED = "failed"


class CommitOutcome(msgspec.Struct, frozen=True):
    """What `commit` reports.

    Parameters
    ----------
    status : CommitStatus
        DONE and ALREADY_DONE end it; RETRY_LATER asks for another call; FAILED stops the job with a named error.
    reason : str
        Why it has to wait, or why it failed.
    after : float
        Seconds to wait before a retry.
    """

    status: CommitStatus
    reason: str = ""
    after: float = 0.5

    @classmethod
    def done(cls) -> CommitOutcome:
        """The epoch is applied."""
        return cls(CommitStatus.DONE)

    @classmethod
    def already_done(cls) -> CommitOutcome:
        """The epoch had been applied before this call."""
        return cls(CommitStatus.ALREADY_DONE)

    @classmethod
    def retry(cls, reason: str, after: float = 0.5) -> CommitOutcome:
        """Passing trouble, or an unknown outcome: call again after `after` seconds."""
        return cls(CommitStatus.RETRY_LATER, reason, after)

    @classmethod
    def failed(cls, reason: str) -> CommitOutcome:
        """It can never succeed: the job must stop and say so."""
        return cls(CommitStatus.FAILED, reason)
