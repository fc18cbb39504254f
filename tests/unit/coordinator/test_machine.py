"""Schedules that nobody would think of, run against the shadow oracle by Hypothesis.

Acks are lost, late, doubled, reordered, from old epochs and old tokens; timers fire whenever they like; the log and the
sinks fail in every way they may; the process dies at every transition; zombies go on committing.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from krishiv_checkpoint import _events as ev
from tests.unit.coordinator.shadow import TASKS, World

INDEX = st.integers(0, 10**6)


class CoordinatorMachine(RuleBasedStateMachine):
    """Every rule is one thing that can happen to a job."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def runs(self) -> bool:
        return self.world.over is None

    @rule(task=st.sampled_from(TASKS), rows=st.integers(0, 3))
    def write(self, task: str, rows: int) -> None:
        self.world.tasks[task].write(rows)

    @precondition(lambda self: self.runs())
    @rule(steps=st.integers(1, 12), rows=st.integers(0, 2), slow_sinks=st.booleans())
    def go_on(self, steps: int, rows: int, slow_sinks: bool) -> None:
        """Some steps of good luck, so that epochs get somewhere between the blows."""
        for task in self.world.tasks.values():
            task.write(rows)
        for _ in range(steps):
            if self.runs() and not self.world.step(slow_sinks=slow_sinks):
                self.world.wait()

    @precondition(lambda self: any(task.barriers for task in self.world.tasks.values()))
    @rule(index=INDEX, lost=st.booleans())
    def pass_barrier(self, index: int, lost: bool) -> None:
        waiting = [task for task in self.world.tasks.values() if task.barriers]
        ack = waiting[index % len(waiting)].pass_barrier(self.world.token)
        (self.world.old_acks if lost else self.world.network).append(ack)

    @precondition(lambda self: any(task.barriers for task in self.world.tasks.values()))
    @rule(index=INDEX)
    def decline_barrier(self, index: int) -> None:
        waiting = [task for task in self.world.tasks.values() if task.barriers]
        ack = waiting[index % len(waiting)].pass_barrier(self.world.token)
        self.world.network.append(
            ev.DeclineReceived(stimulus_id="", task=ack.task, epoch=ack.epoch, token=ack.token, error=OSError("full"))
        )

    @precondition(lambda self: self.world.network)
    @rule(index=INDEX, keep=st.booleans())
    def deliver(self, index: int, keep: bool) -> None:
        self.world.deliver(index % len(self.world.network), keep=keep)

    @precondition(lambda self: self.world.old_acks)
    @rule(index=INDEX)
    def deliver_an_old_ack(self, index: int) -> None:
        self.world.send(ev.AckReceived, ack=self.world.old_acks[index % len(self.world.old_acks)])

    @precondition(lambda self: self.world.timers)
    @rule(index=INDEX)
    def fire(self, index: int) -> None:
        timers = sorted(self.world.timers, key=repr)
        self.world.fire(timers[index % len(timers)])

    @precondition(lambda self: self.world.writing is not None)
    @rule(how=st.sampled_from(["written", "written", "full", "reply lost", "unreachable", "fenced"]))
    def answer_manifest(self, how: str) -> None:
        self.world.answer_manifest(how)

    @precondition(lambda self: self.world.commits)
    @rule(index=INDEX, how=st.sampled_from(["done", "done", "busy", "reply lost", "unreachable", "late retry"]))
    def answer_commit(self, index: int, how: str) -> None:
        self.world.answer_commit(self.world.commits[index % len(self.world.commits)], how)

    @precondition(lambda self: self.world.zombie_commits)
    @rule(index=INDEX)
    def zombie_commit(self, index: int) -> None:
        self.world.zombie_commit(self.world.zombie_commits[index % len(self.world.zombie_commits)])

    @precondition(lambda self: self.world.savepoints)
    @rule(well=st.booleans())
    def answer_savepoint(self, well: bool) -> None:
        self.world.answer_savepoint(self.world.savepoints[0], well=well)

    @precondition(lambda self: self.world.writing_finish is not None)
    @rule(how=st.sampled_from(["written", "unknown"]))
    def answer_finish(self, how: str) -> None:
        self.world.answer_finish(how)

    @precondition(lambda self: not self.world.open_requests)
    @rule(savepoint=st.booleans())
    def request(self, savepoint: bool) -> None:
        if savepoint:
            self.world.request(ev.SavepointRequested, location="there")
        else:
            self.world.request(ev.CheckpointRequested)

    @precondition(lambda self: len(self.world.committed) > 2)
    @rule(savepoint=st.sampled_from([None, "at-stop"]))
    def request_stop(self, savepoint: str | None) -> None:
        self.world.request(ev.StopRequested, savepoint=savepoint)

    @precondition(lambda self: len(self.world.committed) > 1)
    @rule(task=st.sampled_from(TASKS))
    def end(self, task: str) -> None:
        self.world.end(self.world.tasks[task])

    @precondition(lambda self: self.may_crash())
    @rule(landed=st.integers(0, 31))
    def crash(self, landed: int) -> None:
        self.world.crash(landed)

    def may_crash(self) -> bool:
        """A crash is worth a step where something is under way, or nothing else can happen."""
        world = self.world
        if world.finished in ("finished", "drained"):
            return False
        return world.over is not None or bool(world.commits or world.writing or world.network or world.savepoints)

    @invariant()
    def is_answered_when_over(self) -> None:
        assert self.runs() or not self.world.open_requests

    def teardown(self) -> None:
        """Whatever happened: from here a job with good luck ends with every row applied once."""
        world = self.world
        if world.finished not in ("finished", "drained"):
            world.crash()
            for task in world.tasks.values():
                task.write(2)
            world.settle()
        for (sink, slot), rows in world.target.rows.items():
            assert rows == world.tasks["left" if slot == 0 else "right"].written, (sink, slot)
        assert not world.open_requests


CoordinatorMachine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class TestCoordinatorMachine(CoordinatorMachine.TestCase):
    """Collected by pytest."""
