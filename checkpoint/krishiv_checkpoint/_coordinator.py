"""The coordinator: a state machine that takes events and gives instructions. No clock, no sockets, no threads.

An epoch goes ``aligning -> writing -> completed -> committed``; it can fail while aligning (timeout, decline) and while
writing (the store is full; where the outcome is unknown, it stays until that is found out). A failed epoch is not
aborted: what its tasks prepared is carried by the next manifest, whose positions cover its rows (P4). One epoch at a
time aligns or is being written; the commits of earlier ones go on beside it, oldest first in each lane (P5).

The job goes ``starting -> running -> closing -> over``: it closes once the epoch of a STOP or FINISH barrier is
complete.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._commits import CommitLedger
from krishiv_checkpoint._epoch import Epoch, EpochPhase
from krishiv_checkpoint._errors import (
    CheckpointFailed,
    CommitFailed,
    CommittableLost,
    InvalidTransition,
    TooManyFailedCheckpoints,
)
from krishiv_checkpoint._events import Timer, TimerKind
from krishiv_checkpoint._records import BarrierKind, CommitStatus
from krishiv_checkpoint._requests import RequestDesk, refuse
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from krishiv_checkpoint._commits import Lane
    from krishiv_checkpoint._records import Ack, CommitScope
    from krishiv_checkpoint._settings import CheckpointSettings

__all__ = ["Coordinator", "JobPhase"]

BACKOFF = 1.0
"""Least seconds between a failed checkpoint, or finish entry, and the next try."""
REWRITE, REWRITE_MOST = 0.5, 30.0
"""Seconds before a manifest of unknown outcome is tried again: the first wait, doubled each time, and the longest."""
COMMIT_ERRORS = 10
"""How often in a row a commit may raise I/O errors before the job stops: some two minutes."""
COMMIT_RETRY, COMMIT_RETRY_MOST = 0.5, 30.0
"""Seconds before a commit that raised is called again: the first wait, doubled each time, and the longest."""
STORY = 200
"""How many of the last events an `InvalidTransition` tells."""


class JobPhase(StrEnum):
    """How far the attempt has come."""

    STARTING = "starting"
    RUNNING = "running"
    CLOSING = "closing"
    OVER = "over"


class Coordinator:
    """Decides when epochs begin, complete and fail, what a manifest holds, and which commit comes next.

    Parameters
    ----------
    token : int
        The attempt's fencing token; acks under another one are ignored.
    tasks : collection of str
        Every task that has to answer a barrier.
    scopes : mapping of sink id to CommitScope
        Every two-phase sink.
    highest_epoch : int
        The largest epoch id seen anywhere; the first epoch is the next one (P2).
    committed_through : mapping of sink id to mapping of slot to epoch
        What recovery found or made applied.
    """

    def __init__(
        self,
        *,
        token: int,
        tasks: Collection[str],
        scopes: Mapping[str, CommitScope],
        highest_epoch: int,
        committed_through: Mapping[str, Mapping[int, int]],
        settings: CheckpointSettings,
    ) -> None:
        if not tasks:
            raise ValueError("a job without tasks has nothing to checkpoint")
        self.phase = JobPhase.STARTING
        self._token = token
        self._tasks = frozenset(tasks)
        self._settings = settings
        self._ledger = CommitLedger(scopes, committed_through)
        self._desk = RequestDesk()
        self._first = highest_epoch + 1
        self._highest = highest_epoch
        self._active: Epoch | None = None
        self._uncommitted: deque[Epoch] = deque()
        self._closing: Epoch | None = None
        self._writing_finish = False
        self._failed: BaseException | None = None
        self._ended: set[str] = set()
        self._due = self._pausing = self._backing_off = False
        self._failures = 0
        self._story: deque[tuple[str, str]] = deque(maxlen=STORY)

    # ---------------------------------------------------------------- the seam

    def handle(self, event: ev.Event) -> list[do.Instruction]:
        """Return what `event` makes necessary, in the order in which it has to be done.

        Raises
        ------
        InvalidTransition
            If the event is impossible in this state: a defect of the driver or of the engine, with the story so far.
        """
        self._story.append((event.stimulus_id, _summary(event)))
        if self.phase is JobPhase.OVER:
            return list(refuse(event, self._failed))
        return [*self._dispatch(event), *self._trigger_if_wanted()]

    def story(self) -> list[tuple[str, str]]:
        """Return the last events and transitions, each with the stimulus that caused it."""
        return list(self._story)

    def _dispatch(self, event: ev.Event) -> Iterator[do.Instruction]:
        match event:
            case ev.Started():
                return self._on_started()
            case ev.TimerFired():
                return self._on_timer(event.timer)
            case ev.AckReceived():
                return self._on_ack(event.ack)
            case ev.DeclineReceived():
                return self._on_decline(event)
            case ev.TaskEnded():
                return self._on_task_ended(event.task)
            case ev.Request():
                return self._on_request(event)
            case ev.ManifestWritten():
                return self._transition_writing_completed(self._writing(event.epoch))
            case ev.ManifestFailed():
                return self._on_manifest_failed(event)
            case ev.ManifestUnknown():
                return self._on_manifest_unknown(event)
            case ev.CommitEnded():
                return self._on_commit_ended(event)
            case ev.CommitRaised():
                return self._on_commit_raised(event)
            case ev.SavepointWritten() | ev.SavepointFailed():
                return self._on_savepoint(event)
            case ev.FinishWritten() | ev.FinishFailed():
                return self._on_finish(event)
            case ev.StepFailed():
                return self._fail(event.error)
            case _:
                return self._impossible(f"no such event: {event!r}")

    # ---------------------------------------------------------------- when to trigger

    def _on_started(self) -> Iterator[do.Instruction]:
        if self.phase is not JobPhase.STARTING:
            self._impossible("started twice")
        self.phase = JobPhase.RUNNING
        yield from self._set_interval()

    def _trigger_if_wanted(self) -> Iterator[do.Instruction]:
        may = self.phase is JobPhase.RUNNING and self._active is None and not self._backing_off
        if not may or len(self._uncommitted) >= self._settings.max_pending_epochs:
            return
        kind = self._wanted()
        if kind is not None:
            yield from self._transition_none_aligning(kind)

    def _wanted(self) -> BarrierKind | None:
        if self._ended >= self._tasks:
            return BarrierKind.FINISH
        periodic = BarrierKind.CHECKPOINT if self._due and not self._pausing else None
        return self._desk.wanted() or periodic

    def _set_interval(self) -> Iterator[do.Instruction]:
        if self._settings.checkpoint_interval is not None:
            yield do.SetTimer(Timer(TimerKind.INTERVAL), self._settings.checkpoint_interval)

    def _on_timer(self, timer: Timer) -> Iterator[do.Instruction]:
        match timer.kind:
            case TimerKind.INTERVAL:
                self._due = True
            case TimerKind.PAUSE:
                self._pausing = False
            case TimerKind.BACKOFF:
                self._backing_off = False
                yield from self._conclude()
            case TimerKind.TIMEOUT:
                yield from self._on_timeout(timer.epoch)
            case TimerKind.REWRITE:
                yield self._writing(timer.epoch).write_again()
            case TimerKind.RETRY:
                lane = self._ledger.lane(timer.sink, timer.slot, timer.epoch)
                if lane is not None and lane.waiting:
                    yield lane.start()

    def _on_task_ended(self, task: str) -> Iterator[do.Instruction]:
        if task not in self._tasks:
            self._impossible(f"the unknown task {task!r} ended")
        self._ended.add(task)
        yield from ()

    def _on_request(self, event: ev.Request) -> Iterator[do.Instruction]:
        self._desk.add(event)
        yield from ()

    # ---------------------------------------------------------------- epochs

    def _transition_none_aligning(self, kind: BarrierKind) -> Iterator[do.Instruction]:
        self._highest += 1
        epoch = self._active = Epoch(self._highest, kind)
        self._enter(epoch, EpochPhase.ALIGNING)
        self._desk.attach(epoch)
        self._due = False
        yield do.SetTimer(epoch.timeout, self._settings.checkpoint_timeout)
        yield from self._set_interval()
        yield do.TriggerBarrier(epoch.number, kind)

    def _transition_aligning_writing(self, epoch: Epoch) -> Iterator[do.Instruction]:
        try:
            pending = self._ledger.pending()
        except CommittableLost as error:
            yield from self._fail(error)
            return
        self._enter(epoch, EpochPhase.WRITING)
        epoch.manifest = do.WriteManifest(
            epoch=epoch.number,
            kind=epoch.kind,
            highest_epoch=self._highest,
            operators=epoch.snapshots(),
            committed_through=self._ledger.committed_through(),
            pending=pending,
            hold=self._savepoint_waits() or bool(epoch.savepoints),
        )
        yield do.CancelTimer(epoch.timeout)
        yield epoch.manifest

    def _transition_writing_completed(self, epoch: Epoch) -> Iterator[do.Instruction]:
        self._enter(epoch, EpochPhase.COMPLETED)
        self._active = None
        self._failures = 0
        self._uncommitted.append(epoch)
        if epoch.closes:
            self.phase = JobPhase.CLOSING
            self._closing = epoch
        self._ledger.publish(epoch.listed)
        yield do.NotifyCompleted(epoch.number)
        yield from self._desk.complete(epoch)
        yield from self._ledger.start_idle()
        if not self._savepoint_waits():
            yield do.Retire(epoch.number)
        if self._settings.min_pause:
            self._pausing = True
            yield do.SetTimer(Timer(TimerKind.PAUSE), self._settings.min_pause)
        yield from self._advance()

    def _transition_completed_committed(self, epoch: Epoch) -> Iterator[do.Instruction]:
        self._enter(epoch, EpochPhase.COMMITTED)
        yield do.NotifyCommitted(epoch.number)
        yield from self._desk.save(epoch, self._ledger.committed_through())

    def _transition_active_failed(
        self, epoch: Epoch, reason: str, cause: BaseException | None
    ) -> Iterator[do.Instruction]:
        self._enter(epoch, EpochPhase.FAILED)
        self._active = None
        error = CheckpointFailed(
            f"the checkpoint of epoch {epoch.number} failed: {reason}",
            hint="the job goes on and its next checkpoint covers these rows; look for the cause if it comes again",
            epoch=epoch.number,
        )
        error.__cause__ = cause
        yield do.CancelTimer(epoch.timeout)
        yield do.NotifyFailed(epoch.number, error)
        yield from self._desk.reject(epoch, error)
        yield from self._count_failure(error)

    def _savepoint_waits(self) -> bool:
        """Whether a savepoint still has to be made of a manifest: until then nothing may be retired."""
        return self._desk.saving or any(epoch.savepoints for epoch in self._uncommitted)

    def _count_failure(self, error: BaseException) -> Iterator[do.Instruction]:
        self._failures += 1
        if self._failures <= self._settings.tolerable_failed_checkpoints:
            self._backing_off = True
            yield do.SetTimer(Timer(TimerKind.BACKOFF), max(self._settings.min_pause, BACKOFF))
            return
        cause = error.__cause__ if isinstance(error, CheckpointFailed) else error
        hint = cause.hint if isinstance(cause, KrishivError) else ""
        too_many = TooManyFailedCheckpoints(
            f"{self._failures} checkpoints in a row failed, the last one: {_said(error)}",
            hint=hint or "mend the cause and run the job again: it resumes from its last complete checkpoint",
            failures=self._failures,
        )
        too_many.__cause__ = error
        yield from self._fail(too_many)

    # ---------------------------------------------------------------- answers of the tasks

    def _on_ack(self, ack: Ack) -> Iterator[do.Instruction]:
        if ack.token != self._token:
            return
        self._check_known(ack.task, ack.epoch)
        self._take(ack)
        epoch = self._aligning(ack.epoch)
        if epoch is None:
            return  # late: only its committables count
        epoch.acks.setdefault(ack.task, ack)
        if epoch.acks.keys() >= self._tasks:
            yield from self._transition_aligning_writing(epoch)

    def _take(self, ack: Ack) -> None:
        for committable in ack.committables:
            if committable.token != self._token or not self._first <= committable.epoch <= ack.epoch:
                self._impossible(f"an ack for epoch {ack.epoch} carries one of epoch {committable.epoch}")
            if not self._ledger.knows_sink(committable.sink):
                self._impossible(f"a committable of the unknown sink {committable.sink!r}")
            self._ledger.take(committable)

    def _on_decline(self, event: ev.DeclineReceived) -> Iterator[do.Instruction]:
        if event.token != self._token:
            return
        self._check_known(event.task, event.epoch)
        epoch = self._aligning(event.epoch)
        if epoch is not None:
            reason = f"task {event.task!r} declined it: {_said(event.error)}"
            yield from self._transition_active_failed(epoch, reason, event.error)

    def _on_timeout(self, number: int) -> Iterator[do.Instruction]:
        epoch = self._aligning(number)
        if epoch is not None:
            missing = ", ".join(sorted(self._tasks - epoch.acks.keys()))
            reason = f"no ack from {missing} within {self._settings.checkpoint_timeout} s"
            yield from self._transition_active_failed(epoch, reason, None)

    def _check_known(self, task: str, number: int) -> None:
        if task not in self._tasks or not self._first <= number <= self._highest:
            self._impossible(f"an answer of task {task!r} to epoch {number}")

    def _aligning(self, number: int) -> Epoch | None:
        epoch = self._active
        if epoch is None or epoch.number != number or epoch.phase is not EpochPhase.ALIGNING:
            return None
        return epoch

    # ---------------------------------------------------------------- answers of the log and of the sinks

    def _on_manifest_failed(self, event: ev.ManifestFailed) -> Iterator[do.Instruction]:
        reason = f"its manifest could not be written: {_said(event.error)}"
        return self._transition_active_failed(self._writing(event.epoch), reason, event.error)

    def _on_manifest_unknown(self, event: ev.ManifestUnknown) -> Iterator[do.Instruction]:
        epoch = self._writing(event.epoch)
        wait = min(REWRITE * 2**epoch.rewrites, REWRITE_MOST)
        yield do.SetTimer(Timer(TimerKind.REWRITE, epoch.number), wait)

    def _writing(self, number: int) -> Epoch:
        epoch = self._active
        if epoch is None or epoch.number != number or epoch.phase is not EpochPhase.WRITING:
            self._impossible(f"an answer to a manifest of epoch {number} that is not being written")
        return epoch

    def _on_commit_ended(self, event: ev.CommitEnded) -> Iterator[do.Instruction]:
        lane = self._busy_lane(event)
        match event.outcome.status:
            case CommitStatus.DONE | CommitStatus.ALREADY_DONE:
                self._ledger.end(lane)
                yield from self._ledger.start_idle()
                yield from self._advance()
            case CommitStatus.RETRY_LATER:
                lane.errors = 0
                yield lane.wait(event.outcome.after)
            case CommitStatus.FAILED:
                yield from self._fail(_commit_failed(event, event.outcome.reason))

    def _on_commit_raised(self, event: ev.CommitRaised) -> Iterator[do.Instruction]:
        lane = self._busy_lane(event)
        lane.errors += 1
        if lane.errors < COMMIT_ERRORS:
            yield lane.wait(min(COMMIT_RETRY * 2 ** (lane.errors - 1), COMMIT_RETRY_MOST))
            return
        error = _commit_failed(event, f"{lane.errors} I/O errors in a row, the last one: {_said(event.error)}")
        error.__cause__ = event.error
        yield from self._fail(error)

    def _busy_lane(self, event: ev.CommitEnded | ev.CommitRaised) -> Lane:
        lane = self._ledger.lane(event.sink, event.slot, event.epoch)
        if lane is None or not lane.running:
            self._impossible(f"a commit ended that was not under way: {event.sink} {event.slot} {event.epoch}")
        return lane

    def _advance(self) -> Iterator[do.Instruction]:
        while self._uncommitted and self._ledger.is_applied(self._uncommitted[0].number):
            yield from self._transition_completed_committed(self._uncommitted.popleft())
        yield from self._conclude()

    # ---------------------------------------------------------------- the end

    def _on_savepoint(self, event: ev.SavepointWritten | ev.SavepointFailed) -> Iterator[do.Instruction]:
        if not self._desk.is_saving(event.request):
            self._impossible(f"an answer to savepoint request {event.request}, which is not being written")
        yield from self._desk.end_save(event)
        yield from self._conclude()

    def _conclude(self) -> Iterator[do.Instruction]:
        """Go on to the end once the last epoch is committed and no savepoint is being written."""
        epoch = self._closing
        if epoch is None or epoch.phase is not EpochPhase.COMMITTED or self._desk.saving or self._backing_off:
            return
        if epoch.kind is BarrierKind.STOP:
            yield from self._finish("stopped")
        elif not self._writing_finish:
            self._writing_finish = True
            yield do.WriteFinish(epoch.number, self._finish_kind())

    def _on_finish(self, event: ev.FinishWritten | ev.FinishFailed) -> Iterator[do.Instruction]:
        if not self._writing_finish:
            self._impossible("an answer to a finish entry that is not being written")
        if isinstance(event, ev.FinishWritten):
            yield do.Retire(self._highest)
            yield from self._finish(self._finish_kind())
        else:
            self._writing_finish = False
            yield from self._count_failure(event.error)

    def _finish_kind(self) -> str:
        return "drained" if self._desk.drained else "finished"

    def _finish(self, kind: str) -> Iterator[do.Instruction]:
        self.phase = JobPhase.OVER
        yield from self._desk.close()
        yield do.FinishJob(kind)

    def _fail(self, error: BaseException) -> Iterator[do.Instruction]:
        """End the attempt: nothing more is instructed, whatever is still under way (P9)."""
        self.phase = JobPhase.OVER
        self._failed = error
        epochs = [*self._uncommitted, *([self._active] if self._active else [])]
        yield from self._desk.abandon(epochs, error)
        yield do.FailJob(error)

    # ---------------------------------------------------------------- the story

    def _enter(self, epoch: Epoch, phase: EpochPhase) -> None:
        epoch.phase = phase
        self._story.append((self._story[-1][0], f"epoch {epoch.number} ({epoch.kind}) is {phase}"))

    def _impossible(self, what: str) -> NoReturn:
        raise InvalidTransition(
            f"the checkpoint coordinator was told the impossible: {what}",
            hint="this is a defect: report it with the story; the job resumes from its last complete checkpoint",
            story=self.story(),
        )


def _commit_failed(event: ev.CommitEnded | ev.CommitRaised, reason: str) -> CommitFailed:
    return CommitFailed(
        f"sink {event.sink!r} cannot apply epoch {event.epoch}: {reason}",
        hint="mend the cause and run the job again: the epoch is in the log and will be applied then",
        sink=event.sink,
        slot=event.slot,
        epoch=event.epoch,
    )


def _said(error: BaseException) -> str:
    """Return what `error` says, for the inside of another error's message."""
    return error.message if isinstance(error, KrishivError) else f"{type(error).__name__}: {error}"


def _summary(event: ev.Event) -> str:
    """Say what happened in a line, without payloads or state."""
    if isinstance(event, ev.AckReceived):
        carried = ", ".join(f"{c.sink}/{c.slot}/{c.epoch}" for c in event.ack.committables)
        return f"ack of {event.ack.task} for epoch {event.ack.epoch}, token {event.ack.token}, carrying [{carried}]"
    fields = ", ".join(f"{name}={value!r}" for name, value in vars(event).items() if name != "stimulus_id")
    return f"{type(event).__name__} {fields}"
