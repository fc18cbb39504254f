"""The threaded driver around the coordinator: a queue of events, timers, and workers for what blocks.

One thread decides. The log has a worker of its own, so has each sink (its calls come one after the other, on one
thread), and so has what is not urgent: retiring and savepoints.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._answers import Answers
from krishiv_checkpoint._coordinator import Coordinator
from krishiv_checkpoint._progress import CheckpointProgress
from krishiv_checkpoint._steps import Steps
from krishiv_checkpoint._timers import Timers
from krishiv_checkpoint._workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from concurrent.futures import Future

    from krishiv_checkpoint._attempt import Attempt
    from krishiv_checkpoint._entries import Fingerprint
    from krishiv_checkpoint._progress import CheckpointEvent, CheckpointStatus
    from krishiv_checkpoint._records import Ack
    from krishiv_checkpoint._seams import CheckpointStore, Committer, DataPlane
    from krishiv_checkpoint._settings import CheckpointSettings
    from krishiv_checkpoint._steps import Blocking

__all__ = ["CheckpointDriver"]

_log = logging.getLogger("krishiv_checkpoint")


class CheckpointDriver:
    """Runs the checkpoints and commits of one attempt.

    Call order: `start` once, then anything from any thread, then `close` once, from a thread of the caller's (not from
    one of the callbacks). Everything but `close` returns at once.

    Parameters
    ----------
    attempt : Attempt
        What recovery returned.
    store : CheckpointStore
        The job's.
    committers : mapping of sink id to Committer
        Every two-phase sink; calls for one of them never overlap.
    plane : DataPlane
        The running tasks.
    tasks : collection of str
        Every task that answers barriers.
    on_failure : callable
        Gets the error that ended the attempt; nothing was or will be written after it.
    on_finished : callable
        Gets ``"finished"``, ``"drained"`` or ``"stopped"``. Of the two, one is called, once, on the driver's thread.
    listeners : sequence of callables
        Get every `CheckpointEvent`, on the driver's thread.
    """

    def __init__(
        self,
        *,
        attempt: Attempt,
        store: CheckpointStore,
        committers: Mapping[str, Committer],
        plane: DataPlane,
        tasks: Collection[str],
        fingerprint: Fingerprint,
        settings: CheckpointSettings,
        on_failure: Callable[[BaseException], None],
        on_finished: Callable[[str], None],
        listeners: Sequence[Callable[[CheckpointEvent], None]] = (),
    ) -> None:
        applied = attempt.committed_through
        self._coordinator = Coordinator(
            token=attempt.token,
            tasks=tasks,
            scopes={sink: committer.commit_scope for sink, committer in committers.items()},
            highest_epoch=attempt.next_epoch - 1,
            committed_through={sink: {int(slot): e for slot, e in slots.items()} for sink, slots in applied.items()},
            settings=settings,
        )
        self._token = attempt.token
        self._steps = Steps(attempt, store, committers, fingerprint, settings.keep_checkpoints)
        self._plane = plane
        self._on_failure = on_failure
        self._on_finished = on_finished
        self._listeners = tuple(listeners)
        self._inbox: SimpleQueue[ev.Event | None] = SimpleQueue()
        self._stimuli = itertools.count(1)
        self._timers = Timers()
        self._workers = Workers(f"ks-checkpoint-{attempt.job}")
        self._answers = Answers()
        self._progress = CheckpointProgress(time.monotonic)
        self._broken = threading.Event()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ks-checkpoint-{attempt.job}", daemon=True)

    # ---------------------------------------------------------------- from any thread

    def start(self) -> None:
        """Begin: the tasks run, or are about to."""
        self._put(ev.Started(stimulus_id=self._stimulus("start")))
        self._thread.start()

    def ack(self, ack: Ack) -> None:
        """Take a task's answer to a barrier."""
        self._put(ev.AckReceived(stimulus_id=self._stimulus("ack"), ack=ack))

    def decline(self, task: str, epoch: int, error: BaseException) -> None:
        """Take a task's word that it cannot do its part of `epoch`; the epoch fails, the job goes on."""
        self._put(
            ev.DeclineReceived(
                stimulus_id=self._stimulus("decline"), task=task, epoch=epoch, token=self._token, error=error
            )
        )

    def ended(self, task: str) -> None:
        """Note that `task` handled its last row. When all have, the job finishes behind one more barrier (P7)."""
        self._put(ev.TaskEnded(stimulus_id=self._stimulus("ended"), task=task))

    def checkpoint(self) -> Future[int]:
        """Take a checkpoint now; the future gives its epoch once its manifest is durable.

        Its errors: `CheckpointFailed` if that epoch fails, `JobOver` if the job ends first.
        """
        number, future = self._answers.open()
        self._put(ev.CheckpointRequested(stimulus_id=self._stimulus("checkpoint"), request=number))
        return future

    def savepoint(self, location: str) -> Future[str]:
        """Take a savepoint; the future gives its location once it is complete (P16)."""
        number, future = self._answers.open()
        stimulus = self._stimulus("savepoint")
        self._put(ev.SavepointRequested(stimulus_id=stimulus, request=number, location=location))
        return future

    def stop(self, savepoint: str | None = None, *, drain: bool = False) -> Future[str | None]:
        """Stop behind a last barrier, with windows kept open (P7).

        Parameters
        ----------
        savepoint : str or None
            Where to put a savepoint of that last epoch; it is what the future gives.
        drain : bool
            The caller ends the sources for good: the job finishes, as drained, when all tasks have ended.
        """
        number, future = self._answers.open()
        stimulus = self._stimulus("stop")
        self._put(ev.StopRequested(stimulus_id=stimulus, request=number, savepoint=savepoint, drain=drain))
        return future

    def status(self) -> CheckpointStatus:
        """Return how the checkpoints of this attempt stand."""
        return self._progress.status()

    def close(self) -> None:
        """End every thread and wait for them. Open requests fail.

        A step under way (a `commit`, a manifest) is waited for; one that has not begun is left to the next attempt.
        """
        if not self._finished.is_set():
            self._broken.set()
        self._answers.close()
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self._workers.close()

    def _stimulus(self, cause: str) -> str:
        return f"{cause}-{next(self._stimuli)}"

    def _put(self, event: ev.Event) -> None:
        self._inbox.put(event)

    # ---------------------------------------------------------------- the driver's thread

    def _run(self) -> None:
        while (event := self._next()) is not None:
            self._handle(event)

    def _next(self) -> ev.Event | None:
        while True:
            timer = self._timers.pop_due(time.monotonic())
            if timer is not None:
                return ev.TimerFired(stimulus_id=self._stimulus(timer.kind), timer=timer)
            try:
                return self._inbox.get(timeout=self._timers.wait(time.monotonic()))
            except Empty:
                continue

    def _handle(self, event: ev.Event) -> None:
        self._progress.hear(event)
        try:
            self._carry_out(event)
        except Exception as error:  # the coordinator refused the event, or a callback raised: this cannot go on
            _log.error("the checkpoint driver broke at %s", event.stimulus_id, exc_info=error)
            self._carry_out(ev.StepFailed(stimulus_id=event.stimulus_id, error=error))

    def _carry_out(self, event: ev.Event) -> None:
        for instruction in self._coordinator.handle(event):
            self._tell(instruction)
            self._instruct(instruction)

    def _tell(self, instruction: do.Instruction) -> None:
        told = self._progress.observe(instruction)
        if told is None:
            return
        for listener in self._listeners:
            try:
                listener(told)
            except Exception:
                _log.exception("a listener of checkpoints raised")

    def _instruct(self, instruction: do.Instruction) -> None:
        match instruction:
            case do.TriggerBarrier(epoch=epoch, kind=kind):
                self._plane.trigger(epoch, kind)
            case do.NotifyCompleted(epoch=epoch):
                self._plane.completed(epoch)
            case do.NotifyCommitted(epoch=epoch):
                self._plane.committed(epoch)
            case do.NotifyFailed(error=error):
                _log.warning("%s", error)
            case do.SetTimer(timer=timer, delay=delay):
                self._timers.set(timer, time.monotonic() + delay)
            case do.CancelTimer(timer=timer):
                self._timers.cancel(timer)
            case do.CompleteRequest(request=request, result=result):
                self._answers.complete(request, result)
            case do.FailRequest(request=request, error=error):
                self._answers.fail(request, error)
            case do.FinishJob(kind=kind):
                self._finished.set()
                self._timers.clear()
                self._on_finished(kind)
            case do.FailJob(error=error):
                self._broken.set()
                self._timers.clear()
                self._on_failure(error)
            case do.WriteManifest() | do.WriteFinish():
                self._workers.submit("log", self._perform, instruction)
            case do.Commit(sink=sink):
                self._workers.submit(f"commit-{sink}", self._perform, instruction)
            case do.WriteSavepoint() | do.Retire():
                self._workers.submit("upkeep", self._perform, instruction)
            case _:
                raise TypeError(f"no such instruction: {instruction!r}")

    def _perform(self, instruction: Blocking) -> None:
        if self._broken.is_set():  # fenced, failed or closed: nothing more may be written (P9)
            return
        stimulus = self._stimulus(type(instruction).__name__)
        try:
            event = self._steps.perform(instruction, stimulus)
        except BaseException as error:
            event = ev.StepFailed(stimulus_id=stimulus, error=error)
        if event is not None:
            self._put(event)
