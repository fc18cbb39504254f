"""Jobs over Kafka, killed with SIGKILL, and the broker under them too: nothing lost, nothing doubled.

The output is Parquet, read by duckdb and by polars, or a topic, read by a plain consumer of committed records; it is
compared with duckdb's answer over the rows that were sent.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from confluent_kafka import Producer

from tests.fault.harness import Job, make_input, random_moments
from tests.integration.jobs import wait_until
from tests.services.fixtures import create_topic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(180)]

ROWS, RATE, PARTITIONS = 20_000, 16_000, 3
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


def send(client: Mapping[str, Any], topic: str, pattern: str) -> None:
    """Write the rows of Parquet files as JSON, in their order within each partition, with aborted ones between."""
    frame = pl.read_parquet(pattern)
    lines = frame.write_ndjson().encode().splitlines()
    producer = Producer({**client, "log_level": 0, "transactional.id": f"for-{topic}"})
    producer.init_transactions(30)
    for begin in range(0, len(lines), 1_000):
        for commit in (False, True):
            producer.begin_transaction()
            for index, line in enumerate(lines[begin : begin + 1_000]):
                producer.produce(topic, line, partition=index % PARTITIONS)
            assert producer.flush(30) == 0
            if commit:
                producer.commit_transaction(30)
            else:
                producer.abort_transaction(30)


def job(
    folder: Path,
    client: Mapping[str, Any],
    *,
    shape: str = "tumble",
    sink: str = "parquet",
    seed: int = 0,
    **session: Any,
) -> Job:
    """Return a job over a fresh topic, into Parquet files or into another topic."""
    pattern = make_input(folder / "in", rows=ROWS, seed=seed)
    topic = create_topic(client, PARTITIONS)
    send(client, topic, pattern)
    brokers = client["bootstrap.servers"]
    target = {"kind": "parquet", "path": str(folder / shape)}
    if sink == "kafka":
        target = {"kind": "kafka", "brokers": brokers, "topic": create_topic(client, PARTITIONS)}
    spec = {
        "source": {"kind": "kafka", "brokers": brokers, "topic": topic},
        "answer": {"kind": "parquet", "pattern": pattern},
        "rate": RATE,
        "sinks": {shape: target},
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "100ms", "parallelism": 2, **session},
    }
    return Job(folder, spec)


@pytest.mark.kill
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
@pytest.mark.parametrize("step", STEPS)
def test_job_over_kafka_is_exact_after_a_kill_at(tmp_path, kafka, step, sink):
    killed = job(tmp_path, kafka.client(), sink=sink)
    at = 1 if step.startswith("finish") else 3
    assert killed.run(f"{step}=kill@{at}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
@pytest.mark.parametrize("step", RECOVERING)
def test_job_over_kafka_is_exact_after_a_second_kill_during_recovery_at(tmp_path, kafka, step, sink):
    killed = job(tmp_path, kafka.client(), shape="rows", sink=sink)
    assert killed.run("commit.before=kill@3").killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(4))
def test_job_over_kafka_is_exact_after_kills_at_random_moments_and_parallelisms(tmp_path, kafka, seed):
    sink = ["parquet", "kafka"][seed // 2]
    killed = job(tmp_path, kafka.client(), shape=["tumble", "rows"][seed % 2], sink=sink, seed=seed)
    kills = 0
    for moment, parallelism in zip(random_moments(seed, 3, 0.5), (1, 3, 2), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        kills += killed.run(kill_after=moment).killed
    assert kills == 3
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("at", [5, 6, 7, 8])
def test_job_over_kafka_is_exact_after_kills_within_commit(tmp_path, kafka, at):
    """Between the steps of a transaction: begun, written, with its mark, committed."""
    killed = job(tmp_path, kafka.client(), shape="rows", sink="kafka")
    for _ in range(3):
        assert killed.run(f"commit.during=kill@{at}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("sink", ["parquet", "kafka"])
def test_job_over_kafka_is_exact_when_the_broker_is_killed_under_it(tmp_path, own_kafka, sink):
    """The job waits for the broker and goes on; it is not restarted for that."""
    job_of_it = job(tmp_path, own_kafka.client(), sink=sink, restart_attempts=0)
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
