"""A two-phase sink in real jobs that are killed at every step of the protocol, then run again until they finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached, expect
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_conformance._case import Ground

__all__ = ["STEPS", "kill_cases", "once"]

STEPS = (
    "barrier.before_emit",
    "prepare.before",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.after",
)
"""Failpoints that every epoch passes."""

WITHIN_COMMIT = (1, 2, 3, 4)
"""How far into a commit: passes of ``commit.during``, which authors mark within `commit`."""

RECOVERY = {
    "takeover.before": "manifest.after",
    "takeover.after": "manifest.after",
    "recovery.before_commit": "manifest.after",
    "recovery.after_commit": "manifest.after",
    "recovery.before_abort": "prepare.after",
    "recovery.after_abort": "ack.before",
    "recovery.after_restore": "commit.before",
}
"""Failpoints of a start, each with the step at which the process before has to die so that there is work to do."""

ONCE = ("finish.before", "finish.after")
"""Failpoints that a job passes once, at its end."""

RANDOM = 5
"""Cases that kill at random moments."""


def kill_cases() -> list[Case]:
    """Return the kill cases of a two-phase sink."""
    return [
        *(_at(step) for step in STEPS),
        *(_within_commit(number) for number in WITHIN_COMMIT),
        *(_in_recovery(step, before) for step, before in RECOVERY.items()),
        *(_at_the_end(step) for step in ONCE),
        *(_while_retiring(step) for step in ("retire.before", "retire.after")),
        *(_in_savepoint(step) for step in ("savepoint.before", "savepoint.after")),
        *(_at_random(number) for number in range(1, RANDOM + 1)),
        _case("again-and-again", "Killed at the same step at every start, a job still gets on.", _again_and_again),
        _case("empty-epochs", "Most epochs have no rows; one without and one with rows die.", _empty_epochs),
        *(_in_slots(step) for step in ("prepare.after", "ack.after", "commit.before", "commit.after")),
        _case("rescale", "One slot, two, one again, each time with an epoch that waits to be committed.", _rescale),
        _case("finished", "A finished job that is started again changes nothing.", _finished),
    ]


def once(ground: Ground, step: str, first: int = 2, last: int = 6) -> int:
    """Draw at which pass of `step` to kill."""
    return ground.random.randint(first, last)


def _case(name: str, about: str, check: Callable[[Ground], None], *, optional: bool = False) -> Case:
    return Case(name=f"sink/kill/{name}", about=about, check=check, optional=optional)


def _at(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at(step, once(ground, step))
        trial.finish()

    return _case(step, f"Killed at {step}, in an epoch drawn by the seed.", check)


def _within_commit(number: int) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at("commit.during", len(WITHIN_COMMIT) + number)
        trial.finish()

    return _case(
        f"commit.during-{number}", "Killed within commit, where its author marked a step.", check, optional=True
    )


def _in_recovery(step: str, before: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at(before, once(ground, before))
        trial.die_at(step)
        trial.die_at(step)
        trial.finish()

    return _case(step, f"Killed at {before}, then twice while starting again, at {step}.", check)


def _at_the_end(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground, rows=240)
        trial.die_at(step)
        trial.finish()

    return _case(step, f"Killed at {step}, when every row has been read.", check)


def _while_retiring(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at(step, once(ground, step, 4, 7), keep_checkpoints=1)
        trial.finish(keep_checkpoints=1)

    return _case(step, f"Killed at {step}, with only one manifest kept.", check)


def _in_savepoint(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at(step, savepoint="first")
        trial.finish(savepoint="second")

    return _case(step, f"Killed at {step}; then another savepoint is taken, and the job finishes.", check)


def _at_random(number: int) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        kills = 0
        for _ in range(3):
            kills += trial.die_after(ground.random.uniform(0.0, 0.4))
        if not kills:
            raise NotReached("the job finished before it could be killed")
        trial.finish()

    return _case(f"random-{number}", "Killed up to three times, at moments drawn by the seed.", check)


def _again_and_again(ground: Ground) -> None:
    trial = Trial(ground, rows=480)
    for _ in range(5):
        trial.die_at("manifest.after")
    trial.finish()


def _empty_epochs(ground: Ground) -> None:
    trial = Trial(ground, rows=240, steps=(0, 30, 0, 0))
    trial.die_at("commit.before", once(ground, "commit.before", 4, 7))
    trial.die_at("commit.after", 1)
    trial.finish()


def _in_slots(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground)
        trial.die_at(step, once(ground, step, 3, 8), parallelism=2)
        trial.finish(parallelism=2)

    return _case(f"two-slots-{step}", f"Two slots; killed at {step}, which they pass one after the other.", check)


def _rescale(ground: Ground) -> None:
    trial = Trial(ground)
    for parallelism in (1, 2, 1, 2):
        trial.die_at("manifest.after", once(ground, "manifest.after", 2, 3), parallelism=parallelism)
    trial.finish(parallelism=1)


def _finished(ground: Ground) -> None:
    trial = Trial(ground, rows=240)
    trial.die_at("commit.before", 2)
    trial.finish()
    with trial.start() as child:
        ended = child.wait()
    expect(ended.finished, f"a finished job was started again, and {ended}")
    trial.check()
