"""The world around a job: it starts processes, kills and stops them, loses replies, and asks for savepoints."""

from __future__ import annotations

import contextlib
import itertools
import types
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from unittest import mock

from krishiv_checkpoint import (
    Ack,
    CheckpointSettings,
    CommitFailed,
    CorruptState,
    Fenced,
    JobLog,
    SinkAhead,
    SinkBehind,
    StoreFull,
    TooManyFailedCheckpoints,
)
from krishiv_checkpoint import _events as ev
from krishiv_guarantees import RetriableError
from tests.simulate.check import compare
from tests.simulate.kernel import CooperativeLock, Fiber, Kernel, Stuck
from tests.simulate.outside import Outside
from tests.simulate.process import Process, Start
from tests.simulate.store import Faults
from tests.simulate.tasks import Input, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Plan", "Violation", "World", "splits", "world_of"]

LIMIT = 30_000
"""Turns after which a job that has not finished never will."""
PATIENCE = 2_500
"""Turns after which the world leaves the job alone."""

SLOWNESS = 0.05
"""How often a slow worker takes its turn."""

BLOWS = ["kill", "kill", "kill", "stop", "stop", "stop", "rival", "rival", "stray", "ask", "ask", "ask"]
"""What a world does to a job, each as often as it is listed."""
SAVEPOINT_BLOWS = ["ask", "ask", "ask", "ask", "restore", "restore", "restore", "kill", "stop", "rival"]
"""The same where savepoints are taken and restored."""

AHEAD = ("refuse", "rewind")

PASSING = (OSError, RetriableError, StoreFull, TooManyFailedCheckpoints, Fenced)
"""Errors after which a job is simply started again."""


class Violation(AssertionError):
    """The job broke its promise."""


@dataclass
class Plan:
    """What a seed decides before the first turn.

    Parameters
    ----------
    blows : int
        How often the world strikes: kills, stops, rivals, requests.
    savepoints : bool
        Whether savepoints are taken, and restored.
    slow : tuple of str
        Workers that rarely get their turn.
    pace : float
        How often a source that could read a row gets to: below 1 the job lives through more epochs.
    """

    splits: tuple[Split, ...]
    settings: CheckpointSettings
    faults: Faults
    blows: int
    savepoints: bool
    slow: tuple[str, ...] = ()
    pace: float = 1.0
    parallelisms: tuple[int, ...] = (1, 2, 3)

    def calm(self) -> None:
        """Stop all trouble, and give the next process all the time it needs."""
        self.faults.calm()
        self.blows, self.slow, self.pace = 0, (), 1.0
        self.settings = replace(self.settings, checkpoint_interval=5.0, checkpoint_timeout=1000.0)


def plan_of(kernel: Kernel) -> Plan:
    """Draw a plan."""
    draw = kernel.random
    rate = draw.choice([0.0, 0.0, 0.005, 0.02, 0.05])
    rates = {kind: rate * draw.random() for kind in ("unreachable", "reply_lost", "retried", "full", "busy")}
    return Plan(
        splits=splits(draw.randint(1, 4), draw.randint(3, 16), late=draw.choice([0, 0, 300])),
        settings=CheckpointSettings(
            checkpoint_interval=draw.choice([0.3, 0.6, 1.5]),
            checkpoint_timeout=draw.choice([2.0, 4.0, 20.0, 20.0]),
            min_pause=draw.choice([0.0, 0.2]),
            max_pending_epochs=draw.choice([1, 2, 2, 3]),
            tolerable_failed_checkpoints=draw.choice([1, 3, 3]),
            keep_checkpoints=draw.choice([1, 2, 3]),
        ),
        faults=Faults(**rates),
        blows=draw.randint(0, 12),
        savepoints=draw.random() < 0.3,
        slow=draw.choice([(), (), ("commit-files",), ("commit-table",), ("log",), ("snapshots",), ("upkeep",)]),
        pace=draw.choice([1.0, 0.1, 0.05, 0.02]),
    )


def splits(number: int, rows: int, *, late: int = 0) -> tuple[Split, ...]:
    """Return `number` splits of `rows` rows over five keys; the last one appears after `late` turns."""
    return tuple(
        Split(s, tuple(Input(f"{s}.{r}", f"key-{(s + r) % 5}") for r in range(rows)), late if s == number - 1 else 0)
        for s in range(number)
    )


@dataclass
class World:
    """One job in one world, from its first process to the last."""

    kernel: Kernel
    plan: Plan
    outside: Outside = field(default_factory=Outside)
    processes: list[Process] = field(default_factory=list)
    alive: list[Process] = field(default_factory=list)
    finished: bool = False
    now: int = 0
    turns: int = 0
    strays: list[Ack] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    savepoints: list[str] = field(default_factory=list)
    restores: int = 3
    going_back: dict[str, str] = field(default_factory=dict)

    # ---------------------------------------------------------------- a random life

    def live(self) -> None:
        """Run the job to its end under the plan's blows, then check what came out."""
        with self.patched():
            self.start()
            while not self.is_done():
                self.turn()
            self.check()

    def turn(self) -> None:
        """Let one thing happen."""
        self.now += 1
        self.turns += 1
        if self.turns > LIMIT:
            raise Stuck(f"not finished after {LIMIT} turns")
        if self.turns > PATIENCE:
            self.plan.calm()
        booting = any(process.coordinator is None for process in self.alive)
        if self.plan.blows and self.kernel.random.random() < (0.05 if booting else 0.01):
            self.strike()
        if self.turns % 64 == 0 and self.kernel.random.random() < 0.2:
            self.revive()
        self.tend()
        if not self.is_done():
            self.step()

    def step(self) -> None:
        """Let one process take one turn, or let time pass to the next timer."""
        draw = self.kernel.random
        moves = self.moves()
        timers = self.timers()
        if timers and draw.random() < (0.02 if moves else 0.8):
            due, process, timer = min(timers, key=lambda t: (t[0], t[1].start.number, repr(t[2])))
            self.now = max(self.now, int(due))
            process.fire(timer)
        elif moves or (moves := self.moves(slow=True)):
            draw.choice(moves)()
        elif not timers and not self.revive():
            raise Stuck("nothing can move")
        self.kernel.reap()

    def moves(self, *, slow: bool = False) -> list[Callable[[], None]]:
        """Everything that could happen next; slow workers mostly wait until nothing else does."""
        fibers = [fiber for fiber in self.kernel.fibers if fiber.ready and fiber.name not in self.held]
        fibers = [fiber for fiber in fibers if slow or not self.is_slow(fiber)]
        reads = slow or self.kernel.random.random() < self.plan.pace
        return [
            *(fiber.resume for fiber in fibers),
            *(move for process in self.alive for move in process.moves(reads=reads)),
        ]

    def is_slow(self, fiber: Fiber) -> bool:
        """Whether a fiber does not want its turn now."""
        slow = fiber.name.rpartition("/")[2] in self.plan.slow and not fiber.group.dead
        return slow and self.kernel.random.random() >= SLOWNESS

    def timers(self) -> list[tuple[float, Process, ev.Timer]]:
        """Every timer of a process that runs."""
        running = [process for process in self.alive if process.running and not process.group.stopped]
        return [(due, process, timer) for process in running for timer, due in process.timers.items()]

    def revive(self) -> bool:
        """SIGCONT a stopped process, if there is one."""
        stopped = [process for process in self.processes if process.group.stopped]
        if not stopped:
            return False
        self.resume(self.kernel.random.choice(stopped))
        return True

    def is_done(self) -> bool:
        """Whether the job finished and every process is gone."""
        return self.finished and not self.alive and not self.kernel.fibers

    # ---------------------------------------------------------------- processes

    @property
    def newest(self) -> Process:
        return self.processes[-1]

    def start(self, parallelism: int | None = None, **how: str) -> Process:
        """Start a process. A rewind that was begun is begun again, until it is through."""
        how = self.going_back or how
        n = parallelism or self.kernel.random.choice(self.plan.parallelisms)
        number = len(self.processes) + 1
        self.note(f"starts p{number} with parallelism {n}, {how}")
        start = Start(number, n, self.plan.settings, **how)
        process = Process(self.kernel, self.outside, self.plan.faults, self.plan.splits, start, lambda: self.now)
        self.processes.append(process)
        self.alive.append(process)
        return process

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        self.note(f"kills {process.group.name}")
        self.strays.extend(message for message in process.network if isinstance(message, Ack))
        self.kernel.kill(process.group)
        self.kernel.reap()

    def stop(self, process: Process) -> None:
        """SIGSTOP."""
        self.note(f"stops {process.group.name}")
        process.group.stopped = True

    def resume(self, process: Process) -> None:
        """SIGCONT."""
        self.note(f"continues {process.group.name}")
        process.group.stopped = False

    def tend(self) -> None:
        """Judge what ended processes; start the job again when no process of it runs."""
        for process in self.alive:
            if process.coordinator is not None and process.start.on_sink_ahead == "rewind" and self.going_back:
                self.going_back = {}
            if process.over:
                self.judge(process)
                self.finished |= process.outcome in ("finished", "drained")
        self.alive = [process for process in self.alive if not process.over]
        if not self.finished and all(process.group.stopped for process in self.alive):
            self.start(**self.choose_restore())

    def judge(self, process: Process) -> None:
        """Raise if a process ended as none may."""
        error = process.error
        if error is None or isinstance(error, PASSING):
            return
        if isinstance(error, CommitFailed) and isinstance(error.__cause__, OSError):
            return
        if isinstance(error, SinkAhead | SinkBehind) and process.start.restore != "latest":
            self.going_back = {}
            return  # refused: the sinks went on since, or what it holds was taken back
        if isinstance(error, CorruptState) and self.is_superseded(process):
            return  # it slept while it restored, and what it wanted to read has been retired
        raise Violation(f"{process.group.name} ended with {type(error).__name__}: {error}") from error

    def is_superseded(self, process: Process) -> bool:
        """Whether a newer attempt holds the job."""
        token = process.attempt.token if process.attempt else 0
        return JobLog(self.outside.blobs).read().token > token

    def choose_restore(self) -> dict[str, str]:
        """Restore a savepoint now and then, if no zombie could still write behind its back."""
        zombies = self.alive or self.kernel.fibers
        refused = self.processes and isinstance(self.newest.error, SinkAhead | SinkBehind)
        taken = [name for name in self.savepoints if self.is_taken(name)]
        if self.going_back or zombies or refused or not taken or not self.restores or self.kernel.random.random() < 0.2:
            return {}
        self.restores -= 1
        how = {"restore": self.kernel.random.choice(taken), "on_sink_ahead": self.kernel.random.choice(AHEAD)}
        self.going_back = how if how["on_sink_ahead"] == "rewind" else {}
        return how

    def is_taken(self, savepoint: str) -> bool:
        """Whether somebody was told that a savepoint is complete."""
        return any(answer == savepoint for process in self.processes for answer in process.answers.values())

    # ---------------------------------------------------------------- blows

    def strike(self) -> None:
        """Do one unkind thing."""
        self.plan.blows -= 1
        running = [process for process in self.alive if not process.group.stopped]
        if not running:
            return
        victim = self.kernel.random.choice(running)
        blow = self.kernel.random.choice(SAVEPOINT_BLOWS if self.plan.savepoints else BLOWS)
        if blow == "kill":
            self.kill(victim)
        elif blow == "stop":
            self.stop(victim)
        elif blow == "rival":
            self.start()
        elif blow == "stray" and self.strays and victim.running:
            victim.arrive(self.kernel.random.choice(self.strays))
        elif blow == "restore":
            self.go_back()
        elif victim.running:
            self.request(victim)

    def go_back(self) -> None:
        """Kill every process, so that nobody writes behind its back, and restore a savepoint."""
        if any(self.is_taken(name) for name in self.savepoints) and not self.going_back:
            for process in self.processes:
                if not process.group.dead:
                    self.kill(process)
            self.tend()

    def request(self, process: Process) -> None:
        """Ask a process for a checkpoint, a savepoint or a stop."""
        name = f"savepoint-{len(self.savepoints)}"
        what = self.kernel.random.choice(["savepoint", "stop at"] if self.plan.savepoints else ["checkpoint", "stop"])
        self.note(f"asks {process.group.name} for: {what}")
        match what:
            case "checkpoint":
                process.request(ev.CheckpointRequested)
            case "stop":
                process.request(ev.StopRequested)
            case "savepoint":
                process.request(ev.SavepointRequested, location=name)
            case _:
                process.request(ev.StopRequested, savepoint=name)
        if self.plan.savepoints:
            self.savepoints.append(name)

    # ---------------------------------------------------------------- the end

    def check(self) -> None:
        """Compare the sinks with the input."""
        if differences := compare(self.outside, self.plan.splits):
            raise Violation("; ".join(map(str, differences)))

    def note(self, what: str) -> None:
        self.kernel.trace.append(f"world: {what}")

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Make what the product draws by itself part of the seed: lineages, and whose turn it is at a lock."""
        numbers = itertools.count(1)
        uuids = types.SimpleNamespace(uuid4=lambda: uuid.UUID(int=next(numbers)))
        locks = types.SimpleNamespace(RLock=lambda: CooperativeLock(self.kernel))
        with (
            mock.patch("krishiv_checkpoint._identity.uuid", uuids),
            mock.patch("krishiv_checkpoint._job_log.threading", locks),
        ):
            try:
                yield
            finally:
                self.kernel.close()


def world_of(seed: int) -> World:
    """Return the world that a seed stands for; let it `live`."""
    kernel = Kernel(seed)
    return World(kernel, plan_of(kernel))
