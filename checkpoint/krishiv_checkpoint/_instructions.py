"""What the coordinator wants done: frozen instructions, carried out in order by a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_checkpoint._events import Timer
    from krishiv_checkpoint._records import BarrierKind, Committable, OperatorSnapshot

__all__ = [
    "CancelTimer",
    "Commit",
    "CompleteRequest",
    "FailJob",
    "FailRequest",
    "FinishJob",
    "Instruction",
    "NotifyCommitted",
    "NotifyCompleted",
    "NotifyFailed",
    "Retire",
    "SetTimer",
    "TriggerBarrier",
    "WriteFinish",
    "WriteManifest",
    "WriteSavepoint",
]


@dataclass(frozen=True)
class Instruction:
    """Root of all instructions."""


@dataclass(frozen=True)
class TriggerBarrier(Instruction):
    """Put a barrier into every source."""

    epoch: int
    kind: BarrierKind


@dataclass(frozen=True)
class WriteManifest(Instruction):
    """Append the manifest of `epoch` to the log; answer ManifestWritten, -Failed, -Unknown or StepFailed.

    Parameters
    ----------
    operators : tuple of OperatorSnapshot
        The whole state, in the order (operator, subtask).
    committed_through : mapping of sink id to mapping of slot to epoch
        What is applied outside.
    pending : tuple of Committable
        Everything prepared above that, oldest first.
    hold : bool
        A savepoint is going to be made of this manifest or of one before it: no older one may retire behind it.
    tries : int
        How often it was tried before. Above 0 it may be in the log already, so that is read first.
    """

    epoch: int
    kind: BarrierKind
    highest_epoch: int
    operators: tuple[OperatorSnapshot, ...]
    committed_through: Mapping[str, Mapping[int, int]]
    pending: tuple[Committable, ...]
    hold: bool = False
    tries: int = 0


@dataclass(frozen=True)
class NotifyCompleted(Instruction):
    """Tell the tasks that the manifest of `epoch` is durable."""

    epoch: int


@dataclass(frozen=True)
class NotifyCommitted(Instruction):
    """Tell the tasks that every sink applied `epoch`: positions may be published outside."""

    epoch: int


@dataclass(frozen=True)
class NotifyFailed(Instruction):
    """Tell whoever watches that the checkpoint of `epoch` failed. The tasks keep what they prepared (P4)."""

    epoch: int
    error: BaseException


@dataclass(frozen=True)
class Commit(Instruction):
    """Apply one epoch in one slot (`slot` None: all slots); answer CommitEnded, CommitRaised or StepFailed.

    Parameters
    ----------
    tries : int
        How often this epoch was tried before. Above 0 the sink's own record is read first (P5).
    """

    sink: str
    slot: int | None
    epoch: int
    committables: tuple[Committable, ...]
    tries: int = 0


@dataclass(frozen=True)
class Retire(Instruction):
    """Remove what the manifest of `epoch` makes superfluous, as the retention rules say."""

    epoch: int


@dataclass(frozen=True)
class WriteSavepoint(Instruction):
    """Write a savepoint of `epoch`; answer SavepointWritten, SavepointFailed or StepFailed.

    Parameters
    ----------
    committed_through : mapping of sink id to mapping of slot to epoch
        What is applied outside by now; nothing of `epoch` is missing from it (P16).
    """

    request: int
    epoch: int
    location: str
    committed_through: Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class WriteFinish(Instruction):
    """Append the finish entry, unless it is there; answer FinishWritten, FinishFailed or StepFailed."""

    epoch: int
    kind: str


@dataclass(frozen=True)
class SetTimer(Instruction):
    """Fire `timer` in `delay` seconds; if it is set already, it moves."""

    timer: Timer
    delay: float


@dataclass(frozen=True)
class CancelTimer(Instruction):
    """Forget `timer`; one that is not set is fine."""

    timer: Timer


@dataclass(frozen=True)
class CompleteRequest(Instruction):
    """Answer a request."""

    request: int
    result: int | str | None


@dataclass(frozen=True)
class FailRequest(Instruction):
    """Answer a request with an error."""

    request: int
    error: BaseException


@dataclass(frozen=True)
class FinishJob(Instruction):
    """The attempt is over as it should be: ``"finished"``, ``"drained"`` or ``"stopped"``."""

    kind: str


@dataclass(frozen=True)
class FailJob(Instruction):
    """The attempt is over because of `error`; nothing more may be written under its token."""

    error: BaseException
