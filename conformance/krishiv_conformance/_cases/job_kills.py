"""Real jobs, killed at every step of the protocol and run again until they finish: for sinks and for stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, NotReached, expect
from krishiv_conformance._trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_conformance._case import Ground

__all__ = ["STEPS", "sink_cases", "store_cases"]

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

WITHIN_COMMIT = (1, 2, 3, 4, 5, 6)
"""How far into a commit: passes of ``commit.during``, which authors mark within `commit`."""
BEFORE_THEM = 4
"""Passes that are left to succeed first."""

RECOVERY = {
    "takeover.before": "manifest.after",
    "takeover.after": "manifest.after",
    "recovery.before_commit": "manifest.after",
    "recovery.after_commit": "manifest.after",
    "recovery.before_abort": "prepare.after",
    "recovery.after_abort": "prepare.after",
    "recovery.after_restore": "commit.before",
}
"""Failpoints of a start, each with the step at which the process before has to die so that there is work to do."""

ONCE = ("finish.before", "finish.after")
"""Failpoints that a job passes once, at its end."""

RETIRE = ("retire.before", "retire.after")
SAVEPOINT = ("savepoint.before", "savepoint.after")

RANDOM = 5
"""Cases that kill at random moments."""


def sink_cases() -> list[Case]:
    """Return the kill cases of a two-phase sink."""
    kills = _Kills("sink")
    return [
        *map(kills.at, STEPS),
        *map(kills.within_commit, WITHIN_COMMIT),
        *map(kills.in_recovery, RECOVERY),
        *map(kills.at_the_end, ONCE),
        *map(kills.while_retiring, RETIRE),
        *map(kills.in_savepoint, SAVEPOINT),
        *map(kills.at_random, range(1, RANDOM + 1)),
        kills.case(
            "again-and-again", "Killed in the first epoch of every start, a job still gets on.", _again_and_again
        ),
        kills.case("empty-epochs", "Most epochs have no rows; one without and one with rows die.", _empty_epochs),
        *map(kills.in_slots, ("prepare.after", "ack.after", "commit.before", "commit.after")),
        kills.case(
            "rescale", "One slot, two, one again, each time with an epoch that waits to be committed.", _rescale
        ),
        kills.case("finished", "A finished job that is started again changes nothing.", _finished),
    ]


def store_cases() -> list[Case]:
    """Return the kill cases of a checkpoint store: the steps at which the protocol writes to it."""
    kills = _Kills("store")
    return [
        *map(kills.at, ("ack.before", "ack.after", "manifest.before", "manifest.after", "commit.before")),
        *map(kills.in_recovery, ("takeover.before", "takeover.after", "recovery.after_restore")),
        *map(kills.at_the_end, ONCE),
        *map(kills.while_retiring, RETIRE),
        *map(kills.in_savepoint, SAVEPOINT),
        *map(kills.at_random, range(1, RANDOM + 1)),
        kills.case(
            "again-and-again", "Killed in the first epoch of every start, a job still gets on.", _again_and_again
        ),
    ]


class _Kills:
    """Makes cases of one part."""

    def __init__(self, part: str) -> None:
        self._part = part

    def case(self, name: str, about: str, check: Callable[[Ground], None], *, optional: bool = False) -> Case:
        """Return a case."""
        return Case(name=f"{self._part}/kill/{name}", about=about, check=check, optional=optional)

    def at(self, step: str) -> Case:
        """Kill once."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            # Each task acknowledges: later passes, so that there are epochs before.
            earliest = 5 if step.startswith("ack") else 2
            trial.die_at(step, ground.random.randint(earliest, earliest + 4))
            trial.finish()

        return self.case(step, f"Killed at {step}, in an epoch drawn by the seed.", check)

    def within_commit(self, number: int) -> Case:
        """Kill within a commit; the first commit is left to succeed."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            trial.die_at("commit.during", BEFORE_THEM + number)
            trial.finish()

        about = "Killed within commit, where its author marked a step."
        return self.case(f"commit.during-{number}", about, check, optional=True)

    def in_recovery(self, step: str) -> Case:
        """Kill a start, twice."""
        before = RECOVERY[step]

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            trial.die_at(before, ground.random.randint(2, 6))
            trial.die_at(step)
            trial.die_at(step)
            trial.finish()

        return self.case(step, f"Killed at {before}, then twice while starting again, at {step}.", check)

    def at_the_end(self, step: str) -> Case:
        """Kill when every row has been read."""

        def check(ground: Ground) -> None:
            trial = Trial(ground, rows=240)
            trial.die_at(step)
            trial.finish()

        return self.case(step, f"Killed at {step}, when every row has been read.", check)

    def while_retiring(self, step: str) -> Case:
        """Kill while what is superfluous is being removed."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            trial.die_at(step, ground.random.randint(4, 7), keep_checkpoints=1)
            trial.finish(keep_checkpoints=1)

        return self.case(step, f"Killed at {step}, with only one manifest kept.", check)

    def in_savepoint(self, step: str) -> Case:
        """Kill while a savepoint is being taken."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            trial.die_at(step, savepoint="first")
            trial.finish(savepoint="second")

        return self.case(step, f"Killed at {step}; then another savepoint is taken, and the job finishes.", check)

    def at_random(self, number: int) -> Case:
        """Kill whenever."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            kills = sum(trial.die_after(ground.random.uniform(0.0, 0.4)) for _ in range(3))
            if not kills:
                raise NotReached("the job finished before it could be killed")
            trial.finish()

        return self.case(f"random-{number}", "Killed up to three times, at moments drawn by the seed.", check)

    def in_slots(self, step: str) -> Case:
        """Kill between two slots."""

        def check(ground: Ground) -> None:
            trial = Trial(ground)
            trial.die_at(step, ground.random.randint(3, 8), parallelism=2)
            trial.finish(parallelism=2)

        about = f"Two slots; killed at {step}, which they pass one after the other."
        return self.case(f"two-slots-{step}", about, check)


def _again_and_again(ground: Ground) -> None:
    trial = Trial(ground, rows=480)
    for step in ("manifest.after", "commit.after") * 3:
        trial.die_at(step)
    trial.finish()


def _empty_epochs(ground: Ground) -> None:
    trial = Trial(ground, rows=240, steps=(0, 30, 0, 0))
    trial.die_at("commit.before", ground.random.randint(4, 7))
    trial.die_at("commit.after", 1)
    trial.finish()


def _rescale(ground: Ground) -> None:
    trial = Trial(ground)
    for parallelism in (1, 2, 1, 2):
        trial.die_at("manifest.after", ground.random.randint(2, 3), parallelism=parallelism)
    trial.finish(parallelism=1)


def _finished(ground: Ground) -> None:
    trial = Trial(ground, rows=240)
    trial.die_at("commit.before", 2)
    trial.finish()
    with trial.start() as child:
        ended = child.wait()
    expect(ended.finished, f"a finished job was started again, and {ended}")
    trial.check()
