"""A process that is stopped, replaced, and wakes up again: it is fenced, and changes nothing (P9, P11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached, expect
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from krishiv_conformance._case import Ground

__all__ = ["zombie_cases"]

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


def zombie_cases() -> list[Case]:
    """Return the zombie cases of a two-phase sink."""
    return [
        *(_zombie(stop, alive=alive) for stop in STOPS for alive in (True, False)),
    ]


def _zombie(stop: str, *, alive: bool) -> Case:
    when = "while its successor runs" if alive else "when its successor has finished"

    def check(ground: Ground) -> None:
        trial = Trial(ground)
        at = ground.random.randint(2, 4)
        if stop.startswith("recovery"):
            trial.die_at("prepare.after", at)
            at = 1
        with trial.start(f"{stop}=stop@{at}") as zombie:
            if not zombie.wait_stopped():
                raise NotReached(f"the job finished without passing {stop} {at} times")
            with trial.start(take_over=True) as successor:
                if alive:
                    expect(successor.wait_epoch(), f"the successor made no checkpoint: {successor.wait()}")
                else:
                    trial.expect_finished(successor.wait())
                zombie.resume()
                ended = zombie.wait()
                expect(ended.code != 0, f"a process that was replaced reported success: {ended}")
                expect(not ended.killed, "the process that was replaced was killed by something else")
                trial.expect_finished(successor.wait())
        trial.check()

    return Case(
        name=f"sink/zombie/{stop}-{'alive' if alive else 'finished'}",
        about=f"Stopped at {stop}, replaced, and woken {when}: it ends with an error, and the output is right.",
        check=check,
        optional=stop == "commit.during",
    )
