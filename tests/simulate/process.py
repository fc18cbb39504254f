"""One simulated process: recovery, tasks, and a driver that a crash can end between any two of its lines."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from krishiv_checkpoint import (
    Ack,
    Attempt,
    CheckpointSettings,
    Fingerprint,
    OperatorIdentity,
    RetryPolicy,
    begin_attempt,
)
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._coordinator import Coordinator
from krishiv_checkpoint._steps import Blocking, Steps
from tests.simulate.kernel import Fiber, Group, Kernel
from tests.simulate.sinks import FileSink, Identity, TableSink
from tests.simulate.store import Faults, SimulatedStore
from tests.simulate.tasks import (
    KEY_GROUPS,
    Barrier,
    CountTask,
    Element,
    Input,
    SnapshotJob,
    SourceTask,
    Split,
    owner_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.simulate.outside import Outside

__all__ = ["Process", "Start"]

S = TypeVar("S", FileSink, TableSink)

FINGERPRINT = Fingerprint(
    (
        OperatorIdentity("in", "source", True, "positions"),
        OperatorIdentity("count", "count", True, "key: string, count: int64", ("in",)),
        OperatorIdentity("files", "sink", True, "", ("count",)),
        OperatorIdentity("table", "sink", True, "", ("count",)),
    ),
    KEY_GROUPS,
)


@dataclass(frozen=True)
class Start:
    """How a process is started."""

    number: int
    parallelism: int
    settings: CheckpointSettings
    job: str = "job"
    restore: str = "latest"
    on_sink_ahead: str = "refuse"


class Process:
    """One life of the job.

    Parameters
    ----------
    clock : callable
        The world's time, in steps.
    """

    def __init__(
        self,
        kernel: Kernel,
        outside: Outside,
        faults: Faults,
        splits: Sequence[Split],
        start: Start,
        clock: Callable[[], int],
    ) -> None:
        self.kernel = kernel
        self.start = start
        self.group = Group(f"p{start.number}")
        self.store = SimulatedStore(kernel, outside.blobs, faults)
        self.outcome: str | None = None
        self.error: BaseException | None = None
        self.attempt: Attempt | None = None
        self.answers: dict[int, int | str | BaseException | None] = {}
        self.network: list[Ack | ev.DeclineReceived] = []
        self.timers: dict[ev.Timer, float] = {}
        self.barriers_go = True
        self.loses: Callable[[Ack | ev.DeclineReceived], bool] = lambda message: False
        self._outside = outside
        self._faults = faults
        self._splits = splits
        self._clock = clock
        self._inbox: deque[ev.Event] = deque()
        self._lines: deque[do.Instruction] = deque()
        self._workers: dict[str, deque[Callable[[], None]]] = {}
        self._working: set[str] = set()
        self._stimuli = 0
        self._said_ended: set[str] = set()
        self.sources: list[SourceTask] = []
        self.counts: list[CountTask] = []
        self.coordinator: Coordinator | None = None
        self._spawn("boot", self._boot)

    @property
    def over(self) -> bool:
        return self.group.dead or self.outcome is not None or self.error is not None

    @property
    def running(self) -> bool:
        return self.coordinator is not None and not self.over

    # ---------------------------------------------------------------- recovery

    def _boot(self) -> None:
        start = self.start
        attempt = begin_attempt(
            self.store,
            job=start.job,
            fingerprint=FINGERPRINT,
            open_committers=self._open_committers,
            writer=self.group.name,
            restore=start.restore,
            on_sink_ahead=start.on_sink_ahead,  # type: ignore[arg-type]  # one of three words
            retry=RetryPolicy(sleep=lambda seconds: self.kernel.point("sleeps"), clock=lambda: 0.0),
            now=lambda: "2026-01-01T00:00:00.000+00:00",
        )
        self.attempt = attempt
        if attempt.finished is not None:
            self.outcome = "finished"
            return
        self._restore(attempt)
        applied = attempt.committed_through
        self.coordinator = Coordinator(
            token=attempt.token,
            tasks=[task.name for task in (*self.sources, *self.counts)],
            scopes={sink: committer.commit_scope for sink, committer in attempt.committers.items()},
            highest_epoch=attempt.next_epoch - 1,
            committed_through={sink: {int(slot): e for slot, e in slots.items()} for sink, slots in applied.items()},
            settings=start.settings,
        )
        self._steps = Steps(attempt, self.store, attempt.committers, FINGERPRINT, start.settings.keep_checkpoints)
        self.put(ev.Started)

    def _open_committers(self, lineage: str, token: int) -> dict[str, FileSink | TableSink]:
        return {"files": self._sink(FileSink, lineage, token), "table": self._sink(TableSink, lineage, token)}

    def _sink(self, kind: type[S], lineage: str, token: int) -> S:
        who = Identity(self.start.job, lineage, token)
        return kind(self.kernel, self._outside, self.store, self._faults, who)

    def _restore(self, attempt: Attempt) -> None:
        n, token, lineage = self.start.parallelism, attempt.token, attempt.lineage
        positions: dict[str, int] = {}
        for snapshot in attempt.operators:
            if snapshot.operator == "in":
                positions.update(snapshot.inline["positions"])
        self.sources = [SourceTask(i, n, self._splits, positions) for i in range(n)]
        for slot in range(n):
            previous = {sink: slots.get(str(slot), 0) for sink, slots in attempt.committed_through.items()}
            files, table = self._sink(FileSink, lineage, token), self._sink(TableSink, lineage, token)
            count = CountTask(slot, n, token, files, table, previous)
            count.restore(self.store, [s for s in attempt.operators if s.operator == "count"])
            self.counts.append(count)

    # ---------------------------------------------------------------- what can move

    def moves(self, *, reads: bool = True) -> list[Callable[[], None]]:
        """Return everything that one turn of this process could be; without `reads`, sources only pass barriers."""
        if self.over or self.group.stopped or self.coordinator is None:
            return []
        if self._lines:
            driver = [self._next_line]
        else:
            driver = [self._next_event] if self._inbox else []
        return [
            *driver,
            *(partial(self._pass_barrier, source) for source in self.sources if source.barriers and self.barriers_go),
            *(partial(self._read, source) for source in self.sources if source.can_read and reads),
            *(partial(self._step_count, count, i) for count in self.counts for i in count.movable()),
            *(partial(self._deliver, i) for i in range(len(self.network))),
        ]

    def _note(self, what: str) -> None:
        self.kernel.trace.append(f"{self.group.name}: {what}")

    def _fail(self, error: BaseException) -> None:
        if not self.over:
            self._note(f"fails: {type(error).__name__}")
            self.error = error
            self._lines.clear()

    def _spawn(self, name: str, work: Callable[[], None]) -> Fiber:
        def guarded() -> None:
            try:
                work()
            except Exception as error:
                self._fail(error)

        return self.kernel.spawn(self.group, name, guarded)

    # ---------------------------------------------------------------- tasks

    def _read(self, source: SourceTask) -> None:
        for element in source.read(self._clock(), self.kernel.random.choice):
            if isinstance(element, Input):
                self._note(f"{source.name} reads {element.id}")
                self._channel(source, owner_of(element.key, len(self.counts))).append(element)
            else:
                self._broadcast(source, element)
        self._say_ended(source.name, ended=source.ended)

    def _pass_barrier(self, source: SourceTask) -> None:
        barrier, snapshot = source.pass_barrier()
        self._note(f"{source.name} passes barrier {barrier.epoch}")
        self._broadcast(source, barrier)
        self._submit(snapshot)

    def _broadcast(self, source: SourceTask, element: Element) -> None:
        for number in range(len(self.counts)):
            self._channel(source, number).append(element)

    def _channel(self, source: SourceTask, count: int) -> deque[Element]:
        return self.counts[count].inputs[self.sources.index(source)].elements

    def _step_count(self, count: CountTask, number: int) -> None:
        barrier = count.step(number)
        self._say_ended(count.name, ended=count.ended)
        if barrier is not None:
            count.busy = True
            self._spawn(f"{count.name}-{barrier.epoch}", partial(self._prepare, count, barrier))

    def _prepare(self, count: CountTask, barrier: Barrier) -> None:
        self._submit(count.prepare(barrier))
        count.busy = False

    def _say_ended(self, task: str, *, ended: bool) -> None:
        if ended and task not in self._said_ended:
            self._said_ended.add(task)
            self.put(ev.TaskEnded, task=task)

    def _submit(self, snapshot: SnapshotJob) -> None:
        self._work("snapshots", partial(self._write_snapshot, snapshot))

    def _write_snapshot(self, job: SnapshotJob) -> None:
        assert self.attempt is not None
        token = self.attempt.token
        try:
            snapshot = job.write(self.store)
        except Exception as error:
            declined = ev.DeclineReceived(stimulus_id="", task=job.task, epoch=job.epoch, token=token, error=error)
            self.network.append(declined)
        else:
            self.network.append(Ack(job.task, job.epoch, token, (snapshot,), job.committables))

    def _deliver(self, index: int) -> None:
        """Let an answer arrive; sometimes it is lost, sometimes it arrives again later."""
        message, chance = self.network.pop(index), self.kernel.random.random()
        if chance < self._faults.unreachable or self.loses(message):
            self._note("an ack is lost")
            return
        if chance > 1 - self._faults.reply_lost:
            self.network.append(message)
        self.arrive(message)

    def arrive(self, message: Ack | ev.DeclineReceived) -> None:
        """Take an answer of a task, perhaps of another process's."""
        if isinstance(message, Ack):
            self.put(ev.AckReceived, ack=message)
        else:
            fields = {"task": message.task, "epoch": message.epoch, "token": message.token, "error": message.error}
            self.put(ev.DeclineReceived, **fields)

    # ---------------------------------------------------------------- the driver, line by line

    def put(self, kind: type[ev.Event], **fields: object) -> None:
        """Queue an event."""
        self._stimuli += 1
        self._inbox.append(kind(stimulus_id=f"{self.group.name}-{self._stimuli}", **fields))

    def request(self, kind: type[ev.Request], **fields: object) -> int:
        """Ask the coordinator for something; the answer will be in `answers`."""
        self.put(kind, request=self._stimuli + 1, **fields)
        return self._stimuli

    def fire(self, timer: ev.Timer) -> None:
        """Let a timer run out."""
        del self.timers[timer]
        self.put(ev.TimerFired, timer=timer)

    def _next_event(self) -> None:
        assert self.coordinator is not None
        event = self._inbox.popleft()
        self._note(f"handles {type(event).__name__}")
        try:
            self._lines.extend(self.coordinator.handle(event))
        except Exception as error:
            self._fail(error)

    def _next_line(self) -> None:
        self.kernel.line(self.group, _brief(self._lines[0]))
        if self.group.dead or self.group.stopped:
            return
        instruction = self._lines.popleft()
        match instruction:
            case do.TriggerBarrier(epoch=epoch, kind=kind):
                for source in self.sources:
                    source.barriers.append(Barrier(epoch, kind))
            case do.NotifyCompleted(epoch=epoch):
                for count in self.counts:
                    count.completed(epoch)
            case do.NotifyFailed(epoch=epoch):
                self.epoch_failed(epoch)
            case do.SetTimer(timer=timer, delay=delay):
                self.timers[timer] = self._clock() + 100 * delay
            case do.CancelTimer(timer=timer):
                self.timers.pop(timer, None)
            case do.CompleteRequest(request=request, result=result):
                self.answers[request] = result
            case do.FailRequest(request=request, error=error):
                self.answers[request] = error
            case do.WriteManifest() | do.WriteFinish():
                self._work("log", partial(self._perform, instruction))
            case do.Commit(sink=sink):
                self._work(f"commit-{sink}", partial(self._perform, instruction))
            case do.WriteSavepoint() | do.Retire():
                self._work("upkeep", partial(self._perform, instruction))
            case do.FinishJob(kind=kind):
                self.outcome = kind
            case do.FailJob(error=error):
                self._fail(error)
            case _:
                pass

    def epoch_failed(self, epoch: int) -> None:
        """The tasks keep what they prepared (P4)."""

    def _work(self, worker: str, work: Callable[[], None]) -> None:
        queue = self._workers.setdefault(worker, deque())
        queue.append(work)
        if worker not in self._working:
            self._working.add(worker)
            self._spawn(worker, partial(self._drain, worker))

    def _drain(self, worker: str) -> None:
        queue = self._workers[worker]
        while queue and not self.error:
            queue.popleft()()
            self.kernel.point("has done its work")
        self._working.discard(worker)

    def _perform(self, instruction: Blocking) -> None:
        self._stimuli += 1
        event = self._steps.perform(instruction, f"{self.group.name}-{self._stimuli}")
        if event is not None:
            self._inbox.append(event)


def _brief(instruction: do.Instruction) -> str:
    shown = {
        name: value
        for name, value in vars(instruction).items()
        if name in ("epoch", "kind", "sink", "slot", "timer", "tries", "request")
    }
    return f"{type(instruction).__name__} {shown}"
