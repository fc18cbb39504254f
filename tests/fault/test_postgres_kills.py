"""Jobs over PostgreSQL, killed with SIGKILL, and the server under them too: nothing lost, nothing doubled.

A table is read by a plain client, Parquet by duckdb and by polars; all is compared with duckdb's answer over the input.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fault.harness import random_moments
from tests.fault.kafka_jobs import wait_until_stopped
from tests.fault.postgres_jobs import COMMIT_STEPS, left_to_commit, postgres_job, within_commit
from tests.integration.jobs import wait_until

pytestmark = [pytest.mark.server("postgres"), pytest.mark.timeout(180)]

STEPS = [
    "barrier.before_emit",
    "prepare.before",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.after",
    "retire.before",
    "retire.after",
    "finish.before",
    "finish.after",
]
RECOVERING = [
    "takeover.before",
    "takeover.after",
    "recovery.before_commit",
    "recovery.after_commit",
    "recovery.before_abort",
    "recovery.after_abort",
    "recovery.after_restore",
]


@pytest.mark.kill
@pytest.mark.parametrize("step", STEPS)
def test_job_into_a_table_is_exact_after_a_kill_at(tmp_path, database, step):
    killed = postgres_job(tmp_path, database, shape="tumble")
    assert killed.run(f"{step}=kill@{1 if step.startswith('finish') else 3}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", RECOVERING)
def test_job_into_a_table_is_exact_after_a_second_kill_during_recovery_at(tmp_path, database, step):
    killed = postgres_job(tmp_path, database)
    # Killed between prepare and ack, then again before commit: recovery has something to abort and to commit.
    assert killed.run("prepare.after=kill@3" if "abort" in step else "commit.before=kill@3").killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_job_into_a_table_is_exact_after_kills_within_commit(tmp_path, database, step):
    killed = postgres_job(tmp_path, database, rate=8_000)
    for nth in (3, 4, 5):
        assert killed.run(f"commit.during=kill@{within_commit(step, nth)}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(9))
def test_job_over_postgres_is_exact_after_kills_at_random_moments_and_parallelisms(tmp_path, database, seed):
    """From files to a table, from a table to files, and from table to table."""
    source, sink = [("parquet", "postgres"), ("postgres", "parquet"), ("postgres", "postgres")][seed % 3]
    killed = postgres_job(tmp_path, database, source=source, sink=sink, seed=seed)
    kills = 0
    for moment, parallelism in zip(random_moments(seed, 3, 0.5), (1, 3, 2), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        kills += killed.run(kill_after=moment).killed
    assert kills == 3
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("step", ["barrier.before_emit", "manifest.after", "commit.before"])
def test_job_out_of_a_table_is_exact_after_a_kill_at(tmp_path, database, step):
    killed = postgres_job(tmp_path, database, source="postgres", sink="parquet")
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(3))
def test_an_upsert_has_the_rows_of_the_answer_after_kills_at_random_moments(tmp_path, database, seed):
    killed = postgres_job(tmp_path, database, options={"mode": "upsert", "keys": ["id"]}, seed=seed)
    assert sum(killed.run(kill_after=moment).killed for moment in random_moments(40 + seed, 3, 0.5)) == 3
    killed.finish()
    killed.check()


# --- the server


@pytest.mark.kill
@pytest.mark.parametrize(("source", "sink"), [("parquet", "postgres"), ("postgres", "postgres")])
def test_job_is_exact_when_the_server_is_killed_under_it(tmp_path, own_postgres, source, sink):
    """A commit waits for the server and goes on; a source is opened again, by a restart of the job."""
    job = postgres_job(tmp_path, own_postgres.new_database(), source=source, sink=sink, rate=4_000)
    if source == "parquet":
        job.spec["session"]["restart_attempts"] = 0
    # The server dies with the thread that started it: that is this one.
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(job.finish)
        wait_until(lambda: any(int(entry.stem) > 5 for entry in job.log.glob("*.json")))
        own_postgres.kill()
        assert not finished.done()
        own_postgres.start()
        finished.result(60)
    job.check()


@pytest.mark.kill
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_job_is_exact_when_the_server_is_killed_within_a_commit(tmp_path, own_postgres, step):
    job = postgres_job(tmp_path, own_postgres.new_database(), rate=4_000, restart_attempts=0)
    with ThreadPoolExecutor(1) as pool, job.process(f"commit.during=stop@{within_commit(step, 4)}") as process:
        wait_until_stopped(process)
        own_postgres.kill()
        own_postgres.start()
        os.kill(process.pid, signal.SIGCONT)
        _, errors = pool.submit(process.communicate, timeout=60).result(70)
        assert process.returncode == 0, errors
    job.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", ["marked", "copied"])
def test_a_job_and_its_server_killed_within_a_transaction(tmp_path, own_postgres, step):
    """The server first, so that nothing of the transaction is rolled back in order."""
    job = postgres_job(tmp_path, own_postgres.new_database(), restart_attempts=0)
    with job.process(f"commit.during=stop@{within_commit(step)}") as process:
        wait_until_stopped(process)
        own_postgres.kill()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert left_to_commit(job)
    own_postgres.start()
    job.finish()
    job.check()


@pytest.mark.fault
def test_job_is_exact_when_the_server_is_shut_down_in_order(tmp_path, own_postgres):
    job = postgres_job(tmp_path, own_postgres.new_database(), rate=4_000, restart_attempts=0)
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(job.finish)
        wait_until(lambda: any(int(entry.stem) > 5 for entry in job.log.glob("*.json")))
        own_postgres.stop()
        own_postgres.start()
        finished.result(60)
    job.check()
