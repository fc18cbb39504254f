"""A process that is stopped, replaced, and wakes up again: it is fenced, and changes nothing (P9, P11)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached, expect
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_conformance._case import Ground
    from krishiv_conformance._children import Child

__all__ = ["STOPS", "zombie_cases"]

STOPS = (
    "prepare.before",
    "prepare.after",
    "ack.before",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.during",
    "commit.after",
    "retire.before",
    "recovery.before_abort",
)
"""Where the first process is stopped."""

PATIENCE = 5.0
"""Seconds that the successor gets, once it has taken over, before the first process wakes."""

A_START, A_MOMENT = 60.0, 0.02
"""Seconds that a process may take to take over on a busy machine; seconds between two looks."""


def zombie_cases(part: str, stops: Sequence[str] = STOPS) -> list[Case]:
    """Return the zombie cases of a ``"sink"`` or a ``"store"``."""
    return [_case(part, stop, alive=alive) for stop in stops for alive in (True, False)]


def _case(part: str, stop: str, *, alive: bool) -> Case:
    when = "while its successor runs" if alive else "when its successor has finished"

    def check(ground: Ground) -> None:
        trial = Trial(ground)
        at = ground.random.randint(2, 4)
        if stop.startswith("recovery"):
            trial.die_at("prepare.after", at)
            at = 1
        with trial.start(f"{stop}=stop@{at}") as zombie:
            if not zombie.wait_stopped():
                trial.expect_finished(zombie.wait())
                raise NotReached(f"the job finished without passing {stop} {at} times")
            _replace(trial, zombie, alive=alive)
        trial.check()
        trial.check_log()

    return Case(
        name=f"{part}/zombie/{stop}-{'alive' if alive else 'finished'}",
        about=f"Stopped at {stop}, replaced, and woken {when}: it ends with an error and changes nothing.",
        check=check,
        optional=stop == "commit.during",
    )


def _replace(trial: Trial, zombie: Child, *, alive: bool) -> None:
    """Start the successor, wake the zombie, and see both end."""
    entries = trial.entries()
    with trial.start(take_over=True) as successor:
        _await_takeover(trial, successor, entries)
        # A process that was stopped holding a lock of the target keeps its successor waiting: not for ever.
        if alive:
            successor.wait_epoch(PATIENCE)
        ended_first = not alive and successor.wait_seconds(PATIENCE)
        before = (trial.log(), trial.settled_output()) if ended_first else None
        zombie.resume()
        ended = zombie.wait()
        expect(ended.code != 0, f"a process that was replaced reported success: {ended}")
        expect(not ended.killed, "the process that was replaced was killed by something else")
        trial.expect_finished(successor.wait())
    if before is not None:
        expect(trial.log() == before[0], "the process that was replaced changed the log of its successor")
        expect(trial.output() == before[1], "the process that was replaced changed what readers see")


def _await_takeover(trial: Trial, successor: Child, entries: Sequence[str]) -> None:
    """Wait until the successor has written into the log: a zombie that wakes before that has not been replaced."""
    deadline = time.monotonic() + A_START
    while trial.entries() == entries and not successor.wait_seconds(A_MOMENT):
        expect(time.monotonic() < deadline, f"the successor took over nothing in {A_START:g} s")
