"""How a job's checkpoints go: a status to look at, and one event per change for those who listen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._epoch import EpochPhase
from krishiv_checkpoint._records import BarrierKind, CommitStatus

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CheckpointEvent", "CheckpointProgress", "CheckpointStatus"]

_APPLIED = (CommitStatus.DONE, CommitStatus.ALREADY_DONE)


@dataclass(frozen=True, kw_only=True)
class CheckpointStatus:
    """A job's checkpoints at one moment.

    Parameters
    ----------
    triggered, completed, committed : int
        The newest epoch whose barrier was triggered, whose manifest is durable, which every sink applied; 0 for none
        in this attempt.
    failed : int
        How many checkpoints of this attempt failed.
    last_failure : str
        Why the last of them did; empty if none.
    duration : float
        Seconds from trigger to durable manifest of the last complete epoch.
    commit_duration : float
        Seconds from durable manifest to the last sink's commit of the last committed epoch.
    state_bytes, new_bytes : int
        All files that the last complete epoch refers to, and those of them that the one before did not.
    pending_commits : int
        Calls of `commit` that are due and have not succeeded.
    """

    triggered: int = 0
    completed: int = 0
    committed: int = 0
    failed: int = 0
    last_failure: str = ""
    duration: float = 0.0
    commit_duration: float = 0.0
    state_bytes: int = 0
    new_bytes: int = 0
    pending_commits: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckpointEvent:
    """An epoch entered a phase.

    Parameters
    ----------
    phase : EpochPhase
        ALIGNING when it is triggered, then COMPLETED and COMMITTED, or FAILED.
    seconds : float
        Since its trigger.
    state_bytes, new_bytes : int
        From COMPLETED on: all files it refers to, and those that the epoch before did not.
    reason : str
        Why it failed.
    """

    epoch: int
    kind: BarrierKind
    phase: EpochPhase
    seconds: float = 0.0
    state_bytes: int = 0
    new_bytes: int = 0
    reason: str = ""


@dataclass
class _Watched:
    event: CheckpointEvent
    triggered: float
    completed: float = 0.0
    files: frozenset[str] = frozenset()


class CheckpointProgress:
    """Follows the instructions as they are carried out. Read from any thread; written by the driver's.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._status = CheckpointStatus()
        self._lock = threading.Lock()
        self._epochs: dict[int, _Watched] = {}
        self._files: frozenset[str] = frozenset()

    def status(self) -> CheckpointStatus:
        """Return how things stand."""
        with self._lock:
            return self._status

    def observe(self, instruction: do.Instruction) -> CheckpointEvent | None:
        """Note `instruction`; return what to tell the listeners, if it is worth telling."""
        match instruction:
            case do.TriggerBarrier(epoch=epoch, kind=kind):
                event = CheckpointEvent(epoch=epoch, kind=kind, phase=EpochPhase.ALIGNING)
                self._epochs[epoch] = _Watched(event, self._clock())
                self._update(triggered=epoch)
                return event
            case do.WriteManifest():
                self._measure(instruction)
                return None
            case do.Commit(tries=0):
                self._update(pending_commits=self._status.pending_commits + 1)
                return None
            case do.NotifyCompleted(epoch=epoch):
                return self._complete(epoch)
            case do.NotifyCommitted(epoch=epoch):
                return self._commit(epoch)
            case do.NotifyFailed(epoch=epoch, error=error):
                return self._fail(epoch, str(error))
            case _:
                return None

    def hear(self, event: ev.Event) -> None:
        """Note what an event tells that no instruction does."""
        if isinstance(event, ev.CommitEnded) and event.outcome.status in _APPLIED:
            self._update(pending_commits=self._status.pending_commits - 1)

    def _measure(self, manifest: do.WriteManifest) -> None:
        files = {file.key: file.size for snapshot in manifest.operators for file in snapshot.files}
        watched = self._epochs[manifest.epoch]
        new = sum(size for key, size in files.items() if key not in self._files)
        watched.event = replace(watched.event, state_bytes=sum(files.values()), new_bytes=new)
        watched.files = frozenset(files)

    def _complete(self, epoch: int) -> CheckpointEvent:
        watched = self._epochs[epoch]
        self._files = watched.files
        watched.completed = self._clock()
        event = watched.event = self._aged(watched, EpochPhase.COMPLETED)
        self._update(completed=epoch, duration=event.seconds, state_bytes=event.state_bytes, new_bytes=event.new_bytes)
        return event

    def _commit(self, epoch: int) -> CheckpointEvent:
        watched = self._epochs.pop(epoch)
        self._update(committed=epoch, commit_duration=self._clock() - watched.completed)
        return self._aged(watched, EpochPhase.COMMITTED)

    def _fail(self, epoch: int, reason: str) -> CheckpointEvent:
        watched = self._epochs.pop(epoch)
        self._update(failed=self._status.failed + 1, last_failure=reason)
        return replace(self._aged(watched, EpochPhase.FAILED), reason=reason)

    def _aged(self, watched: _Watched, phase: EpochPhase) -> CheckpointEvent:
        return replace(watched.event, phase=phase, seconds=self._clock() - watched.triggered)

    def _update(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)
