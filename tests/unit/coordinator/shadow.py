"""A shadow oracle around a coordinator: tasks, a log and two sinks as simple as can be, which check every instruction.

Each slot's rows are numbered; a committable is the range of them that one epoch wrote. A sink refuses a range that does
not begin where the last one ended, so a row lost or doubled shows at once. Nothing here shares code with the product.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

from krishiv_checkpoint import (
    Ack,
    BarrierKind,
    CheckpointSettings,
    CommitFailed,
    CommitOutcome,
    CommitScope,
    Committable,
    Fenced,
    OperatorSnapshot,
    StoreFull,
)
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._coordinator import Coordinator

SCOPES = {"files": CommitScope.EPOCH, "table": CommitScope.SLOT}
SLOTS = {"left": 0, "right": 1}
TASKS = ("source", *SLOTS)
SETTINGS = CheckpointSettings(tolerable_failed_checkpoints=10**6, max_pending_epochs=2, min_pause=1.0)


@dataclass
class Task:
    """One task: writes rows, passes barriers in order, carries what it does not know to be in a manifest."""

    name: str
    written: int = 0
    prepared: int = 0
    previous: int = 0
    ended: bool = False
    sealed: bool = False
    barriers: deque[tuple[int, BarrierKind]] = field(default_factory=deque)
    carried: list[Committable] = field(default_factory=list)

    def write(self, rows: int) -> None:
        if not (self.ended or self.sealed):
            self.written += rows

    def pass_barrier(self, token: int) -> Ack:
        epoch, kind = self.barriers.popleft()
        self.sealed |= kind in (BarrierKind.STOP, BarrierKind.FINISH)
        if self.name in SLOTS:
            payload = f"{self.prepared}-{self.written}".encode()
            for sink in SCOPES:
                self.carried.append(Committable(sink, SLOTS[self.name], epoch, token, self.previous, payload))
            self.prepared, self.previous = self.written, epoch
        snapshot = OperatorSnapshot(self.name, 0, inline={"written": self.written})
        return Ack(self.name, epoch, token, (snapshot,), tuple(self.carried))

    def completed(self, epoch: int) -> None:
        self.carried = [c for c in self.carried if c.epoch > epoch]


class Target:
    """What the sinks' rows became, by (sink, slot), with each slot's newest epoch; survives every crash."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], int] = {}
        self.newest: dict[tuple[str, int], int] = {}

    def apply(self, committables: tuple[Committable, ...]) -> bool:
        """Apply one call of `commit`, whole or not at all; False if it was applied before."""
        if all(self.has(c) for c in committables):
            return False
        for c in committables:
            place = (c.sink, c.slot)
            first, end = map(int, c.payload.split(b"-"))
            assert c.previous == self.newest.get(place, 0), f"{c} follows {self.newest.get(place, 0)}"
            assert first == self.rows.get(place, 0), f"{c} begins at row {first}, not at {self.rows.get(place, 0)}"
            self.rows[place], self.newest[place] = end, c.epoch
        return True

    def has(self, c: Committable) -> bool:
        return self.newest.get((c.sink, c.slot), 0) >= c.epoch


class World:
    """The log and the targets, and one attempt after another."""

    def __init__(self) -> None:
        self.target = Target()
        self.log: list[do.WriteManifest] = []
        self.finished: str | None = None
        self.token = 0
        self.highest_ever = 0
        self.old_acks: list[Ack] = []
        self.zombie_commits: list[do.Commit] = []
        self.recover()

    # ---------------------------------------------------------------- attempts

    def recover(self) -> None:
        """Begin an attempt as the rules say: commit what the newest manifest lists, restore, run."""
        self.token += 1
        tip = self.log[-1] if self.log else None
        committed: dict[str, dict[int, int]] = {}
        if tip is not None:
            committed = {sink: dict(slots) for sink, slots in tip.committed_through.items()}
            self._check_sinks_fit(tip)
            for c in tip.pending:
                group = tuple(o for o in tip.pending if (o.sink, o.epoch) == (c.sink, c.epoch))
                self.target.apply(group if SCOPES[c.sink] is CommitScope.EPOCH else (c,))
                committed.setdefault(c.sink, {})[c.slot] = c.epoch
        highest = max([tip.highest_epoch if tip else 0, *self.target.newest.values()])
        positions = {s.operator: s.inline["written"] for s in tip.operators} if tip else {}
        self.tasks = {name: Task(name, *[positions.get(name, 0)] * 2) for name in TASKS}
        for name, slot in SLOTS.items():
            self.tasks[name].previous = committed.get("files", {}).get(slot, 0)
            for sink in SCOPES:
                assert self.target.rows.get((sink, slot), 0) == positions.get(name, 0)
        self.network: list[Ack | ev.DeclineReceived] = []
        self.timers: dict[ev.Timer, float] = {}
        self.writing: do.WriteManifest | None = None
        self.writing_finish: do.WriteFinish | None = None
        self.commits: list[do.Commit] = []
        self.savepoints: list[do.WriteSavepoint] = []
        self.flying: int | None = None
        self.completed: list[int] = []
        self.committed: list[int] = []
        self.highest = highest
        self.open_requests: set[int] = set()
        self.over: str | None = None
        self.coordinator = Coordinator(
            token=self.token,
            tasks=TASKS,
            scopes=SCOPES,
            highest_epoch=highest,
            committed_through=committed,
            settings=SETTINGS,
        )
        self._stimuli = 0
        self.send(ev.Started)

    def _check_sinks_fit(self, tip: do.WriteManifest) -> None:
        for sink, slots in tip.committed_through.items():
            for slot, epoch in slots.items():
                newest = self.target.newest.get((sink, slot), 0)
                prepared = [c.epoch for c in tip.pending if (c.sink, c.slot) == (sink, slot)]
                assert epoch <= newest <= max([epoch, *prepared])

    def crash(self, landed: int = 0) -> None:
        """The process is gone. The bits of `landed` say which of the calls it had under way took effect before.

        The others may still arrive at their sinks later; at the log they would be fenced.
        """
        for number, commit in enumerate(self.commits, 1):
            if landed >> number & 1:
                self.target.apply(commit.committables)
        if self.writing is not None and landed & 1 and self.log[-1:] != [self.writing]:
            self.log.append(self.writing)
        self.zombie_commits.extend(self.commits)
        self.old_acks.extend(m for m in self.network if isinstance(m, Ack))
        self.recover()

    # ---------------------------------------------------------------- events in, instructions out

    def send(self, kind: type[ev.Event], **fields: object) -> None:
        self._stimuli += 1
        for instruction in self.coordinator.handle(kind(stimulus_id=f"s{self._stimuli}", **fields)):
            self._check(instruction)

    def request(self, kind: type[ev.Request], **fields: object) -> None:
        number = self._stimuli + 1
        self.open_requests.add(number)
        self.send(kind, request=number, **fields)

    def _check(self, instruction: do.Instruction) -> None:
        if not isinstance(instruction, do.FailRequest | do.CompleteRequest):
            assert self.over is None, f"{instruction} after the end"
        match instruction:
            case do.TriggerBarrier(epoch=epoch, kind=kind):
                self._trigger(epoch, kind)
            case do.WriteManifest():
                self._begin_manifest(instruction)
            case do.NotifyCompleted(epoch=epoch):
                assert self.log[-1].epoch == epoch
                self.flying = None
                self.completed.append(epoch)
                for task in self.tasks.values():
                    task.completed(epoch)
            case do.NotifyFailed(epoch=epoch):
                assert self.flying == epoch
                self.flying = None
            case do.Commit():
                self._begin_commit(instruction)
            case do.NotifyCommitted(epoch=epoch):
                self._note_committed(epoch)
            case do.WriteSavepoint(epoch=epoch):
                assert epoch in self.committed
                self.savepoints.append(instruction)
            case do.Retire():
                assert not self.savepoints
            case do.SetTimer(timer=timer, delay=delay):
                self.timers[timer] = delay
            case do.CancelTimer(timer=timer):
                self.timers.pop(timer, None)
            case do.CompleteRequest(request=request) | do.FailRequest(request=request):
                assert request in self.open_requests, f"request {request} is answered twice"
                self.open_requests.remove(request)
            case do.WriteFinish():
                assert self.writing_finish is None
                self._check_all_applied()
                self.writing_finish = instruction
            case do.FinishJob(kind=kind):
                self._check_all_applied()
                self.over = kind
                self.finished = kind
            case do.FailJob(error=error):
                assert isinstance(error, Fenced | CommitFailed), error
                self.over = "failed"

    def _trigger(self, epoch: int, kind: BarrierKind) -> None:
        assert self.flying is None, "two barriers in flight"
        assert epoch == self.highest + 1
        assert len(self.completed) - len(self.committed) < SETTINGS.max_pending_epochs
        if kind is BarrierKind.FINISH:
            assert all(task.ended for task in self.tasks.values())
        self.flying = self.highest = epoch
        self.highest_ever = max(self.highest_ever, epoch)
        for task in self.tasks.values():
            task.barriers.append((epoch, kind))

    def _begin_manifest(self, manifest: do.WriteManifest) -> None:
        """The commit point: what it lists, on top of what is applied, has to be exactly the rows it remembers."""
        assert self.writing is None
        assert manifest.epoch == self.flying
        self.writing = manifest
        positions = {s.operator: s.inline["written"] for s in manifest.operators}
        assert positions.keys() == set(TASKS)
        for sink in SCOPES:
            for name, slot in SLOTS.items():
                through = manifest.committed_through.get(sink, {}).get(slot, 0)
                assert through <= self.target.newest.get((sink, slot), 0)
                listed = [c for c in manifest.pending if (c.sink, c.slot) == (sink, slot)]
                assert [c.epoch for c in listed] == sorted({c.epoch for c in listed})
                ranges = [tuple(map(int, c.payload.split(b"-"))) for c in listed]
                assert all(end == first for (_, end), (first, _) in pairwise(ranges))
                assert ranges[-1][1] == positions[name], "rows that the manifest remembers are not in it"

    def _begin_commit(self, commit: do.Commit) -> None:
        lanes = [(c.sink, c.slot) for c in self.commits]
        assert (commit.sink, commit.slot) not in lanes, "two commits in one lane"
        listed = {(c.sink, c.slot, c.epoch) for manifest in self.log for c in manifest.pending}
        for c in commit.committables:
            assert (c.sink, c.slot, c.epoch) in listed, "a commit before its commit point"
            assert c.previous <= self.target.newest.get((c.sink, c.slot), 0), "a commit before the one before it"
        self.commits.append(commit)

    def _note_committed(self, epoch: int) -> None:
        assert epoch == self.completed[len(self.committed)]
        self.committed.append(epoch)
        (manifest,) = [m for m in self.log if m.epoch == epoch][-1:]
        assert all(self.target.has(c) for c in manifest.pending)

    def _check_all_applied(self) -> None:
        assert all(self.target.has(c) for c in self.log[-1].pending)
        assert not self.commits

    # ---------------------------------------------------------------- what the world does with instructions

    def fire(self, timer: ev.Timer) -> None:
        del self.timers[timer]
        self.send(ev.TimerFired, timer=timer)

    def answer_manifest(self, how: str) -> None:
        """``written``, ``full``, ``reply lost`` (it is in the log), ``unreachable`` (it is not), ``fenced``."""
        manifest, self.writing = self.writing, None
        assert manifest is not None
        present = manifest.tries > 0 and self.log and self.log[-1].epoch == manifest.epoch
        if how in ("written", "reply lost") and not present:
            self.log.append(manifest)
        if how == "fenced":
            self.send(ev.StepFailed, error=Fenced("a newer attempt"))
        elif how == "full" and not present:
            self.send(ev.ManifestFailed, epoch=manifest.epoch, error=StoreFull("full"))
        elif how == "written" or (how == "full" and present):
            self.send(ev.ManifestWritten, epoch=manifest.epoch)
        else:
            self.send(ev.ManifestUnknown, epoch=manifest.epoch, error=OSError("connection reset"))

    def answer_finish(self, how: str) -> None:
        self.writing_finish = None
        if how == "written":
            self.send(ev.FinishWritten)
        else:
            self.send(ev.FinishFailed, error=OSError("connection reset"))

    def answer_commit(self, commit: do.Commit, how: str) -> None:
        """``done``, ``busy``, ``reply lost`` (applied), ``unreachable`` (not applied), ``late retry`` (applied)."""
        self.commits.remove(commit)
        where = {"sink": commit.sink, "slot": commit.slot, "epoch": commit.epoch}
        applied = commit.tries > 0 and all(self.target.has(c) for c in commit.committables)
        if applied:
            self.send(ev.CommitEnded, **where, outcome=CommitOutcome.already_done())
            return
        if how in ("done", "reply lost", "late retry"):
            assert self.target.apply(commit.committables), "applied twice"
        if how == "done":
            self.send(ev.CommitEnded, **where, outcome=CommitOutcome.done())
        elif how in ("busy", "late retry"):
            self.send(ev.CommitEnded, **where, outcome=CommitOutcome.retry(how))
        else:
            self.send(ev.CommitRaised, **where, error=OSError(how))

    def zombie_commit(self, commit: do.Commit) -> None:
        """A call of a dead attempt arrives at its sink: what it applies, recovery applied before it."""
        self.zombie_commits.remove(commit)
        assert not self.target.apply(commit.committables)

    def answer_savepoint(self, savepoint: do.WriteSavepoint, *, well: bool) -> None:
        self.savepoints.remove(savepoint)
        if well:
            self.send(ev.SavepointWritten, request=savepoint.request, location=savepoint.location)
        else:
            self.send(ev.SavepointFailed, request=savepoint.request, error=OSError("full"))

    def step(self, *, slow_sinks: bool = False) -> bool:
        """Let one thing that is under way go well; False if nothing is. Slow sinks do not answer."""
        waiting = [task for task in self.tasks.values() if task.barriers]
        if self.writing is not None:
            self.answer_manifest("written")
        elif self.writing_finish is not None:
            self.answer_finish("written")
        elif self.commits and not slow_sinks:
            self.answer_commit(self.commits[0], "done")
        elif self.savepoints:
            self.answer_savepoint(self.savepoints[0], well=True)
        elif self.network:
            self.deliver(0)
        elif waiting:
            self.network.append(waiting[0].pass_barrier(self.token))
        else:
            return False
        return True

    def wait(self) -> None:
        """Let the shortest timer run out."""
        if self.timers:
            self.fire(min(self.timers, key=lambda timer: (self.timers[timer], timer.kind)))

    def settle(self) -> None:
        """Let everything go well until the job is over."""
        while self.over is None:
            if self.step():
                continue
            if unfinished := [task for task in self.tasks.values() if not task.ended]:
                self.end(unfinished[0])
            else:
                self.wait()

    def deliver(self, index: int, *, keep: bool = False) -> None:
        message = self.network[index] if keep else self.network.pop(index)
        if isinstance(message, Ack):
            self.old_acks.append(message)
            self.send(ev.AckReceived, ack=message)
        else:
            self.send(
                ev.DeclineReceived, task=message.task, epoch=message.epoch, token=message.token, error=message.error
            )

    def end(self, task: Task) -> None:
        task.ended = True
        self.send(ev.TaskEnded, task=task.name)
