"""Every case of the source matrix catches a source that breaks its rule, and passes one that keeps all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import run_case
from krishiv_conformance._cases.source_contract import contract_cases
from krishiv_conformance._matrix import reference_partners, source_cases
from krishiv_guarantees import SourceCapabilities
from tests.unit.conformance import source_mutants
from tests.unit.conformance.caught import caught
from tests.unit.conformance.source_mutants import MUTANTS

if TYPE_CHECKING:
    from krishiv_conformance import Case, CaseResult, SourceHarness


def harness(name: str) -> SourceHarness:
    """Return the harness of a source of `source_mutants`."""
    found: SourceHarness = getattr(source_mutants, f"{name}Harness")()
    return found


def cases_of(name: str) -> dict[str, Case]:
    """Return the cases of a source, by name."""
    return {case.name.removeprefix("source/"): case for case in source_cases(harness(name), Path("/nowhere"))}


BOUNDED, FOLLOWING = cases_of("Honest"), cases_of("Following")
CASES = {**FOLLOWING, **BOUNDED}

CATCHES = {
    "contract/every-row-is-read-once": "DropsTheLastRow",
    "contract/a-fresh-reader-resumes-at-every-position": "PositionOfTheLastRow",
    "contract/a-position-before-the-first-row-is-the-beginning": "BeginsAfterTheFirstRow",
    "contract/positions-survive-json": "PositionIsATuple",
    "contract/splits-keep-their-names": "RandomSplitIds",
    "contract/the-schema-is-always-the-same": "SchemaOfTheLastReader",
    "contract/a-finished-split-stays-finished": "GivesTheLastRowAgain",
    "contract/readers-do-not-disturb-each-other": "OneCursor",
    "contract/a-choice-of-columns-changes-no-row": "DropsNullsOfTheChosenColumn",
    "contract/the-stated-minimum-of-event-time-holds": "StatesTheNewestTime",
    "contract/replay-keeps-the-order": "AnotherOrderEachTime",
    "contract/new-splits-are-found": "OnlyNewSplits",
    "kill/barrier.before_emit": "DropsTheLastRow",
    "kill/prepare.after": "SkipsOnResume",
    "kill/ack.before": "SkipsOnResume",
    "kill/ack.after": "SkipsOnResume",
    "kill/manifest.before": "SkipsOnResume",
    "kill/manifest.after": "PositionOfTheLastRow",
    "kill/commit.after": "PositionOfTheLastRow",
    "kill/recovery.after_restore": "SkipsOnResume",
    "kill/random-1": "SkipsOnResume",
    "kill/random-2": "SkipsOnResume",
    "kill/random-3": "SkipsOnResume",
    "kill/random-4": "SkipsOnResume",
    "kill/random-5": "SkipsOnResume",
    "kill/two-subtasks": "PositionOfTheLastRow",
    "kill/rescale": "SkipsOnResume",
    "follow/new-parts": "LooksOnce",
    "follow/killed": "FollowsAndSkips",
}
"""By case: the broken source that it must catch."""

DIRECT = [name for name in CASES if name.startswith("contract/")]
WITH_PROCESSES = [name for name in CASES if name not in DIRECT]


def run(case: Case, source: SourceHarness, seed: int = 0) -> CaseResult:
    """Run one case on `source`, with the reference sink and store."""
    _, sink, store = reference_partners()
    return run_case(case, source=source, sink=sink, store=store, seed=seed)


def test_every_source_case_has_a_mutant() -> None:
    assert set(CATCHES) == set(CASES)


def test_every_source_mutant_is_used() -> None:
    assert {kind.__name__ for kind in MUTANTS} == set(CATCHES.values())


def test_source_cases_follow_the_capabilities() -> None:
    names = [
        case.name
        for case in contract_cases(
            SourceCapabilities(bounded=False, replayable=True, exact_positions=True, ordered_replay=False)
        )
    ]
    assert "source/contract/replay-keeps-the-order" not in names
    assert "source/contract/a-finished-split-stays-finished" not in names
    assert set(FOLLOWING) - set(BOUNDED) == {"contract/new-splits-are-found", "follow/new-parts", "follow/killed"}


@pytest.mark.parametrize("name", DIRECT)
def test_source_contract_case_catches_its_mutant(name: str) -> None:
    result = run(CASES[name], harness(CATCHES[name]))
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.parametrize("name", [name for name in DIRECT if name in BOUNDED])
def test_source_contract_case_passes_an_honest_source(name: str) -> None:
    result = run(BOUNDED[name], harness("Honest"))
    assert result.passed, result.problem


@pytest.mark.parametrize("name", [name for name in DIRECT if name in FOLLOWING])
def test_source_contract_case_passes_an_honest_source_that_follows(name: str) -> None:
    result = run(FOLLOWING[name], harness("Following"))
    assert result.passed, result.problem


@pytest.mark.kill
@pytest.mark.parametrize("name", WITH_PROCESSES)
def test_source_kill_case_catches_its_mutant(name: str) -> None:
    result = caught(lambda seed: run(CASES[name], harness(CATCHES[name]), seed=seed))
    assert result.reached
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("name", ["kill/manifest.after", "kill/random-1", "kill/two-subtasks", "kill/rescale"])
def test_source_kill_case_passes_an_honest_source(name: str) -> None:
    result = run(CASES[name], harness("Honest"))
    assert result.reached
    assert result.passed, result.problem


@pytest.mark.kill(kills=2)
def test_source_follow_case_passes_an_honest_source() -> None:
    result = run(CASES["follow/killed"], harness("Following"))
    assert result.passed, result.problem
