"""A process that writes to a table is frozen, replaced, and wakes up again: it is fenced, and changes nothing."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.fault.harness import random_moments
from tests.fault.kafka_jobs import errors_of, freeze, wait_until_stopped
from tests.fault.postgres_jobs import COMMIT_STEPS, PostgresJob, postgres_job, within_commit

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = [pytest.mark.server("postgres"), pytest.mark.fault, pytest.mark.timeout(180)]


def replace_and_wake(frozen: PostgresJob, process: subprocess.Popen[str]) -> str:
    """Let another process finish the job, then wake the one that is stopped; returns what it printed to stderr."""
    frozen.spec["run"] = {"take_over": True}
    frozen.finish()
    contents, entries = frozen.contents(), frozen.entries()
    os.kill(process.pid, signal.SIGCONT)
    errors = errors_of(process)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert frozen.contents() == contents
    assert [entry for entry in frozen.entries() if entry >= entries[0]] == entries  # below, nobody looks any more
    frozen.check()
    return errors


@pytest.mark.parametrize(
    "step",
    [
        "prepare.after@3",
        "manifest.before@3",
        "commit.before@3",
        *(f"commit.during@{within_commit(step)}" for step in COMMIT_STEPS),
        "commit.after@2",
    ],
)
def test_a_zombie_changes_nothing_after_it_was_stopped_at(tmp_path: Path, database: str, step: str) -> None:
    """Within a transaction it holds a lock that its successor needs, which ends its connection."""
    frozen = postgres_job(tmp_path, database)
    name, _, at = step.partition("@")
    with frozen.process(f"{name}=stop@{at}") as process:
        wait_until_stopped(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors


@pytest.mark.parametrize("seed", range(3))
def test_a_zombie_changes_nothing_after_it_was_stopped_at_a_random_moment(
    tmp_path: Path, database: str, seed: int
) -> None:
    frozen = postgres_job(tmp_path, database, shape=["rows", "tumble", "rows"][seed], seed=seed)
    (moment,) = random_moments(100 + seed, 1, 0.8)
    with frozen.process() as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        time.sleep(moment)
        freeze(process)
        errors = replace_and_wake(frozen, process)
    assert "KS-FENCED" in errors, errors
