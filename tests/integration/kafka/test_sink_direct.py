"""Sinks without staging: at least once, and upserts by key."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from krishiv_connectors import IdempotentSink, StagedSink
from krishiv_connectors.kafka._direct_sinks import AtLeastOnceKafkaSink, UpsertKafkaSink
from krishiv_connectors.kafka._errors import KafkaFailed, KafkaUnavailable
from krishiv_connectors.kafka._exactly_once_sink import ExactlyOnceKafkaSink
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from tests.integration.kafka.sinks import opened
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import read_topic
from tests.unit.sinks.contract import SCHEMA, batch

if TYPE_CHECKING:
    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")
CHANGES = pa.schema([("_op", pa.string()), ("id", pa.int64()), ("name", pa.string())])


def test_the_class_follows_from_mode_and_guarantee() -> None:
    made = {
        ExactlyOnceKafkaSink: [
            KafkaSink("b", "t"),
            KafkaSink("b", "t", mode="upsert", key="k", guarantee="exactly_once"),
        ],
        AtLeastOnceKafkaSink: [KafkaSink("b", "t", guarantee="at_least_once")],
        UpsertKafkaSink: [KafkaSink("b", "t", mode="upsert", key="k")],
    }
    for kind, sinks in made.items():
        assert {type(sink) for sink in sinks} == {kind}
    assert issubclass(ExactlyOnceKafkaSink, StagedSink)
    assert issubclass(UpsertKafkaSink, IdempotentSink)
    assert made[UpsertKafkaSink][0].capabilities().idempotent_by == ("k",)


def test_rows_are_there_after_flush(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(2)
    with opened(KafkaSink(kafka.bootstrap, name, guarantee="at_least_once")) as writer:
        for start in range(0, 3_000, 1_000):
            writer.write(batch(*range(start, start + 1_000)))
        writer.flush()
        assert len(read_topic(kafka.client(), name)) == 3_000
        writer.flush()


def test_a_full_queue_is_waited_for(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(1)
    client = {"queue.buffering.max.messages": 10}
    with opened(KafkaSink(kafka.bootstrap, name, guarantee="at_least_once", client=client)) as writer:
        writer.write(batch(*range(500)))
        writer.flush()
    assert len(read_topic(kafka.client(), name)) == 500


def test_messages_that_cannot_be_delivered_fail_this_flush_and_every_later_step(own_kafka: Broker) -> None:
    name = create_topic(own_kafka.client())
    client = {"message.timeout.ms": 2_000}
    with opened(KafkaSink(own_kafka.bootstrap, name, guarantee="at_least_once", client=client)) as writer:
        writer.write(batch(1))
        writer.flush()
        own_kafka.kill()
        writer.write(batch(2))
        for step in (writer.flush, writer.flush, lambda: writer.write(batch(3))):
            with pytest.raises((KafkaUnavailable, KafkaFailed)):
                step()


def test_closing_without_flush_does_not_wait(own_kafka: Broker) -> None:
    name = create_topic(own_kafka.client())
    with opened(KafkaSink(own_kafka.bootstrap, name, guarantee="at_least_once")) as writer:
        writer.write(batch(1))
        writer.flush()
        own_kafka.pause()
        writer.write(batch(2))
    own_kafka.resume()


def change(op: str, id: int, name: str) -> dict[str, Any]:
    """Return a row of a stream of changes."""
    return {"_op": op, "id": id, "name": name}


@pytest.mark.parametrize("guarantee", [None, "exactly_once"])
def test_changes_are_written_by_key(kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Any, guarantee: Any) -> None:
    name = topic(1, cleanup_policy="compact")
    sink = KafkaSink(kafka.bootstrap, name, mode="upsert", key="id", guarantee=guarantee, control_topic=f"{name}-marks")
    rows = [
        change("+I", 1, "a"),
        change("-U", 1, "a"),
        change("+U", 1, "b"),
        change("+I", 2, "c"),
        change("-D", 1, "b"),
    ]
    changes = pa.RecordBatch.from_pylist(rows, schema=CHANGES)
    if guarantee is None:
        with opened(sink, CHANGES) as writer:
            writer.write(changes)
            writer.flush()
    else:
        commit_once(sink, changes, tmp_path)
    written = [(record.key, record.value and json.loads(record.value)) for record in read_topic(kafka.client(), name)]
    assert written == [
        (b"1", {"id": 1, "name": "a"}),
        (b"1", {"id": 1, "name": "b"}),
        (b"2", {"id": 2, "name": "c"}),
        (b"1", None),
    ]


def commit_once(sink: KafkaSink, rows: pa.RecordBatch, folder: Any) -> None:
    """Prepare `rows` and commit them."""
    from krishiv_checkpoint import Committable, FilesystemStore

    store = FilesystemStore(folder)
    with opened(sink, rows.schema, store=store) as writer:
        writer.write(rows)
        payload = writer.prepare(1)
    with opened(sink, rows.schema, store=store, slot=None) as committer:
        committer.commit(1, [Committable("orders", 0, 1, 1, 0, payload)])


def test_an_upsert_into_a_topic_that_is_not_compacted_is_warned_of(
    kafka: SharedBroker, topic: NewNamedTopic, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "krishiv_stream"):
        KafkaSink(kafka.bootstrap, topic(1), mode="upsert", key="id").check(SCHEMA)
    assert "cleanup.policy is not compact" in caplog.text
