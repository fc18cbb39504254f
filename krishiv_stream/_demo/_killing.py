"""Runs the job, kills it at random moments, and starts it again, until it finishes.

A kill counts only if a checkpoint completed since the last start and rows were still unread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from krishiv_stream._demo._child import Child
from krishiv_stream._demo._errors import DemoKillsMissed, DemoTooShort
from krishiv_stream._demo._lines import Completed, Ended, Progressed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from krishiv_stream._demo._lines import JobSpec
    from krishiv_stream._demo._stored_position import StoredPosition

__all__ = ["Kill", "Killer", "KillPlan"]

_FIRST, _LAST = 0.05, 0.75
"""Between these shares of the input the kills fall: after the last there is time left for a late one."""
_LEAST, _LEAST_PER_KILL = 1.5, 0.5
"""Seconds of input that are needed, and those more per kill: a checkpoint completes, and some more is read."""
_SAID = 0.1
"""What the process said last is at most as old as this, seconds."""


class KillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """When to kill.

    Parameters
    ----------
    targets : tuple of float
        Rows read at which the next kill is due, in order.
    checkpoint_interval : float
        Seconds; with more kills, and a shorter input, it is shorter.
    """

    targets: tuple[float, ...]
    checkpoint_interval: float

    @classmethod
    def draw(cls, kills: int, rows: int, rate: float, random_numbers: random.Random) -> KillPlan:
        """Spread `kills` over `rows` read at `rate` rows per second.

        Raises
        ------
        DemoTooShort
            If they do not fit.
        """
        seconds = rows / rate
        needed = _LEAST + kills * _LEAST_PER_KILL if kills else 0.0
        if seconds < needed:
            raise DemoTooShort(
                f"{rows:,} rows at {rate:,.0f} rows/s take {seconds:.1f} s, too short for {kills} kills",
                hint=f"--rate {rows / needed:.3g} or lower, or fewer --kills",
                seconds=seconds,
                kills=kills,
            )
        shares = sorted(random_numbers.uniform(_FIRST, _LAST) for _ in range(kills))
        interval = min(1.0, max(0.1, seconds / (7 * max(1, kills))))
        return cls(targets=tuple(share * rows for share in shares), checkpoint_interval=interval)


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """One kill.

    Parameters
    ----------
    seconds : float
        How long the process had lived.
    checkpoints : int
        How many had completed since its start.
    epoch : int
        The newest of them.
    rows : int
        Rows of the input read by then, those read again after a restart counted once.
    unread : int
        Rows still unread.
    """

    seconds: float
    checkpoints: int
    epoch: int
    rows: int
    unread: int


class Killer:
    """Runs one job to its end, with kills.

    Parameters
    ----------
    spec : JobSpec
        The job; it has a rate.
    plan : KillPlan
        When to kill.
    rows : int
        Rows of the input.
    stored : StoredPosition
        Tells how much of the input the newest checkpoint covers.
    random_numbers : random.Random
        For the last bit of each moment.
    """

    def __init__(
        self, spec: JobSpec, plan: KillPlan, rows: int, stored: StoredPosition, random_numbers: random.Random
    ) -> None:
        self.spec = spec
        self.plan = plan
        self._rows = rows
        self._stored = stored
        self._random = random_numbers
        self.kills: list[Kill] = []
        self.uncounted = 0

    def run(self, log: Path, tell: Callable[[int, list[Kill]], None]) -> Ended:
        """Run, kill and start again until the job finishes.

        Parameters
        ----------
        log : Path
            Where the processes' standard error goes.
        tell : callable
            Hears again and again how many rows have been read, and of the kills so far.

        Raises
        ------
        DemoKillsMissed
            If it finished before all kills were done.
        """
        while True:
            ended = self._live_once(log, tell)
            if ended is not None:
                break
        if len(self.kills) < len(self.plan.targets):
            raise DemoKillsMissed(
                f"the job finished after {len(self.kills)} of {len(self.plan.targets)} kills",
                hint="a lower --rate leaves more time for them",
                kills=len(self.kills),
                wanted=len(self.plan.targets),
            )
        return ended

    def _live_once(self, log: Path, tell: Callable[[int, list[Kill]], None]) -> Ended | None:
        """Run one process; None if it was killed."""
        before = self._stored.rows()
        started = time.monotonic()
        life = _Life(before)
        with Child(self.spec, log) as child:
            for line in child.lines():
                life.hear(line)
                tell(life.rows, self.kills)
                if self._is_due(life):
                    life.doomed = True
                    # Anywhere in the cycle of checkpoints, and not only right after a line.
                    time.sleep(self._random.uniform(0, 2 * self.plan.checkpoint_interval))
                    life.seconds = time.monotonic() - started
                    child.kill()
            if not child.killed:
                return life.ended
        self._count(life)
        return None

    def _is_due(self, life: _Life) -> bool:
        done = len(self.kills)
        due = done < len(self.plan.targets) and life.rows >= self.plan.targets[done]
        return due and life.checkpoints > 0 and not life.doomed

    def _count(self, life: _Life) -> None:
        unread = self._rows - life.rows
        read_since = _SAID * (self.spec.rate or 0)
        if life.checkpoints and unread > read_since:
            kill = Kill(
                seconds=life.seconds, checkpoints=life.checkpoints, epoch=life.epoch, rows=life.rows, unread=unread
            )
            self.kills.append(kill)
        else:
            self.uncounted += 1


class _Life:
    """What one process has said."""

    def __init__(self, before: int) -> None:
        self._before = before
        self.rows = before
        self.checkpoints = 0
        self.epoch = 0
        self.seconds = 0.0
        self.doomed = False
        self.ended: Ended | None = None

    def hear(self, line: object) -> None:
        match line:
            case Progressed(rows=rows):
                self.rows = self._before + rows
            case Completed(epoch=epoch):
                self.checkpoints += 1
                self.epoch = epoch
            case Ended():
                self.ended = line
            case _:
                pass
