"""A source and a sink together, from end to end: killed at a drawn step and at a drawn moment, then finished."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from krishiv_conformance._case import Case
from krishiv_conformance._cases.job_kills import STEPS
from krishiv_conformance._cases.source_kills import RATE, ROWS
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from krishiv_conformance._case import Ground

__all__ = ["combination_cases"]

RUNS = 5


def combination_cases() -> list[Case]:
    """Return the cases of a combination; each kills at least once."""
    about = "Killed at a step, and again at a moment, both drawn by the seed; then finished."
    return [Case(name=f"combination/kills-{number}", about=about, check=_check) for number in range(1, RUNS + 1)]


def _check(ground: Ground) -> None:
    trial = Trial(ground, rows=ROWS)
    # Every combination draws its own steps and moments.
    names = [part.name for part in (ground.source, ground.sink, ground.store)]
    numbers = random.Random(f"{ground.random.random()} {names}")
    slots = numbers.choice((1, 2))
    trial.die_at(numbers.choice(STEPS), numbers.randint(1, 4), max_rate=RATE, parallelism=slots)
    trial.die_after(numbers.uniform(0.0, 0.5), max_rate=RATE, parallelism=slots)
    trial.finish(parallelism=slots)
