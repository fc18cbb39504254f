"""What a killed job left to be committed into a table: at other parallelisms, over several epochs, by two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.fault.kafka_jobs import errors_of
from tests.fault.postgres_jobs import PostgresJob, left_to_commit, postgres_job, within_commit
from tests.integration.jobs import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

pytestmark = [pytest.mark.server("postgres"), pytest.mark.timeout(180)]

PARALLELISMS = [(1, 3, 2), (3, 1, 2)]


def die_at(killed: PostgresJob, parallelisms: Iterable[int], failpoints: str) -> None:
    """Have the job die once at each of these parallelisms, each time with something left to be committed."""
    for parallelism in parallelisms:
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(failpoints).killed
        assert left_to_commit(killed)


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
@pytest.mark.parametrize("step", ["commit.before=kill@3", f"commit.during=kill@{within_commit('copied', 4)}"])
def test_what_waits_is_committed_at_another_parallelism(
    tmp_path: Path, database: str, step: str, parallelisms: tuple[int, ...]
) -> None:
    killed = postgres_job(tmp_path, database, rate=8_000)
    die_at(killed, parallelisms, step)
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
def test_several_epochs_that_wait_are_committed_in_their_order(
    tmp_path: Path, database: str, parallelisms: tuple[int, ...]
) -> None:
    """A commit hangs while barriers go on; the job dies with what has piled up behind it."""
    killed = postgres_job(tmp_path, database, max_pending_epochs=5, rate=8_000)
    for parallelism in parallelisms:
        die_at(killed, [parallelism], "commit.before=sleep:30@2;manifest.after=kill@5")
        assert max(len(epochs) for epochs in left_to_commit(killed).values()) >= 3
    killed.finish()
    killed.check()


@pytest.mark.fault
@pytest.mark.parametrize("at", [3, 7])
def test_of_two_processes_that_write_at_the_same_time_one_goes_on(tmp_path: Path, database: str, at: int) -> None:
    """The first is alive and writes when the second takes over."""
    job = postgres_job(tmp_path, database, rate=2_000)
    with job.process() as first, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: any(int(entry.stem) > at for entry in job.log.glob("*.json")))
        job.spec["run"] = {"take_over": True}
        finished = pool.submit(job.finish)
        errors = errors_of(first)
        assert first.returncode != 0
        finished.result(60)
    assert "KS-FENCED" in errors, errors
    job.check()
