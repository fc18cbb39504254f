"""Every case of the sink matrix catches a sink that breaks its rule, and passes one that keeps all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import run_case
from krishiv_conformance._matrix import reference_partners, sink_cases
from krishiv_conformance._shipped import SqliteSinkHarness
from tests.unit.conformance import sink_mutants
from tests.unit.conformance.caught import caught
from tests.unit.conformance.sink_mutants import MUTANTS, HonestHarness

if TYPE_CHECKING:
    from krishiv_conformance import Case, CaseResult, SinkHarness

CASES = {case.name.removeprefix("sink/"): case for case in sink_cases(SqliteSinkHarness())}
ONLY_STAGED = "contract/apply-is-compare-and-set"

CATCHES = {
    "contract/prepared-rows-stay-invisible": "PublishesAtPrepare",
    "contract/a-fresh-object-commits": "KnowsOnlyWhatItPrepared",
    "contract/a-second-commit-changes-nothing": "CommitsAgain",
    "contract/commit-publishes-what-is-listed-and-nothing-else": "PublishesTheFolder",
    "contract/prepared-epochs-are-found": "ListsNothing",
    "contract/abort-removes-what-it-is-given-and-nothing-else": "AbortsByEpoch",
    "contract/a-zombie-aborts-nothing-of-its-successor": "AbortsForZombies",
    "contract/last-applied-tells-what-is-published": "AppliedIsWhatWasPrepared",
    "contract/marks-name-job-and-lineage": "MarksOfAnyJob",
    "contract/an-epoch-without-rows-is-an-epoch": "SkipsEmptyEpochs",
    "contract/a-later-epoch-may-be-prepared-before-a-commit": "OneStagePerSlot",
    "contract/slots-are-published-side-by-side": "IgnoresSlots",
    "contract/rows-that-were-not-prepared-are-dropped": "AppendsWhatIsLeft",
    "contract/a-lost-epoch-is-never-reported-done": "MissingIsDone",
    "contract/racing-commits-publish-once": "DataThenMark",
    "contract/lineages-and-sinks-do-not-mix": "IgnoresLineage",
    "contract/what-can-be-rewound-is-taken-back-whole": "RewindsTooFar",
    "contract/apply-is-compare-and-set": "AppliesFromAnywhere",
    "kill/barrier.before_emit": "PublishesAtWrite",
    "kill/prepare.before": "PublishesAtWrite",
    "kill/prepare.after": "PublishesAtPrepare",
    "kill/ack.before": "CommitsAtClose",
    "kill/ack.after": "CommitsAtClose",
    "kill/manifest.before": "PublishesAtPrepare",
    "kill/manifest.after": "KnowsOnlyWhatItPrepared",
    "kill/commit.before": "KnowsOnlyWhatItPrepared",
    "kill/commit.after": "MarksLate",
    "kill/commit.during-1": "DataThenMark",
    "kill/commit.during-2": "DataThenMark",
    "kill/commit.during-3": "DataThenMark",
    "kill/commit.during-4": "DataThenMark",
    "kill/commit.during-5": "DataThenMark",
    "kill/commit.during-6": "DataThenMark",
    "kill/takeover.before": "KnowsOnlyWhatItPrepared",
    "kill/takeover.after": "KnowsOnlyWhatItPrepared",
    "kill/recovery.before_commit": "AppliedIsWhatWasPrepared",
    "kill/recovery.after_commit": "KnowsOnlyWhatItPrepared",
    "kill/recovery.before_abort": "AbortsNothing",
    "kill/recovery.after_abort": "AbortsNothing",
    "kill/recovery.after_restore": "KnowsOnlyWhatItPrepared",
    "kill/finish.before": "CommitsAtClose",
    "kill/finish.after": "CommitsAtClose",
    "kill/retire.before": "CommitsAtClose",
    "kill/retire.after": "CommitsAtClose",
    "kill/savepoint.before": "CommitsAtClose",
    "kill/savepoint.after": "CommitsAtClose",
    "kill/random-1": "CommitsAtClose",
    "kill/random-2": "ClearsAtCheck",
    "kill/random-3": "CommitsAtClose",
    "kill/random-4": "ClearsAtCheck",
    "kill/random-5": "CommitsAtClose",
    "kill/again-and-again": "KnowsOnlyWhatItPrepared",
    "kill/empty-epochs": "SkipsEmptyEpochs",
    "kill/two-slots-prepare.after": "IgnoresSlots",
    "kill/two-slots-ack.after": "IgnoresSlots",
    "kill/two-slots-commit.before": "IgnoresSlots",
    "kill/two-slots-commit.after": "IgnoresSlots",
    "kill/rescale": "KnowsOnlyWhatItPrepared",
    "kill/finished": "ClearsAtCheck",
    "zombie/prepare.before-alive": "PublishesAtWrite",
    "zombie/prepare.before-finished": "PublishesAtWrite",
    "zombie/prepare.after-alive": "PublishesAtPrepare",
    "zombie/prepare.after-finished": "PublishesAtPrepare",
    "zombie/ack.before-alive": "PublishesAtPrepare",
    "zombie/ack.before-finished": "PublishesAtPrepare",
    "zombie/manifest.before-alive": "PublishesAtPrepare",
    "zombie/manifest.before-finished": "PublishesAtPrepare",
    "zombie/manifest.after-alive": "CommitsAtClose",
    "zombie/manifest.after-finished": "CommitsAtClose",
    "zombie/commit.before-alive": "CommitsAtClose",
    "zombie/commit.before-finished": "CommitsAtClose",
    "zombie/commit.during-alive": "DataThenMark",
    "zombie/commit.during-finished": "DataThenMark",
    "zombie/commit.after-alive": "CommitsAtClose",
    "zombie/commit.after-finished": "CommitsAtClose",
    "zombie/retire.before-alive": "CommitsAtClose",
    "zombie/retire.before-finished": "CommitsAtClose",
    "zombie/recovery.before_abort-alive": "CommitsAtClose",
    "zombie/recovery.before_abort-finished": "CommitsAtClose",
}
"""By case: the broken sink that it must catch."""

DIRECT = [name for name in CASES if name.startswith("contract/")]
WITH_PROCESSES = [name for name in CASES if name not in DIRECT]


def run(case: Case, sink: SinkHarness, seed: int = 0) -> CaseResult:
    """Run one case on `sink`, with the reference source and store."""
    source, _, store = reference_partners()
    return run_case(case, source=source, sink=sink, store=store, seed=seed)


def mutant(name: str) -> SinkHarness:
    """Return the harness of a broken sink."""
    harness: SinkHarness = getattr(sink_mutants, f"{name}Harness")()
    return harness


def test_every_sink_case_has_a_mutant() -> None:
    assert set(CATCHES) == set(CASES)


def test_every_sink_mutant_is_used() -> None:
    assert {kind.__name__ for kind in MUTANTS} == set(CATCHES.values()) - {"AppliesFromAnywhere"}


@pytest.mark.parametrize("name", DIRECT)
def test_sink_contract_case_catches_its_mutant(name: str) -> None:
    result = run(CASES[name], mutant(CATCHES[name]))
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.parametrize("name", [name for name in DIRECT if name != ONLY_STAGED])
def test_sink_contract_case_passes_an_honest_sink(name: str) -> None:
    result = run(CASES[name], HonestHarness())
    assert result.passed, result.problem


def test_sink_contract_case_of_staging_sinks_passes_an_honest_one_and_is_for_them_alone() -> None:
    result = run(CASES[ONLY_STAGED], SqliteSinkHarness())
    assert result.passed, result.problem
    assert f"sink/{ONLY_STAGED}" not in {case.name for case in sink_cases(HonestHarness())}


@pytest.mark.kill
@pytest.mark.parametrize("name", WITH_PROCESSES)
def test_sink_kill_case_catches_its_mutant(name: str) -> None:
    result = caught(lambda seed: run(CASES[name], mutant(CATCHES[name]), seed=seed))
    assert result.reached
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize(
    "name", ["kill/recovery.after_commit", "kill/commit.during-2", "kill/rescale", "kill/finished"]
)
def test_sink_kill_case_passes_an_honest_sink(name: str) -> None:
    result = run(CASES[name], HonestHarness())
    assert result.reached
    assert result.passed, result.problem
    assert result.kills > 0


@pytest.mark.kill(kills=2)
def test_sink_that_claims_whole_epochs_is_held_to_what_readers_of_whole_epochs_see() -> None:
    case = CASES["kill/commit.after"]
    honest = run(case, sink_mutants.AtomicHarness())
    assert honest.passed, honest.problem
    torn = caught(lambda seed: run(case, sink_mutants.TornHarness(), seed=seed))
    assert "no whole number of epochs" in torn.problem


@pytest.mark.kill
@pytest.mark.parametrize("name", ["zombie/commit.before-finished", "zombie/prepare.after-alive"])
def test_sink_zombie_case_passes_an_honest_sink(name: str) -> None:
    result = run(CASES[name], HonestHarness())
    assert result.passed, result.problem
