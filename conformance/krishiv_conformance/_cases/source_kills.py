"""A source in real jobs that are killed between reading and commit, then run again until they finish.

A process that is to die reads slowly, so that it dies with rows unread; the one that finishes reads as fast as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_conformance._case import Ground

__all__ = ["RATE", "ROWS", "follow_cases", "source_cases"]

STEPS = (
    "barrier.before_emit",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.after",
)
ROWS, RATE = 400, 200.0
"""Rows of the input, and rows per second of a process that is to die."""

RANDOM = 5


def source_cases() -> list[Case]:
    """Return the kill cases of a source."""
    return [
        *(_at(step) for step in STEPS),
        _case(
            "recovery.after_restore", "Killed, then killed again right after its positions were restored.", _restored
        ),
        *(_at_random(number) for number in range(1, RANDOM + 1)),
        _case("two-subtasks", "Two subtasks share the splits; killed after an epoch, then between two acks.", _shared),
        _case("rescale", "One subtask, two, one again: positions move between them.", _rescale),
    ]


def follow_cases() -> list[Case]:
    """Return the cases of a source that never ends and finds new splits."""
    return [
        Case(
            name="source/follow/new-parts",
            about="Parts that appear while the job runs are read; stopped and started again, it goes on.",
            check=_new_parts,
        ),
        Case(
            name="source/follow/killed",
            about="Parts appear while the job runs and while it is dead; it is killed twice.",
            check=_killed_while_following,
        ),
    ]


def _case(name: str, about: str, check: Callable[[Ground], None]) -> Case:
    return Case(name=f"source/kill/{name}", about=about, check=check)


def _at(step: str) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground, rows=ROWS)
        trial.die_at(step, ground.random.randint(1, 4), max_rate=RATE)
        trial.finish()

    return _case(step, f"Killed at {step}, in an epoch drawn by the seed.", check)


def _restored(ground: Ground) -> None:
    trial = Trial(ground, rows=ROWS)
    trial.die_at("manifest.after", ground.random.randint(2, 4), max_rate=RATE)
    trial.die_at("recovery.after_restore")
    trial.die_at("barrier.before_emit", max_rate=RATE)
    trial.finish()


def _at_random(number: int) -> Case:
    def check(ground: Ground) -> None:
        trial = Trial(ground, rows=ROWS)
        kills = sum(trial.die_after(ground.random.uniform(0.0, 0.4), max_rate=RATE) for _ in range(3))
        if not kills:
            raise NotReached("the job finished before it could be killed")
        trial.finish()

    return _case(f"random-{number}", "Killed up to three times, at moments drawn by the seed.", check)


def _shared(ground: Ground) -> None:
    trial = Trial(ground, rows=ROWS)
    trial.die_at("manifest.after", ground.random.randint(1, 3), max_rate=RATE, parallelism=2)
    trial.die_at("ack.after", ground.random.randint(1, 7), max_rate=RATE, parallelism=2)
    trial.finish(parallelism=2)


def _rescale(ground: Ground) -> None:
    trial = Trial(ground, rows=ROWS)
    for parallelism in (1, 2, 1, 2):
        trial.die_at("manifest.after", ground.random.randint(1, 3), max_rate=RATE, parallelism=parallelism)
    trial.finish(parallelism=1)


def _new_parts(ground: Ground) -> None:
    trial = Trial(ground, rows=80)
    for _ in range(2):
        with trial.start() as child:
            trial.await_output(child)
            trial.add_part(20)
            trial.await_output(child)
            trial.stop(child)
    trial.check()


def _killed_while_following(ground: Ground) -> None:
    trial = Trial(ground, rows=80)
    trial.die_at("manifest.after", ground.random.randint(2, 4), max_rate=RATE)
    trial.add_part(20)
    with trial.start() as child:
        trial.await_output(child)
        trial.add_part(20)
        child.wait_seconds(ground.random.uniform(0.0, 1.2))
        child.kill()
        trial.count_kill(child.wait())
    with trial.start() as child:
        trial.await_output(child)
        trial.stop(child)
    trial.check()
