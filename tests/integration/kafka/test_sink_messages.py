"""Rows become messages: keys, values, headers, partitions, times and topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from confluent_kafka import Producer

from krishiv_connectors._errors import UnencodableRow
from krishiv_connectors.kafka._errors import MessageTooLarge
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_guarantees import ConfigurationError
from tests.integration.kafka.clients import WAIT
from tests.integration.kafka.sinks import opened
from tests.support.kafka_reader import Record, read_topic

if TYPE_CHECKING:
    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("place", pa.int32()),
        ("tags", pa.map_(pa.string(), pa.string())),
        ("goes_to", pa.string()),
    ]
)


def row(id: int, **others: Any) -> dict[str, Any]:
    """Return a row."""
    return {"id": id, "name": f"n{id}", "at": None, "place": None, "tags": None, "goes_to": None, **others}


def sent(kafka: SharedBroker, topic: str | list[str], *rows: dict[str, Any], **options: Any) -> list[Record]:
    """Write `rows`, and return what is in the topic, or the topics one after the other."""
    sink = KafkaSink(kafka.bootstrap, topic, guarantee="at_least_once", **options)
    with opened(sink, SCHEMA) as writer:
        writer.write(pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA))
        writer.flush()
    topics = [topic] if isinstance(topic, str) else topic
    return [record for each in topics for record in read_topic(kafka.client(), each)]


@pytest.mark.parametrize(("key", "wanted"), [("id", b"7"), ("name", b"n7"), (None, None)])
def test_the_key_is_a_column_as_text(kafka: SharedBroker, topic: NewNamedTopic, key: str, wanted: bytes) -> None:
    (record,) = sent(kafka, topic(1), row(7), key=key, columns=["id", "name"])
    assert record.key == wanted
    assert json.loads(record.value or b"") == {"id": 7, "name": "n7"}


def test_the_value_holds_all_columns_but_those_of_the_message_itself(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(1)
    (record,) = sent(
        kafka, name, row(1, goes_to=name), key="id", headers="tags", partition="place", topic_column="goes_to"
    )
    assert json.loads(record.value or b"") == {"id": 1, "name": "n1", "at": None}


def test_headers_come_from_a_column_of_maps(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    rows = [row(1, tags=[("a", "x"), ("b", None)]), row(2, tags=[]), row(3)]
    first, second, third = sent(kafka, topic(1), *rows, headers="tags")
    assert first.headers == (("a", b"x"), ("b", None))
    assert second.headers == third.headers == ()


def test_headers_come_from_a_column_each(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    rows = [row(1), row(2, name=None)]
    first, second = sent(kafka, topic(1), *rows, headers={"number": "id", "who": "name"}, columns=["at"])
    assert first.headers == (("number", b"1"), ("who", b"n1"))
    assert second.headers == (("number", b"2"), ("who", None))


def test_a_column_names_the_partition_and_the_partitioner_decides_where_it_is_null(
    kafka: SharedBroker, topic: NewNamedTopic
) -> None:
    rows = [row(1, place=2), row(2, place=0), row(3)]
    records = sent(kafka, topic(3), *rows, key="id", partition="place")
    where = {record.key: record.partition for record in records}
    assert (where[b"1"], where[b"2"]) == (2, 0)
    assert len(records) == 3


def test_a_partition_that_does_not_exist_is_refused(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    for place in (3, -1):
        with pytest.raises(UnencodableRow, match="row 1 goes to partition"):
            sent(kafka, topic(3), row(1), row(2, place=place), partition="place")


def test_times_of_messages_are_those_of_a_column(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    moment = pa.scalar(1_700_000_000_123_456, pa.timestamp("us", "UTC")).as_py()
    first, second = sent(kafka, topic(1), row(1, at=moment), row(2), timestamp="at")
    assert first.timestamp == 1_700_000_000_123
    assert second.timestamp > first.timestamp


def test_a_time_further_ahead_than_the_topic_takes_is_refused(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=2)
    with pytest.raises(UnencodableRow, match="row 1 has a time further ahead"):
        sent(kafka, topic(1), row(1), row(2, at=ahead), timestamp="at")


def test_a_column_names_the_topic(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    one, two = topic(1), topic(1)
    records = sent(kafka, [one, two], row(1, goes_to=two), row(2, goes_to=one), topic_column="goes_to", key="id")
    assert [record.key for record in records] == [b"2", b"1"]
    for other in ("elsewhere", None):
        with pytest.raises(UnencodableRow, match="not one of those named"):
            sent(kafka, [one, two], row(1, goes_to=other), topic_column="goes_to")


def test_keys_land_where_java_producers_put_them(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(3)
    # Kafka's own test of its partitioner: murmur2("foobar") is -790332482, made positive by clearing the sign.
    (record,) = sent(kafka, name, row(1, name="foobar"), key="name")
    assert record.partition == (-790332482 & 0x7FFFFFFF) % 3


def test_a_message_too_large_for_its_topic_is_refused_when_it_is_written(
    kafka: SharedBroker, topic: NewNamedTopic
) -> None:
    name = topic(1, max_message_bytes=2_000)
    with pytest.raises(MessageTooLarge) as caught:
        sent(kafka, name, row(1), row(2, name="x" * 2_000))
    assert caught.value.fields["limit"] == 2_000
    assert caught.value.fields["size"] > 2_000
    many = [row(number, name="x" * 1_000) for number in range(50)]
    assert len(sent(kafka, name, *many)) == 50, "batches of the client are no larger than the topic takes"


@pytest.mark.parametrize("size", [1_000_000, 3_000_000])
def test_a_message_as_large_as_the_topic_takes_arrives(kafka: SharedBroker, topic: NewNamedTopic, size: int) -> None:
    name = topic(1, max_message_bytes=size + 1_000)
    (record,) = sent(kafka, name, row(1, name="x" * size), columns=["name"])
    assert len(record.value or b"") > size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": "nowhere"}, "no such column"),
        ({"key": "at"}, "of type timestamp"),
        ({"headers": "name"}, "a map of text"),
        ({"headers": {"h": "tags"}}, "text, binary or a whole number"),
        ({"partition": "name"}, "a whole number"),
        ({"timestamp": "id"}, "a timestamp"),
        ({"topic_column": "id"}, "it has to be text"),
        ({"columns": ["id", "nowhere"]}, "no such column"),
        ({"columns": []}, "no column is left"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_the_job_runs(
    kafka: SharedBroker, topic: NewNamedTopic, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        KafkaSink(kafka.bootstrap, topic(1), **options).check(SCHEMA)


def test_a_row_without_a_key_is_refused_where_the_topic_is_compacted(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    with pytest.raises(UnencodableRow, match="row 1 has no key"):
        sent(kafka, topic(1, cleanup_policy="compact"), row(1), row(2, name=None), key="name")


def test_a_transaction_left_by_others_does_not_keep_plain_messages_back(
    kafka: SharedBroker, topic: NewNamedTopic
) -> None:
    name = topic(1)
    other = Producer({**kafka.client(), "transactional.id": name, "log_level": 0})
    other.init_transactions(WAIT)
    other.begin_transaction()
    other.produce(name, b"{}")
    assert other.flush(WAIT) == 0
    sink = KafkaSink(kafka.bootstrap, name, guarantee="at_least_once")
    with opened(sink, SCHEMA) as writer:
        writer.write(pa.RecordBatch.from_pylist([row(1)], schema=SCHEMA))
        writer.flush()
    other.abort_transaction(WAIT)
    other.close()
    assert len(read_topic(kafka.client(), name)) == 1
