"""The Kafka source against a real broker: where it begins and ends, what it sees, what it refuses."""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore
from krishiv_connectors import SourceContext
from krishiv_connectors.kafka._errors import (
    BadClientProperty,
    BadKafkaRecord,
    KafkaRefused,
    OffsetGone,
    SchemaDrift,
    TopicMissing,
    TopicRecreated,
)
from krishiv_guarantees import ConfigurationError, KrishivError
from tests.integration.jobs import wait_until
from tests.integration.kafka.clients import WAIT, begin
from tests.services.fixtures import create_topic

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from krishiv_connectors import Reader

pytestmark = [pytest.mark.server("kafka"), pytest.mark.timeout(90)]

SCHEMA = pa.schema([("n", pa.int64())])
# Records as old as the epoch would fall to the broker's retention.
BEGAN = int(time.time()) // 10 * 10 - 600


def put(client: Mapping[str, Any], topic: str, numbers: Sequence[int], partition: int = 0, **options: Any) -> None:
    producer = Producer({**client, "log_level": 0})
    for number in numbers:
        producer.produce(topic, json.dumps({"n": number}).encode(), partition=partition, **options)
    assert producer.flush(WAIT) == 0


def source(client: Mapping[str, Any], topic: str | list[str], **options: Any) -> ks.KafkaSource:
    options.setdefault("schema", SCHEMA)
    return ks.KafkaSource(client["bootstrap.servers"], topic, **options)


def collected(source: ks.Source[Any], **options: Any) -> list[dict[str, Any]]:
    return ks.read(source, name="in", **options).collect().to_pylist()


def numbers(source: ks.Source[Any], **options: Any) -> list[int]:
    return sorted(row["n"] for row in collected(source, **options))


@pytest.fixture
def session():
    with ks.Session(checkpoint_interval=None, restart_attempts=0) as made:
        yield made


# --- what is read


def test_bounded_source_reads_every_partition_up_to_its_end(kafka, topic):
    name = topic(3)
    for partition in range(3):
        put(kafka.client(), name, range(partition * 100, partition * 100 + 50), partition)
    assert numbers(source(kafka.client(), name, until="latest")) == [*range(50), *range(100, 150), *range(200, 250)]


def test_bounded_source_ends_where_partitions_are_empty(kafka, topic):
    name = topic(2)
    put(kafka.client(), name, [7], 1)
    assert numbers(source(kafka.client(), name, until="latest")) == [7]
    assert numbers(source(kafka.client(), topic(1), until="latest")) == []


def test_several_topics_are_one_source(kafka, topic):
    one, two = topic(2), topic(1)
    put(kafka.client(), one, [1, 2])
    put(kafka.client(), one, [3], 1)
    put(kafka.client(), two, [4])
    assert numbers(source(kafka.client(), [one, two], until="latest")) == [1, 2, 3, 4]


def test_records_of_aborted_and_open_transactions_are_not_seen(kafka, topic):
    name = topic(1)
    begin(kafka.client(), name, b'{"n": 1}').abort_transaction(WAIT)
    begin(kafka.client(), name, b'{"n": 2}').commit_transaction(WAIT)
    begin(kafka.client(), name, b'{"n": 3}').abort_transaction(WAIT)
    assert numbers(source(kafka.client(), name, until="latest")) == [2]
    assert numbers(source(kafka.client(), name, until="latest", isolation="read_uncommitted")) == [1, 2, 3]


def test_metadata_comes_as_columns(kafka, topic):
    name = topic(2)
    moment = BEGAN * 1_000 + 123
    put(kafka.client(), name, [5], 1, key=b"k", timestamp=moment, headers=[("a", b"1"), ("a", b"2")])
    (row,) = collected(source(kafka.client(), name, until="latest", metadata=True))
    assert row == {
        "n": 5,
        "_key": b"k",
        "_topic": name,
        "_partition": 1,
        "_offset": 0,
        "_timestamp": datetime.fromtimestamp(moment / 1000, UTC),
        "_headers": [("a", b"1"), ("a", b"2")],
    }


def test_a_choice_of_metadata_is_enough_for_event_time(kafka, topic):
    name = topic(1)
    for second in (1, 2, 11):
        put(kafka.client(), name, [second], timestamp=(BEGAN + second) * 1_000)
    stream = ks.read(
        source(kafka.client(), name, until="latest", metadata=["timestamp"]),
        event_time="_timestamp",
        watermark=ks.bounded_delay("1s"),
        name="in",
    )
    windows = stream.window(ks.tumble("10s")).aggregate(name="w", rows=ks.count()).collect().to_pylist()
    assert [window["rows"] for window in windows] == [2, 1]


@pytest.mark.parametrize("format", ["raw", "string"])
def test_values_come_as_they_are(kafka, topic, format):
    name = topic(1)
    begin(kafka.client(), name, b"one", b"two").commit_transaction(WAIT)
    rows = collected(ks.KafkaSource(kafka.bootstrap, name, format=format, until="latest"))
    wanted = [b"one", b"two"] if format == "raw" else ["one", "two"]
    assert [row["value"] for row in rows] == wanted


# --- bad records


def test_a_bad_record_fails_the_job_and_names_its_place(kafka, topic):
    name = topic(1)
    begin(kafka.client(), name, b'{"n": 1}', b"\xff poison").commit_transaction(WAIT)
    with pytest.raises(BadKafkaRecord, match=f"topic '{name}', partition 0, offset 1") as raised:
        collected(source(kafka.client(), name, until="latest"))
    assert raised.value.fields["raw"] == b"\xff poison"


def test_bad_records_go_to_the_dead_letters_with_topic_partition_offset_and_bytes(kafka, topic, session):
    name, letters, out = topic(1), ks.MemorySink(), ks.MemorySink()
    begin(kafka.client(), name, b'{"n": 1}', b"poison", b'{"n": "text"}', b'{"n": 2}').commit_transaction(WAIT)
    stream = ks.read(source(kafka.client(), name, until="latest", metadata=["offset"]), name="in", on_bad_row=letters)
    session.run(stream.write(out, name="out"), job="j")
    assert [(row["n"], row["_offset"]) for row in out.table().to_pylist()] == [(1, 0), (2, 3)]
    assert [(row["place"], row["raw"]) for row in letters.table().to_pylist()] == [
        (f"{name}/0@1", b"poison"),
        (f"{name}/0@2", b'{"n": "text"}'),
    ]


# --- where it begins


def test_start_latest_is_decided_once(kafka, topic, session):
    """Records that come while the job is stopped are read, although "latest" is behind them by then."""
    name, store, out = topic(1), MemoryStore(), ks.MemorySink()
    put(kafka.client(), name, [1, 2])
    pipeline = ks.read(source(kafka.client(), name, start="latest"), name="in").write(out, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        handle.stop()
    put(kafka.client(), name, [3, 4])
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 2)
        handle.stop()
    assert sorted(row["n"] for row in out.table().to_pylist()) == [3, 4]


def test_start_at_a_moment_and_at_offsets(kafka, topic):
    name = topic(2)
    for second in (1, 5, 9):
        put(kafka.client(), name, [second], timestamp=(BEGAN + second) * 1_000)
        put(kafka.client(), name, [second + 100], 1, timestamp=(BEGAN + second) * 1_000)
    moment = datetime.fromtimestamp(BEGAN + 5, UTC)
    assert numbers(source(kafka.client(), name, start=moment, until="latest")) == [5, 9, 105, 109]
    late = datetime.fromtimestamp(BEGAN + 50, UTC)
    assert numbers(source(kafka.client(), name, start=late, until="latest")) == []
    assert numbers(source(kafka.client(), name, start={0: 2, 1: 1}, until="latest")) == [9, 105, 109]
    assert numbers(source(kafka.client(), name, start={(name, 0): 2}, until="latest")) == [9, 101, 105, 109]


def test_group_offsets_are_published_after_the_commit_and_can_be_started_from(kafka, topic, session):
    name, group = topic(1), f"group of {topic(1)}"
    put(kafka.client(), name, [1, 2, 3])
    read = source(kafka.client(), name, until="latest", group=group)
    session.run(ks.read(read, name="in").write(ks.MemorySink(), name="out"), job="j")
    with closing(Consumer({**kafka.client(), "group.id": group})) as consumer:
        assert [at.offset for at in consumer.committed([TopicPartition(name, 0)], timeout=WAIT)] == [3]
    put(kafka.client(), name, [4])
    assert numbers(source(kafka.client(), name, start="group", group=group, until="latest")) == [4]


def test_group_that_has_no_offsets_begins_at_the_oldest_record(kafka, topic):
    name = topic(1)
    put(kafka.client(), name, [1])
    assert numbers(source(kafka.client(), name, start="group", group=f"none of {name}", until="latest")) == [1]


def test_position_before_the_first_record_is_the_beginning(kafka, topic):
    """A barrier may come before anything was fetched: what it stores must not be the end."""
    name = topic(1)
    put(kafka.client(), name, [1, 2])
    read = source(kafka.client(), name, until="latest")
    (split,) = read.splits()
    with closing(SourceContext()) as context, closing(read.open(split, split.start, context)) as reader:
        positions, rows = [reader.position()], 0
        while not reader.finished:
            batch = reader.read()
            rows += 0 if batch is None else batch.num_rows
            positions.append(reader.position())
    assert rows == 2
    assert sorted(set(positions) - {1}) == [0, 2]


def test_where_the_oldest_record_was_is_remembered_when_it_is_gone(kafka, topic):
    """A barrier may come before a partition was read at all, and its records be deleted after."""
    name = topic(1)
    put(kafka.client(), name, [1, 2, 3])
    read = source(kafka.client(), name)
    (split,) = read.splits()
    (later,) = read.later_splits()
    assert split.start == later.start == 0
    admin = AdminClient(kafka.client())
    for future in admin.delete_records([TopicPartition(name, 0, 2)]).values():
        future.result(WAIT)
    with pytest.raises(OffsetGone), closing(SourceContext()) as ctx, closing(read.open(split, 0, ctx)) as reader:
        taken(reader, 1)
    assert read.splits()[0].start == 2


# --- while it runs


def test_new_partitions_are_found_and_read_from_their_beginning(kafka, topic, session):
    name, out = topic(1), ks.MemorySink()
    put(kafka.client(), name, [1])
    read = source(kafka.client(), name, start="latest", discovery_interval=0.05)
    with session.start_in(MemoryStore(), ks.read(read, name="in").write(out, name="out"), job="j") as handle:
        wait_until(lambda: handle.status().state == "running")
        put(kafka.client(), name, [2])
        wait_until(lambda: handle.status().rows_in == 1)
        admin = AdminClient(kafka.client())
        admin.create_partitions([NewPartitions(name, 2)])[name].result(WAIT)
        wait_until(lambda: len(admin.list_topics(name).topics[name].partitions) == 2)
        put(kafka.client(), name, [3, 4], 1)
        wait_until(lambda: handle.status().rows_in == 3)
        handle.stop()
    assert sorted(row["n"] for row in out.table().to_pylist()) == [2, 3, 4]


def test_stopping_and_going_on_reads_each_record_once(kafka, topic):
    name, store, out = topic(3), MemoryStore(), ks.MemorySink()
    for partition in range(3):
        put(kafka.client(), name, range(partition * 1_000, partition * 1_000 + 400), partition)
    for parallelism in (1, 3, 2):
        with ks.Session(parallelism=parallelism, checkpoint_interval="20ms", batch_rows=16) as session:
            pipeline = ks.read(source(kafka.client(), name), name="in", max_rate=2_000).write(out, name="out")
            before = len(out.table()) if out.batches else 0
            with session.start_in(store, pipeline, job="j") as handle:
                wait_until(lambda handle=handle, most=1_200 - before: handle.status().rows_in >= min(100, most))
                handle.stop()
    with ks.Session(checkpoint_interval=None) as session:
        pipeline, left = (
            ks.read(source(kafka.client(), name), name="in").write(out, name="out"),
            1_200 - len(out.table()),
        )
        with session.start_in(store, pipeline, job="j") as handle:
            wait_until(lambda: handle.status().rows_in >= left)
            handle.stop()
    assert sorted(row["n"] for row in out.table().to_pylist()) == [
        *range(400),
        *range(1_000, 1_400),
        *range(2_000, 2_400),
    ]


def test_a_broker_that_restarts_is_read_on(own_kafka, session):
    from tests.services.fixtures import create_topic

    name, out = create_topic(own_kafka.client(), 1), ks.MemorySink()
    put(own_kafka.client(), name, [1])
    # A client waits up to ten seconds before it tries again; as long as a busy machine takes to start a broker.
    again = {"reconnect.backoff.max.ms": 500}
    read = ks.KafkaSource(own_kafka.bootstrap, name, schema=SCHEMA, discovery_interval=0.2, client=again)
    pipeline = ks.read(read, name="in").write(out, name="out")
    with session.start_in(MemoryStore(), pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        own_kafka.kill()
        own_kafka.start()
        put(own_kafka.client(), name, [2])
        wait_until(lambda: handle.status().rows_in == 2)
        handle.stop()
    assert sorted(row["n"] for row in out.table().to_pylist()) == [1, 2]


# --- schemas


def test_schema_is_inferred_from_the_first_records_and_pinned(kafka, topic, session):
    name, store = topic(1), MemoryStore()
    begin(kafka.client(), name, b'{"n": 1, "s": "a"}').commit_transaction(WAIT)
    read = source(kafka.client(), name, schema=None)
    assert read.schema() == pa.schema([("n", pa.int64()), ("s", pa.string())])
    out = ks.MemorySink()
    with session.start_in(store, ks.read(read, name="in").select("n").write(out, name="out"), job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        handle.stop()
    begin(kafka.client(), name, b'{"n": 1, "s": "a", "more": 1.5}').commit_transaction(WAIT)
    again = ks.read(source(kafka.client(), name, schema=None), name="in").select("n")
    handle = session.start_in(store, again.write(out, name="out"), job="j")
    with pytest.raises(SchemaDrift, match="not the one that the job began with"):
        handle.wait(20)


def test_nothing_can_be_inferred_from_an_empty_topic(kafka, topic):
    with pytest.raises(ConfigurationError, match="is empty"):
        source(kafka.client(), topic(1), schema=None).schema()


# --- what is refused


def failure(
    session: ks.Session, store: MemoryStore, read: ks.Source[Any], out: ks.MemorySink | None = None
) -> KrishivError:
    with pytest.raises(KrishivError) as raised:
        session.start_in(store, ks.read(read, name="in").write(out or ks.MemorySink(), name="out"), job="j").wait(60)
    assert raised.value.hint
    return raised.value


def make_again(client: Mapping[str, Any], name: str) -> None:
    """Delete a topic, and make one of the same name, as soon as the broker lets it."""
    admin = AdminClient({**client, "log_level": 0})
    admin.delete_topics([name])[name].result(WAIT)
    wait_until(lambda: admin.create_topics([NewTopic(name, 1, 1)])[name].exception(WAIT) is None)


@contextmanager
def opened(read: ks.KafkaSource) -> Generator[Reader[int]]:
    """Give a reader of the one partition."""
    (split,) = read.splits()
    ctx = SourceContext()
    with closing(ctx), closing(read.open(split, split.start, ctx)) as reader:
        yield reader


def taken(reader: Reader[int], count: int) -> list[int]:
    """Read until there are `count` records, and return them."""
    found: list[int] = []

    def enough() -> bool:
        batch = reader.read()
        found.extend([] if batch is None else batch.column("n").to_pylist())
        return len(found) >= count

    wait_until(enough)
    return found


def test_a_topic_that_was_made_again_is_refused(kafka, topic, session):
    name, store, out = topic(1), MemoryStore(), ks.MemorySink()
    put(kafka.client(), name, [1])
    pipeline = ks.read(source(kafka.client(), name), name="in").write(out, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        handle.stop()
    make_again(kafka.client(), name)
    put(kafka.client(), name, [1, 2, 3])
    assert isinstance(failure(session, store, source(kafka.client(), name), out), TopicRecreated)


def test_a_topic_that_is_made_again_while_it_is_read_is_refused_at_the_next_barrier(kafka, topic):
    """The client goes on in the new topic as if nothing had happened, at an offset that is there too."""
    name = topic(1)
    put(kafka.client(), name, [1, 2, 3])
    with opened(source(kafka.client(), name)) as reader:
        assert taken(reader, 3) == [1, 2, 3]
        assert reader.position() == 3
        make_again(kafka.client(), name)
        put(kafka.client(), name, range(10, 20))
        taken(reader, 1)
        with pytest.raises(TopicRecreated) as raised:
            reader.position()
    assert raised.value.hint


def test_a_topic_that_is_made_again_and_is_shorter_is_named_so(kafka, topic):
    name = topic(1)
    put(kafka.client(), name, [1, 2, 3])
    with opened(source(kafka.client(), name)) as reader:
        taken(reader, 3)
        make_again(kafka.client(), name)
        put(kafka.client(), name, [4])
        with pytest.raises((TopicRecreated, TopicMissing)):
            taken(reader, 1)


def test_a_barrier_does_not_wait_for_brokers_that_are_away(own_kafka):
    """Whether the topic is still the same is asked at the next one."""
    name = create_topic(own_kafka.client())
    put(own_kafka.client(), name, [1, 2, 3])
    with opened(source(own_kafka.client(), name)) as reader:
        taken(reader, 3)
        own_kafka.kill()
        began = time.monotonic()
        assert reader.position() == 3
        assert time.monotonic() - began < 5
        own_kafka.start()
        make_again(own_kafka.client(), name)
        with pytest.raises((TopicRecreated, TopicMissing)):
            reader.position()


def test_a_topic_that_is_deleted_while_it_is_read_stops_the_job(kafka, topic, session):
    name = topic(1)
    put(kafka.client(), name, [1])
    pipeline = ks.read(source(kafka.client(), name, discovery_interval=0.1), name="in").write(
        ks.MemorySink(), name="out"
    )
    handle = session.start_in(MemoryStore(), pipeline, job="j")
    wait_until(lambda: handle.status().rows_in == 1)
    admin = AdminClient(kafka.client())
    admin.delete_topics([name])[name].result(WAIT)
    with pytest.raises(TopicMissing):
        handle.wait(60)


def test_records_that_were_deleted_before_they_were_read_are_an_error(kafka, topic, session):
    name, store, out = topic(1), MemoryStore(), ks.MemorySink()
    put(kafka.client(), name, [1])
    pipeline = ks.read(source(kafka.client(), name), name="in").write(out, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        handle.stop()
    put(kafka.client(), name, [2, 3, 4])
    place = TopicPartition(name, 0, 3)
    admin = AdminClient(kafka.client())
    admin.delete_records([place])[place].result(WAIT)
    error = failure(session, store, source(kafka.client(), name), out)
    assert isinstance(error, OffsetGone)
    assert error.fields["partition"] == 0


def test_a_topic_that_is_not_there_is_refused(kafka, session):
    assert isinstance(failure(session, MemoryStore(), source(kafka.client(), "nowhere")), TopicMissing)


def test_a_wrong_password_is_refused_and_never_shown(new_broker, session):
    broker = new_broker(security="sasl_plain")
    client = {key: value for key, value in broker.client("alice", "wrong-canary").items() if key != "bootstrap.servers"}
    read = ks.KafkaSource(broker.bootstrap, "any", schema=SCHEMA, client=client)
    error = failure(session, MemoryStore(), read)
    assert isinstance(error, KafkaRefused)
    assert "wrong-canary" not in f"{error} {error.fields} {vars(read)}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("group.id", "group="),
        ("isolation.level", "isolation="),
        ("enable.idempotence", "always on"),
        ("sasl.pasword", "did you mean 'sasl.password'"),
        ("linger", "linger.ms"),
        ("colour", "CONFIGURATION"),
    ],
)
def test_client_properties_are_an_allow_list(name, hint):
    with pytest.raises(BadClientProperty) as raised:
        ks.KafkaSource("localhost:1", "t", schema=SCHEMA, client={name: "x"})
    assert hint.split()[0] in raised.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"start": "newest"},
        {"start": "group"},
        {"start": {0: -5}},
        {"until": "tomorrow"},
        {"isolation": "serializable"},
        {"metadata": ["age"]},
        {"metadata": ["key"], "schema": pa.schema([("_key", pa.int64())])},
        {"format": "jsn"},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused_at_once(options):
    with pytest.raises(ConfigurationError) as raised:
        source({"bootstrap.servers": "localhost:1"}, "t", **options)
    assert raised.value.hint
