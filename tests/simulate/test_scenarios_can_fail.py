"""Each scenario of a rule fails when the rule is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulate import test_scenarios as scenarios
from tests.simulate.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Callable

BREAKS: list[tuple[str, Callable[..., None], dict[str, str]]] = [
    ("P4-abort", scenarios.test_failed_epoch_then_success, {}),
    ("P5-newest", scenarios.test_two_uncommitted_epochs_then_crash, {}),
    ("P5-newest", scenarios.test_rescale_with_pending_epochs, {}),
    ("P5-order", scenarios.test_failed_epoch_then_success, {}),
    ("P5-forget", scenarios.test_commits_that_have_to_wait, {}),
    ("P5-retire", scenarios.test_two_uncommitted_epochs_then_crash, {}),
    ("P9-read-first", scenarios.test_takeover_between_read_and_fence, {}),
    (
        "P9-no-fence",
        scenarios.test_manifest_of_a_writer_that_was_taken_over_meanwhile,
        {"label": "create log/", "wakes": "at once"},
    ),
    ("P11-abort", scenarios.test_zombie_abort_after_sigcont, {"label": "FileSink lists what"}),
    ("P14", scenarios.test_zombie_commit_after_sigcont, {"label": "TableSink applies"}),
    ("P15", scenarios.test_restore_of_an_older_savepoint, {}),
    ("P15", scenarios.test_marker_lost, {}),
]


@pytest.mark.parametrize(("mutant", "scenario", "options"), BREAKS)
def test_scenario_fails_when_its_rule_is_broken(
    mutant: str, scenario: Callable[..., None], options: dict[str, str]
) -> None:
    failures = 0
    with MUTANTS[mutant].applied():
        for seed in range(5):
            try:
                scenario(seed, **options)
            except AssertionError:
                failures += 1
    assert failures
