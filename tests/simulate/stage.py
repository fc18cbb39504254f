"""A world without chance blows, in which a scenario says what happens when."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from krishiv_checkpoint import CheckpointSettings, JobLog
from krishiv_checkpoint import _events as ev
from tests.simulate.kernel import Kernel
from tests.simulate.store import Faults
from tests.simulate.world import Plan, Violation, World, splits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krishiv_checkpoint import Manifest
    from tests.simulate.kernel import Group
    from tests.simulate.process import Process

__all__ = ["Stage", "short", "staged"]

ENOUGH = 8_000
"""Turns after which what a scenario waits for will not come."""


class Stage(World):
    """A world that a scenario directs. Choices that it leaves open are drawn from the seed."""

    def turn(self) -> None:
        """Let one thing happen; nobody strikes, and nobody starts processes but the scenario. Timers keep time."""
        self.now += 1
        timers = sorted(self.timers(), key=lambda timer: (timer[0], timer[1].start.number, repr(timer[2])))
        moves = [] if timers and timers[0][0] <= self.now else self.moves() or self.moves(slow=True)
        if moves:
            self.kernel.random.choice(moves)()
        elif timers:
            due, process, timer = timers[0]
            self.now = max(self.now, int(due))
            process.fire(timer)
        self.kernel.reap()

    def until(self, what: Callable[[], object], process: Process | None = None) -> None:
        """Go on until `what` holds; fail if it never does, or if a process ends with an error before."""
        for _ in range(ENOUGH):
            if what():
                return
            self.turn()
            if process is not None and process.error is not None and not what():
                raise Violation(f"{process.group.name} ended early: {process.error}") from process.error
        raise Violation("what the scenario waits for does not come")

    def until_at(self, process: Process, label: str, *, act: Callable[[Group], None]) -> None:
        """Go on until `process` is about to pass a place whose label holds `label`; there, do `act` to it."""
        seen: list[str] = []

        def look(number: int, group: Group, passed: str) -> None:
            if group is process.group and label in passed and not seen:
                seen.append(passed)
                act(group)

        self.kernel.at_point = look
        self.until(lambda: seen, process)
        self.kernel.at_point = lambda number, group, label: None
        self.kernel.reap()

    def until_place(self, process: Process, place: int, *, act: Callable[[Group], None]) -> None:
        """Go on until the `place`-th place of the world is about to be passed and do `act` there, or to the end."""

        def look(number: int, group: Group, passed: str) -> None:
            if number == place:
                act(group)

        self.kernel.at_point = look
        self.until(lambda: self.kernel.points >= place or process.over)
        self.kernel.at_point = lambda number, group, label: None
        self.kernel.reap()

    def stop_at(self, process: Process, label: str) -> None:
        """SIGSTOP `process` just before it does what `label` says."""
        self.until_at(process, label, act=_stop)

    def kill_at(self, process: Process, label: str) -> None:
        """SIGKILL `process` just before it does what `label` says."""
        self.until_at(process, label, act=self.kernel.kill)

    def boot(self, parallelism: int | None = None, **how: str) -> Process:
        """Start a process and wait until it is through its recovery, or refuses to."""
        process = self.start(parallelism, **how)
        self.until(lambda: process.coordinator is not None or process.over)
        return process

    def ask(self, process: Process, kind: type[ev.Request], **fields: object) -> int | str | BaseException | None:
        """Ask for something and wait for the answer."""
        number = self.begin(process, kind, **fields)
        self.until(lambda: number in process.answers)
        return process.answers[number]

    def begin(self, process: Process, kind: type[ev.Request], **fields: object) -> int:
        """Ask for something once some more rows have been read; return the request's number."""
        enough = self.rows_read() + 4
        self.until(lambda: self.rows_read() >= enough or all(source.ended for source in process.sources), process)
        return process.request(kind, **fields)

    def rows_read(self) -> int:
        """How many rows all processes have read."""
        return sum("reads" in line and ": source-" in line for line in self.kernel.trace)

    def checkpoint(self, process: Process) -> int:
        """Have a checkpoint taken and committed everywhere."""
        epoch = self.ask(process, ev.CheckpointRequested)
        if not isinstance(epoch, int):
            raise Violation(f"no checkpoint: {epoch}")
        self.until(lambda: self.has_committed(process, epoch), process)
        return epoch

    def has_committed(self, process: Process, epoch: int) -> bool:
        """Whether a process was told that every sink applied an epoch."""
        return any(f"{process.group.name}: NotifyCommitted {{'epoch': {epoch}}}" in line for line in self.kernel.trace)

    def manifests(self) -> list[Manifest]:
        """Every manifest that is in the log now."""
        return list(JobLog(self.outside.blobs).read().manifests())

    def finish(self, process: Process) -> None:
        """Let a process bring the job to its end, and everything else to its own; then check the output."""
        self.until(lambda: process.outcome is not None, process)
        if process.outcome != "finished":
            raise Violation(f"{process.group.name} ended as {process.outcome}")
        self.settle()

    def settle(self) -> None:
        """Let everyone who is left go on to the end: one finishes the job, the others are fenced; then check."""
        left = [process for process in self.processes if not process.over]
        for process in self.processes:
            process.group.stopped = False
        self.until(lambda: not self.kernel.fibers and all(process.over for process in self.processes))
        for process in left:
            self.judge(process)
        if not any(process.outcome == "finished" for process in self.processes):
            raise Violation("nobody finished the job")
        self.check()


def _stop(group: Group) -> None:
    group.stopped = True


@contextlib.contextmanager
def staged(
    seed: int = 0,
    *,
    rows: int = 14,
    pace: float = 0.05,
    faults: Faults | None = None,
    late: int = 0,
    **settings: float | None,
) -> Iterator[Stage]:
    """Set a stage: three splits of some rows, checkpoints only on demand unless `settings` say otherwise."""
    options = {"checkpoint_interval": None, "checkpoint_timeout": 50.0, **settings}
    plan = Plan(
        splits=splits(3, rows, late=late),
        settings=CheckpointSettings(**options),  # type: ignore[arg-type]  # names and values belong together
        faults=faults or Faults(),
        blows=0,
        savepoints=False,
        pace=pace,
    )
    stage = Stage(Kernel(seed), plan)
    with stage.patched():
        yield stage


def short() -> contextlib.AbstractContextManager[Stage]:
    """Set a stage for a short job with some checkpoints, always the same."""
    return staged(1, rows=3, pace=0.1, checkpoint_interval=0.2)
