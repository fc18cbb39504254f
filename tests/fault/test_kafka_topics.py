"""Topics that change, go away or are lost under jobs: what is there is exact, what is not is said."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.fault.harness import expected_rows, make_input
from tests.fault.kafka_jobs import (
    PARTITIONS,
    ROWS,
    errors_of,
    freeze_within_transaction,
    send,
    wait_until_stopped,
    within_commit,
)
from tests.integration.jobs import wait_until
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import end_offsets, read_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.server("kafka"), pytest.mark.fault, pytest.mark.timeout(120)]

_WAIT = 30.0


def ids(client: Mapping[str, Any], topic: str) -> Counter[int]:
    """Return how often each id is among the committed records of a topic."""
    return Counter(json.loads(record.value or b"{}")["id"] for record in read_topic(client, topic))


def expected_ids(job: Any, *more: str) -> Counter[int]:
    """Return the ids of the batch answer over the job's own rows, and over those of other files of Parquet."""
    answer = job.spec["answer"]
    patterns = (answer["pattern"], *more)
    return Counter(row[0] for each in patterns for row in expected_rows({**answer, "pattern": each}, "rows"))


def delete(client: Mapping[str, Any], topic: str) -> None:
    admin = AdminClient({**client, "log_level": 0})
    admin.delete_topics([topic])[topic].result(_WAIT)


def make_again(client: Mapping[str, Any], topic: str) -> None:
    admin = AdminClient({**client, "log_level": 0})
    wait_until(lambda: admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].exception(_WAIT) is None)


def check_refused_again(reading: Any, code: str) -> None:
    """Check that the job ends with `code` when it is run again, and that what it committed is a part of the answer."""
    again = reading.run()
    assert again.code != 0
    assert code in again.stderr
    found = ids(reading.client, reading.output)
    assert 0 < found.total() < ROWS
    assert not found - expected_ids(reading)


# --- what is read


def test_source_topic_deleted_under_a_job_is_an_error_and_what_was_committed_is_exact(job, kafka):
    client = kafka.client()
    reading = job(client, shape="rows", sink="kafka", rate=4_000)
    with reading.process("commit.before=stop@5") as process:
        wait_until_stopped(process)
        delete(client, reading.spec["source"]["topic"])
        os.kill(process.pid, signal.SIGCONT)
        errors = errors_of(process)
    assert process.returncode != 0
    assert "KS-KAFKA-TOPIC" in errors
    assert "hint" in errors
    check_refused_again(reading, "KS-KAFKA-TOPIC")


@pytest.mark.parametrize("records", [0, 300, 2 * ROWS], ids=["empty", "shorter", "longer"])
def test_source_topic_made_again_under_a_job_is_an_error_and_none_of_it_is_committed(job, kafka, records):
    """A longer one has records at every offset that the job still wants: its client reads on without a word."""
    client = kafka.client()
    reading = job(client, shape="rows", sink="kafka", rate=4_000)
    topic = reading.spec["source"]["topic"]
    with reading.process("commit.before=stop@5") as process:
        wait_until_stopped(process)
        delete(client, topic)
        make_again(client, topic)
        fill(client, topic, records)
        os.kill(process.pid, signal.SIGCONT)
        errors = errors_of(process)
    assert process.returncode != 0
    assert "KS-KAFKA-RECREATED" in errors
    assert "hint" in errors
    check_refused_again(reading, "KS-KAFKA-RECREATED")


def fill(client: Mapping[str, Any], topic: str, count: int) -> None:
    """Write rows whose ids the job's input does not have."""
    producer = Producer({**client, "log_level": 0})
    for number in range(count):
        row = {"id": 10_000_000 + number, "auction": 1, "price": 100, "date_time": "2026-01-01T00:00:00Z"}
        producer.produce(topic, json.dumps(row).encode(), partition=number % PARTITIONS)
        producer.poll(0)
    assert producer.flush(_WAIT) == 0


@pytest.mark.kill
def test_records_deleted_by_retention_before_they_were_read_are_an_error(job, kafka):
    client = kafka.client()
    reading = job(client, shape="rows", sink="kafka")
    topic = reading.spec["source"]["topic"]
    assert reading.run("commit.before=kill@3").killed
    admin = AdminClient({**client, "log_level": 0})
    for future in admin.delete_records([TopicPartition(topic, 0, -1)]).values():
        future.result(_WAIT)
    lost = reading.run()
    assert lost.code != 0
    assert "KS-KAFKA-OFFSET" in lost.stderr
    assert "retention.ms" in lost.stderr
    reading.check_seen()
    assert not ids(client, reading.output) - expected_ids(reading)


@pytest.mark.kill(kills=2)
def test_partitions_added_while_a_job_runs_and_while_it_is_down_are_read_whole(job, kafka, tmp_path):
    client = kafka.client()
    growing = job(
        client, shape="rows", sink="kafka", rate=8_000, source_options={"until": None, "discovery_interval": 0.2}
    )
    topic = growing.spec["source"]["topic"]
    more = [make_input(tmp_path / f"more-{number}", rows=2_000, seed=9 + number) for number in range(2)]

    with growing.process() as process:
        assert process.stdout is not None
        process.stdout.readline()
        grow(client, topic, 4)
        send(client, topic, more[0], (3,))
        wait_until(lambda: sum(ids(client, growing.output).values()) > ROWS // 2)
        process.kill()
        process.communicate()
    grow(client, topic, 5)
    send(client, topic, more[1], (4,))
    assert growing.run("commit.before=kill@3").killed

    wanted = expected_ids(growing, *more)
    with growing.process() as process:
        wait_until(lambda: ids(client, growing.output).total() >= wanted.total())
        process.terminate()
        errors_of(process)
    assert process.returncode == 0
    assert ids(client, growing.output) == wanted
    growing.check_seen()


def grow(client: Mapping[str, Any], topic: str, partitions: int) -> None:
    admin = AdminClient({**client, "log_level": 0})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(_WAIT)


@pytest.mark.kill(kills=3)
def test_several_topics_in_and_out_are_exact_after_kills(job, kafka, tmp_path):
    client = kafka.client()
    routed = job(client, shape="rows", sink="kafka", rate=8_000)
    second, out = create_topic(client, 2), create_topic(client, 2)
    more = make_input(tmp_path / "more", rows=5_000, seed=5)
    send(client, second, more, (0, 1))
    source, sink = routed.spec["source"], routed.spec["sinks"].pop("rows")
    outputs = [sink["topic"], out]
    source["topic"] = [source["topic"], second]
    routed.spec["sinks"]["routed"] = {**sink, "topic": outputs, "options": {"topic_column": "topic"}}
    for parallelism in (1, 3, 2):
        routed.spec["session"]["parallelism"] = parallelism
        assert routed.run(f"commit.during=kill@{within_commit('sent', 4)}").killed
    routed.finish()
    routed.check_seen()
    wanted = expected_ids(routed, more)
    for number, topic in enumerate(outputs):
        assert ids(client, topic) == Counter({id: count for id, count in wanted.items() if id % 2 == number})


@pytest.mark.kill(kills=2)
def test_empty_epochs_add_no_rows_and_lose_none(job, kafka, tmp_path):
    """A job idles, is killed while it idles, and gets rows after."""
    client = kafka.client()
    idle = job(client, shape="rows", sink="kafka", source_options={"until": None})
    filled, idle.spec["source"]["topic"] = idle.spec["source"]["topic"], create_topic(client, PARTITIONS)
    for _ in range(2):
        assert idle.run("commit.after=kill@6").killed
    assert set(end_offsets(client, idle.output).values()) == {0}
    with idle.process() as process:
        assert process.stdout is not None
        process.stdout.readline()
        send(client, idle.spec["source"]["topic"], idle.spec["answer"]["pattern"])
        wanted = expected_ids(idle)
        wait_until(lambda: ids(client, idle.output).total() >= wanted.total())
        process.terminate()
        errors_of(process)
    assert process.returncode == 0
    assert filled != idle.spec["source"]["topic"]
    idle.check()


# --- what is written


def test_output_topic_deleted_under_a_job_is_an_error_and_the_job_goes_on_when_it_is_made_again(job, kafka):
    client = kafka.client()
    writing = job(client, shape="rows", rate=4_000, sink="kafka", sink_options={"transaction_timeout": 5.0})
    with writing.process("commit.before=stop@5") as process:
        wait_until_stopped(process)
        before = ids(client, writing.output)
        delete(client, writing.output)
        os.kill(process.pid, signal.SIGCONT)
        errors = errors_of(process)
    assert process.returncode != 0
    assert "KS-KAFKA-TOPIC" in errors
    assert "hint" in errors
    make_again(client, writing.output)
    writing.finish()
    assert before + ids(client, writing.output) == expected_ids(writing)


def test_output_topic_made_again_under_a_job_gets_what_was_not_committed_before(job, kafka):
    """What was in it is gone with it; the job writes on as it would have."""
    client = kafka.client()
    writing = job(client, shape="rows", rate=4_000, sink="kafka", sink_options={"transaction_timeout": 5.0})
    with writing.process("commit.before=stop@5") as process:
        wait_until_stopped(process)
        before = ids(client, writing.output)
        delete(client, writing.output)
        make_again(client, writing.output)
        os.kill(process.pid, signal.SIGCONT)
        errors = errors_of(process)
    assert process.returncode == 0, errors
    assert 0 < before.total() < ROWS
    assert before + ids(client, writing.output) == expected_ids(writing)


@pytest.mark.kill
@pytest.mark.parametrize("step", ["sent", "marked"])
def test_job_is_exact_when_the_broker_is_killed_within_a_transaction(job, own_kafka, step):
    """The job is frozen there until the broker is down; it is not restarted."""
    writing = job(own_kafka.client(), shape="rows", sink="kafka", restart_attempts=0)
    with writing.process(f"commit.during=sleep:8@{within_commit(step)}") as process:
        freeze_within_transaction(writing, process)
        own_kafka.kill()
        os.kill(process.pid, signal.SIGCONT)
        own_kafka.start()
        errors = errors_of(process)
    assert process.returncode == 0, errors
    writing.check()
