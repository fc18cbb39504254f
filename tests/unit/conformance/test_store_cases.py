"""Every case of the store matrix catches a store that breaks its rule, and passes the one that is shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import run_case
from krishiv_conformance._matrix import reference_partners, store_cases
from tests.unit.conformance import store_mutants
from tests.unit.conformance.caught import caught
from tests.unit.conformance.store_mutants import MUTANTS

if TYPE_CHECKING:
    from krishiv_conformance import Case, CaseResult, StoreHarness

CASES = {case.name.removeprefix("store/"): case for case in store_cases()}

CATCHES = {
    "contract/what-was-created-is-there-for-others": "TruncatesLargeBlobs",
    "contract/create-never-replaces": "Overwrites",
    "contract/racing-creates-have-one-winner": "LooksThenWrites",
    "contract/a-writer-publishes-when-it-finishes": "WritesInPlace",
    "contract/a-writer-may-learn-its-key-at-the-end": "KeepsTheFirstKey",
    "contract/a-writer-that-is-left-leaves-nothing": "PublishesWhatWasLeft",
    "contract/keys-are-listed-by-prefix-in-order": "ListsByFolder",
    "contract/deleted-keys-are-gone": "DeletesNothing",
    "contract/missing-keys-are-named-errors": "EmptyWhenMissing",
    "hammer/kills-1": "WritesInPlace",
    "hammer/kills-2": "LooksThenWrites",
    "kill/ack.before": "ForgetsTheLog",
    "kill/ack.after": "ForgetsTheLog",
    "kill/manifest.before": "ForgetsTheLog",
    "kill/manifest.after": "ForgetsTheLog",
    "kill/commit.before": "ForgetsTheLog",
    "kill/takeover.before": "ForgetsTheLog",
    "kill/takeover.after": "ForgetsTheLog",
    "kill/recovery.after_restore": "ForgetsTheLog",
    "kill/finish.before": "ForgetsTheLog",
    "kill/finish.after": "ForgetsTheLog",
    "kill/retire.before": "ForgetsTheLog",
    "kill/retire.after": "ForgetsTheLog",
    "kill/savepoint.before": "ForgetsTheLog",
    "kill/savepoint.after": "ForgetsTheLog",
    "kill/random-1": "ForgetsTheLog",
    "kill/random-2": "ForgetsTheLog",
    "kill/random-3": "ForgetsTheLog",
    "kill/random-4": "ForgetsTheLog",
    "kill/random-5": "ForgetsTheLog",
    "kill/again-and-again": "ForgetsTheLog",
    "zombie/manifest.before-alive": "OwnWorld",
    "zombie/manifest.before-finished": "OwnWorld",
    "zombie/manifest.after-alive": "OwnWorld",
    "zombie/manifest.after-finished": "OwnWorld",
}
"""By case: the broken store that it must catch."""

DIRECT = [name for name in CASES if name.startswith("contract/")]
WITH_PROCESSES = [name for name in CASES if name not in DIRECT]


def run(case: Case, store: StoreHarness, seed: int = 0) -> CaseResult:
    """Run one case on `store`, with the reference source and sink."""
    source, sink, _ = reference_partners()
    return run_case(case, source=source, sink=sink, store=store, seed=seed)


def mutant(name: str) -> StoreHarness:
    """Return the harness of a broken store."""
    harness: StoreHarness = getattr(store_mutants, f"{name}Harness")()
    return harness


def test_every_store_case_has_a_mutant() -> None:
    assert set(CATCHES) == set(CASES)


def test_every_store_mutant_is_used() -> None:
    assert {kind.__name__ for kind in MUTANTS} == set(CATCHES.values())


@pytest.mark.parametrize("name", DIRECT)
def test_store_contract_case_catches_its_mutant(name: str) -> None:
    result = run(CASES[name], mutant(CATCHES[name]))
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.parametrize("name", DIRECT)
def test_store_contract_case_passes_the_shipped_store(name: str) -> None:
    _, _, store = reference_partners()
    result = run(CASES[name], store)
    assert result.passed, result.problem


@pytest.mark.kill
@pytest.mark.parametrize("name", WITH_PROCESSES)
def test_store_kill_case_catches_its_mutant(name: str) -> None:
    result = caught(lambda seed: run(CASES[name], mutant(CATCHES[name]), seed=seed))
    assert not result.passed


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("name", ["hammer/kills-1", "kill/retire.after", "kill/again-and-again"])
def test_store_kill_case_passes_the_shipped_store(name: str) -> None:
    _, _, store = reference_partners()
    result = run(CASES[name], store)
    assert result.reached
    assert result.passed, result.problem
