"""Jobs over Kafka, killed with SIGKILL, and the broker under them too: nothing lost, nothing doubled.

The output is Parquet, read by duckdb and by polars, or a topic, read by a plain consumer of committed records; it is
compared with duckdb's answer over the rows that were sent.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fault.harness import random_moments
from tests.fault.kafka_jobs import COMMIT_STEPS, within_commit
from tests.integration.jobs import wait_until

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180)]

STEPS = [
    "barrier.before_emit",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.after",
    "finish.before",
    "finish.after",
]
RECOVERING = ["takeover.after", "recovery.before_commit", "recovery.after_commit", "recovery.after_restore"]


@pytest.mark.kill
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
@pytest.mark.parametrize("step", STEPS)
def test_job_over_kafka_is_exact_after_a_kill_at(job, kafka, step, sink):
    killed = job(kafka.client(), shape="tumble", sink=sink)
    at = 1 if step.startswith("finish") else 3
    assert killed.run(f"{step}=kill@{at}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
@pytest.mark.parametrize("step", RECOVERING)
def test_job_over_kafka_is_exact_after_a_second_kill_during_recovery_at(job, kafka, step, sink):
    killed = job(kafka.client(), shape="rows", sink=sink)
    assert killed.run("commit.before=kill@3").killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(12))
def test_job_over_kafka_is_exact_after_kills_at_random_moments_and_parallelisms(job, kafka, seed):
    sink = ["parquet", "kafka"][seed // 2 % 2]
    killed = job(kafka.client(), shape=["tumble", "rows"][seed % 2], sink=sink, seed=seed)
    kills = 0
    for moment, parallelism in zip(random_moments(seed, 3, 0.5), (1, 3, 2), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        kills += killed.run(kill_after=moment).killed
    assert kills == 3
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_job_over_kafka_is_exact_after_kills_within_commit(job, kafka, step):
    """Between the steps of a transaction: begun, sent, with its mark, committed."""
    killed = job(kafka.client(), shape="rows", sink="kafka", rate=8_000)
    for nth in (3, 4, 5):
        assert killed.run(f"commit.during=kill@{within_commit(step, nth)}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
def test_job_over_kafka_is_exact_when_the_broker_is_killed_under_it(job, own_kafka, tmp_path, sink):
    """The job waits for the broker and goes on; it is not restarted for that."""
    job_of_it = job(own_kafka.client(), shape="tumble", sink=sink, restart_attempts=0)
    job_of_it.spec["rate"] = 4_000  # for five seconds
    log = tmp_path / "data" / "jobs" / "job" / "log"
    # The broker dies with the thread that started it: that is this one.
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(job_of_it.finish)
        wait_until(lambda: any(int(entry.stem) > 5 for entry in log.glob("*.json")))
        own_kafka.kill()
        assert not finished.done()
        own_kafka.start()
        finished.result(60)
    job_of_it.check()
