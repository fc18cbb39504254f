"""The embedded runtime: a job runs on threads of this process, attempt after attempt, until it ends."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import shutil
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import (
    CheckpointDriver,
    CheckpointSettings,
    JobLock,
    JobOver,
    RetryPolicy,
    begin_attempt,
    check_name,
)
from krishiv_connectors import SinkContext, TwoPhaseSink
from krishiv_guarantees import ConfigurationError, FatalError, GuaranteeError, PlanError, RetriableError, SkippableError
from krishiv_stream._engine.control import Control
from krishiv_stream._engine.errors import NewInput
from krishiv_stream._engine.execution import Execution, TaskPlane, as_krishiv_error
from krishiv_stream._engine.graph import GraphSettings, JobIdentity, build
from krishiv_stream._engine.inbox import Cancelled
from krishiv_stream._engine.metrics import JobMetrics
from krishiv_stream._engine.snapshots import SnapshotWriter
from krishiv_stream._engine.sources.assigner import new_splits
from krishiv_stream._job import JobResult, JobState, JobStatus
from krishiv_stream._plan.nodes import SinkNode, SourceNode
from krishiv_stream._settings import StateBackend

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from krishiv_checkpoint import Attempt, CheckpointStore, Committer
    from krishiv_stream._runtime.submission import Submission

__all__ = ["EmbeddedJob"]

_log = logging.getLogger("krishiv_stream")

_FINAL = (ConfigurationError, FatalError, GuaranteeError, PlanError, SkippableError)
"""Errors that come again at every attempt: the job is not restarted after them."""


@dataclass
class _Wish:
    """One wish to stop: what savepoint to take on the way, if any, and who waits to hear whether there is one."""

    savepoint: str | None
    answer: Future[None] = field(default_factory=Future[None])
    told: Future[str | None] | None = None
    """What the driver of the newest attempt says."""

    def settle(self, job: str) -> None:
        """Answer, now that the job has ended. A wish without a savepoint has come true in any case."""
        error: BaseException | None = None
        if self.savepoint is not None:
            missed = JobOver(f"job {job!r} ended without savepoint {self.savepoint!r}", hint="run it again to take it")
            error = missed if self.told is None else self.told.exception()
        if error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)


@dataclass
class _Stop:
    """How the job is to stop. The first to ask says whether sources end; whoever asks later gets the same stop.

    A drain cannot become a plain stop: windows may have closed by then, and rows read later would all be late. Nor the
    other way round.
    """

    drain: bool
    wishes: list[_Wish] = field(default_factory=list[_Wish])


class EmbeddedJob:
    """One job in this process.

    Its thread runs attempts: take the job over, recover, run tasks, and, after a failure that may pass, again.
    """

    def __init__(self, submission: Submission) -> None:
        self.future: Future[JobResult] = Future()
        self._submission = submission
        self._store = submission.store
        self._state = JobState.STARTING
        self._metrics = JobMetrics()
        self._driver: CheckpointDriver | None = None
        self._execution: Execution | None = None
        self._attempt: Attempt | None = None
        self._restarts = 0
        self._overlap: tuple[str, ...] = ()
        self._started = time.monotonic()
        self._lock = threading.RLock()
        self._stopping: _Stop | None = None
        self._over = False
        self._error = ""
        self._cancelled = threading.Event()
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"ks-job-{submission.job}", daemon=True)

    @property
    def name(self) -> str:
        """The job's name."""
        return self._submission.job

    def start(self) -> None:
        """Start the job's thread."""
        self._thread.start()

    # --- what the handle asks

    def status(self) -> JobStatus:
        """Return how the job stands."""
        counters = [(self._metrics.operators[key], key[0]) for key in list(self._metrics.operators)]
        sources = {self._submission.ids[node] for node in self._submission.nodes if isinstance(node, SourceNode)}
        sinks = {self._submission.ids[node] for node in self._submission.nodes if isinstance(node, SinkNode)}
        times = [c.watermark for c, id in counters if id in sinks and c.watermark is not None]
        status = JobStatus(
            job=self.name,
            state=self._state,
            rows_in=sum(c.rows_out for c, id in counters if id in sources),
            rows_out=sum(c.rows_in for c, id in counters if id in sinks),
            late_rows=sum(c.late_rows for c, _ in counters),
            dropped_rows=sum(c.dropped_rows for c, _ in counters),
            watermark=min(times, default=None),
            restarts=self._restarts,
            guarantee=self._submission.report.level.label,
            error=self._error,
        )
        return self._with_checkpoints(status)

    def _with_checkpoints(self, status: JobStatus) -> JobStatus:
        attempt, driver = self._attempt, self._driver
        if attempt is not None:
            status = replace(status, lineage=attempt.lineage, token=attempt.token)
        if driver is not None:
            checkpoints = driver.status()
            status = replace(
                status,
                epoch_triggered=checkpoints.triggered,
                epoch_completed=checkpoints.completed,
                epoch_committed=checkpoints.committed,
                failed_checkpoints=checkpoints.failed,
                state_bytes=checkpoints.state_bytes,
            )
        return status

    def metrics(self) -> dict[str, Any]:
        """Return the counters of every operator and task."""
        operators = {f"{id}#{subtask}": asdict(c) for (id, subtask), c in list(self._metrics.operators.items())}
        tasks = {id: {"stalls": list(counters.stalls)} for id, counters in list(self._metrics.tasks.items())}
        return {"operators": operators, "tasks": tasks}

    def checkpoint(self) -> Future[int]:
        """Take a checkpoint now."""
        return self._running_driver().checkpoint()

    def savepoint(self, location: str) -> Future[str]:
        """Take a savepoint."""
        return self._running_driver().savepoint(location)

    def stop(self, savepoint: str | None, *, drain: bool) -> Future[None]:
        """Begin to stop; before the tasks run, it happens as soon as they do."""
        if savepoint is not None and not os.path.isabs(savepoint):
            check_name("savepoint", savepoint)
        wish = _Wish(savepoint)
        with self._lock:
            if self._stopping is None:
                self._stopping = _Stop(drain)
            self._stopping.wishes.append(wish)
            if self._over:
                wish.settle(self.name)
            elif self._driver is not None and self._execution is not None:
                self._begin_stop(self._driver, self._execution, self._stopping.drain, [wish])
        return wish.answer

    def cancel(self) -> None:
        """End at once."""
        self._cancelled.set()
        with self._lock:
            if self._execution is not None:
                self._execution.finish("cancelled")

    def _running_driver(self) -> CheckpointDriver:
        """Return the driver once the tasks run; blocks while the job starts or restarts."""
        self._settled.wait()
        if self._driver is None or self._state is not JobState.RUNNING:
            raise JobOver(f"job {self.name!r} is {self._state}", hint="run it again, and ask while it is running")
        return self._driver

    def _begin_stop(self, driver: CheckpointDriver, execution: Execution, drain: bool, wishes: Sequence[_Wish]) -> None:
        self._state = JobState.STOPPING
        for wish in wishes:
            wish.told = driver.stop(wish.savepoint, drain=drain)
        if drain:
            execution.drain()

    # --- the job's thread

    def _main(self) -> None:
        try:
            with _locked(self._submission) as alone:
                if alone:
                    _clear_work(self._submission)
                result = self._attempts()
        except BaseException as error:
            self._error = str(error)
            self._state = JobState.FAILED
            self.future.set_exception(error)
        else:
            self._state = result.state
            self.future.set_result(result)
        finally:
            self._settled.set()
            self._settle_wishes()

    def _settle_wishes(self) -> None:
        with self._lock:
            self._over = True
            for wish in self._stopping.wishes if self._stopping is not None else ():
                wish.settle(self.name)

    def _attempts(self) -> JobResult:
        submission = self._submission
        while True:
            try:
                return self._run_attempt(submission)
            except Cancelled:
                return self._result("cancelled")
            except Exception as error:
                if not self._may_restart(error):
                    raise
                backoff = self._note_restart(error)
            if self._cancelled.wait(backoff):
                return self._result("cancelled")
            if self._attempt is not None:  # what it was told is in the log by now, and must not be done twice
                submission = replace(submission, restore="latest", on_sink_ahead="refuse", state_map={}, drop_state=())

    def _may_restart(self, error: Exception) -> bool:
        return not isinstance(error, _FINAL) and self._restarts < self._submission.settings.restart_attempts

    def _note_restart(self, error: Exception) -> float:
        """Note that the job begins again because of `error`; returns the seconds to wait before."""
        self._error = str(error)
        self._restarts += 1
        self._settled.clear()
        self._state = JobState.RESTARTING
        _log.warning("job %s failed, restart %d: %s", self.name, self._restarts, error)
        backoff: float = self._submission.settings.restart_backoff * 2 ** (self._restarts - 1)
        return max(backoff, float(error.after)) if isinstance(error, RetriableError) else backoff

    def _pause(self, seconds: float) -> None:
        """Wait in recovery, where a sink is in trouble; a job that is cancelled does not wait for it any longer."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def _run_attempt(self, submission: Submission) -> JobResult:
        with contextlib.ExitStack() as stack:

            def open_committers(lineage: str, token: int) -> Mapping[str, Committer]:
                committers: dict[str, TwoPhaseSink] = {}
                for node in submission.sinks():
                    if isinstance(node.sink, TwoPhaseSink):
                        id = submission.ids[node]
                        committers[id] = _open_committer(submission, node, id, lineage, token, self._store)
                        stack.callback(committers[id].close)
                return committers

            attempt = begin_attempt(
                self._store,
                job=submission.job,
                fingerprint=submission.fingerprint,
                open_committers=open_committers,
                restore=submission.restore,
                on_sink_ahead=submission.on_sink_ahead,
                state_map=submission.state_map,
                drop_state=submission.drop_state,
                retry=RetryPolicy(sleep=self._pause),
            )
            self._attempt = attempt
            self._tell_overlap(attempt.overlap)
            if attempt.finished is not None:
                _refuse_new_input(submission, attempt)
                return self._result("finished")
            return self._run_tasks(submission, attempt)

    def _tell_overlap(self, overlap: tuple[str, ...]) -> None:
        """Say what will be in the sinks twice, by the user's leave (P15)."""
        self._overlap += overlap
        for each in overlap:
            _log.warning("job %s: written again, as on_sink_ahead='duplicate' allows: %s", self.name, each)

    def _run_tasks(self, submission: Submission, attempt: Attempt) -> JobResult:
        execution = self._prepare(submission, attempt)
        try:
            execution.start()
            with self._lock:
                self._execution = execution
                self._state = JobState.RUNNING
                self._settled.set()
                self._stop_from_the_start(execution)
            if self._cancelled.is_set():
                execution.finish("cancelled")
            execution.wait()
        finally:
            with self._lock:
                self._execution = None
            execution.tear_down()
        if execution.error is not None:
            raise execution.error
        return self._result(execution.outcome or "stopped")

    def _stop_from_the_start(self, execution: Execution) -> None:
        """Stop at once if that was asked for before the tasks ran, or if they go on with what a drain had begun."""
        if execution.draining and self._stopping is None:
            self._stopping = _Stop(drain=True, wishes=[_Wish(None)])
        if self._stopping is not None and self._driver is not None:
            self._begin_stop(self._driver, execution, self._stopping.drain, self._stopping.wishes)

    def _prepare(self, submission: Submission, attempt: Attempt) -> Execution:
        self._metrics = JobMetrics()
        plane = TaskPlane()
        writer = SnapshotWriter(self._store, attempt.token)
        holder: list[Execution] = []
        control = Control(
            attempt.token,
            on_failure=lambda task, error: holder[0].fail(as_krishiv_error(task, error)),
            on_ended=lambda task: driver.ended(task),
        )
        graph = build(
            submission.nodes,
            submission.ids,
            submission.columns,
            settings=_graph_settings(submission, attempt.token),
            identity=JobIdentity(
                job=attempt.job,
                lineage=attempt.lineage,
                token=attempt.token,
                committed_through=attempt.committed_through,
            ),
            snapshots=attempt.operators,
            store=self._store,
            control=control,
            writer=writer,
            metrics=self._metrics,
        )
        driver = CheckpointDriver(
            attempt=attempt,
            store=self._store,
            committers=attempt.committers,
            plane=plane,
            tasks=graph.ids,
            fingerprint=submission.fingerprint,
            settings=_checkpoint_settings(submission),
            on_failure=lambda error: holder[0].fail(error),
            on_finished=lambda outcome: holder[0].finish(outcome),
            listeners=submission.listeners,
        )
        writer.attach(driver)
        plane.control, plane.graph = control, graph
        execution = Execution(graph, control, driver, writer)
        holder.append(execution)
        self._driver = driver
        return execution

    def _result(self, outcome: str) -> JobResult:
        states = {"finished": JobState.FINISHED, "drained": JobState.FINISHED, "cancelled": JobState.CANCELLED}
        self._state = states.get(outcome, JobState.STOPPED)
        return JobResult(
            job=self.name,
            state=self._state,
            status=self.status(),
            seconds=time.monotonic() - self._started,
            guarantee=self._submission.report,
            details={"overlap": list(self._overlap)} if self._overlap else {},
        )


@contextlib.contextmanager
def _locked(submission: Submission) -> Generator[bool]:
    """Hold the job's lock; gives whether no other process can be at work in the job's directory."""
    if submission.directory is None:
        yield True
        return
    with JobLock(submission.directory, take_over=submission.take_over) as lock:
        yield lock.held


def _work(directory: Path) -> Path:
    """Return where the attempts of a job keep what no later one needs."""
    return directory / "work"


def _clear_work(submission: Submission) -> None:
    if submission.directory is not None:
        shutil.rmtree(_work(submission.directory), ignore_errors=True)


def _refuse_new_input(submission: Submission, attempt: Attempt) -> None:
    """Raise `NewInput` if a source of a finished job has splits that the job did not know (P7)."""
    for node in submission.nodes:
        if not isinstance(node, SourceNode):
            continue
        id, new = submission.ids[node], list[str]()
        with contextlib.suppress(ConfigurationError):  # input that was removed since is not new
            new = new_splits(node.source, [s for s in attempt.operators if s.operator == id])
        if new:
            more = f" and {len(new) - 1} more" if len(new) > 1 else ""
            raise NewInput(
                f"job {submission.job!r} has finished, and source {id!r} has input that it did not know: "
                f"{new[0]!r}{more}",
                hint="give the new input a job of its own; read what keeps coming with follow=True from the start; or "
                'read everything again with restore="none" and another output',
                source=id,
                splits=new,
            )


def _open_committer(
    submission: Submission, node: SinkNode, id: str, lineage: str, token: int, store: CheckpointStore
) -> TwoPhaseSink:
    committer = copy.copy(node.sink)
    if not isinstance(committer, TwoPhaseSink):
        raise TypeError(f"{type(committer).__name__} is no two-phase sink")
    committer.open(
        SinkContext(
            job=submission.job,
            lineage=lineage,
            sink_id=id,
            slot=None,
            token=token,
            schema=node.schema,
            store=store,
        )
    )
    return committer


def _checkpoint_settings(submission: Submission) -> CheckpointSettings:
    settings = submission.settings
    return CheckpointSettings(
        checkpoint_interval=settings.checkpoint_interval,
        checkpoint_timeout=settings.checkpoint_timeout,
        min_pause=settings.min_pause,
        tolerable_failed_checkpoints=settings.tolerable_failed_checkpoints,
        max_pending_epochs=settings.max_pending_epochs,
        keep_checkpoints=settings.keep_checkpoints,
    )


def _graph_settings(submission: Submission, token: int) -> GraphSettings:
    settings, directory = submission.settings, submission.directory
    rocksdb = settings.state_backend is StateBackend.ROCKSDB
    return GraphSettings(
        parallelism=settings.parallelism,
        max_key_groups=settings.max_key_groups,
        batch_rows=settings.batch_rows,
        linger=settings.linger,
        memory_budget=settings.memory_budget,
        # Each attempt has its own: one that was taken over from may still be alive.
        state_directory=_work(directory) / str(token) if rocksdb and directory is not None else None,
    )
