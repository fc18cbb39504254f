"""What happens to the coordinator: frozen events, each with the id of the stimulus that caused it.

Nothing in an event depends on a clock, a socket or a thread, so a recorded list of them replays to the same
instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from krishiv_checkpoint._records import Ack, CommitOutcome

__all__ = [
    "AckReceived",
    "CheckpointRequested",
    "CommitEnded",
    "CommitRaised",
    "DeclineReceived",
    "Event",
    "FinishFailed",
    "FinishWritten",
    "ManifestFailed",
    "ManifestUnknown",
    "ManifestWritten",
    "Request",
    "SavepointFailed",
    "SavepointRequested",
    "SavepointWritten",
    "Started",
    "StepFailed",
    "StopRequested",
    "TaskEnded",
    "Timer",
    "TimerFired",
    "TimerKind",
]


class TimerKind(StrEnum):
    """What a timer is for."""

    INTERVAL = "interval"
    """The next periodic checkpoint is due."""
    PAUSE = "pause"
    """`min_pause` since the last checkpoint is over."""
    BACKOFF = "backoff"
    """Enough time has passed since a failed checkpoint to try another."""
    TIMEOUT = "timeout"
    """The acks of an epoch took too long."""
    REWRITE = "rewrite"
    """A manifest of unknown outcome may be looked for, and written again if it is not there."""
    RETRY = "retry"
    """A commit that had to wait may be called again."""


@dataclass(frozen=True)
class Timer:
    """Names one timer; setting it again moves it. INTERVAL, PAUSE and BACKOFF have no fields of their own."""

    kind: TimerKind
    epoch: int = 0
    sink: str = ""
    slot: int | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Root of all events.

    Parameters
    ----------
    stimulus_id : str
        Unique in the attempt; the coordinator's story refers to it.
    """

    stimulus_id: str


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The tasks run; from now on checkpoints may be triggered."""


@dataclass(frozen=True, kw_only=True)
class TimerFired(Event):
    """A timer ran out. One that was cancelled meanwhile is ignored."""

    timer: Timer


@dataclass(frozen=True, kw_only=True)
class AckReceived(Event):
    """A task answered a barrier; perhaps late, twice, or from another attempt."""

    ack: Ack


@dataclass(frozen=True, kw_only=True)
class DeclineReceived(Event):
    """A task could not take its part of an epoch."""

    task: str
    epoch: int
    token: int
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class TaskEnded(Event):
    """A task handled its last row; it stays alive to pass barriers (P7)."""

    task: str


@dataclass(frozen=True, kw_only=True)
class Request(Event):
    """Someone wants something; `request` is the number under which it is answered."""

    request: int


@dataclass(frozen=True, kw_only=True)
class CheckpointRequested(Request):
    """Someone wants a checkpoint whose barrier has not been triggered yet."""


@dataclass(frozen=True, kw_only=True)
class SavepointRequested(Request):
    """Someone wants a savepoint at `location`."""

    location: str


@dataclass(frozen=True, kw_only=True)
class StopRequested(Request):
    """Someone wants the job to stop behind a barrier, with open windows kept (P7).

    Parameters
    ----------
    savepoint : str or None
        Where to put a savepoint of the last epoch.
    drain : bool
        The sources are being ended for good: the job finishes as drained when every task has ended.
    """

    savepoint: str | None = None
    drain: bool = False


@dataclass(frozen=True, kw_only=True)
class ManifestWritten(Event):
    """The manifest of `epoch` is durable: the commit point is passed."""

    epoch: int


@dataclass(frozen=True, kw_only=True)
class ManifestFailed(Event):
    """The manifest of `epoch` is known not to be in the log and never will be."""

    epoch: int
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class ManifestUnknown(Event):
    """Writing the manifest of `epoch` failed in a way that does not tell whether it is in the log."""

    epoch: int
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class CommitEnded(Event):
    """`Committer.commit` returned. `slot` is None for a sink that commits all slots of an epoch at once."""

    sink: str
    slot: int | None
    epoch: int
    outcome: CommitOutcome


@dataclass(frozen=True, kw_only=True)
class CommitRaised(Event):
    """`Committer.commit` raised an I/O error: whether the epoch was applied is unknown."""

    sink: str
    slot: int | None
    epoch: int
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class SavepointWritten(Event):
    """A savepoint is complete at `location`, and in the log."""

    request: int
    location: str


@dataclass(frozen=True, kw_only=True)
class SavepointFailed(Event):
    """A savepoint could not be written."""

    request: int
    error: BaseException


@dataclass(frozen=True, kw_only=True)
class FinishWritten(Event):
    """The finish entry is durable."""


@dataclass(frozen=True, kw_only=True)
class FinishFailed(Event):
    """The finish entry could not be written; it may be in the log all the same."""

    error: BaseException


@dataclass(frozen=True, kw_only=True)
class StepFailed(Event):
    """A step failed in a way that no retry mends: this attempt is fenced, the log is corrupt, code is broken."""

    error: BaseException
