"""The reader from outside: it sees what any reader of committed records could see, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.kafka.clients import WAIT, begin, send
from tests.services.fixtures import create_topic
from tests.support.kafka_reader import READ_UNCOMMITTED, Watcher, read_topic

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.fixtures import NewNamedTopic
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")


def test_reader_returns_nothing_from_an_empty_topic(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    assert read_topic(kafka.client(), topic(3)) == []


def test_reader_returns_all_parts_of_a_record(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name, then = topic(2), int(time.time() * 1_000) - 60_000  # a record of long ago would fall to the retention
    producer = begin(kafka.client(), name)
    producer.produce(name, b"v", b"k", partition=1, headers={"h": b"1"}, timestamp=then)
    producer.commit_transaction(WAIT)
    assert read_topic(kafka.client(), name) == [(1, 0, b"k", b"v", (("h", b"1"),), then)]


def test_reader_stops_before_an_open_transaction(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(1)
    send(kafka.client(), name, b"before")
    producer = begin(kafka.client(), name, b"open")
    send(kafka.client(), name, b"after")
    assert [record.value for record in read_topic(kafka.client(), name, settle=0)] == [b"before"]
    everything = read_topic(kafka.client(), name, READ_UNCOMMITTED)
    assert [record.value for record in everything] == [b"before", b"open", b"after"]
    producer.commit_transaction(WAIT)
    assert len(read_topic(kafka.client(), name)) == 3


def test_watcher_returns_what_was_committed_while_it_watched(
    kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Path
) -> None:
    name = topic(2)
    with Watcher(kafka.client(), name, tmp_path) as watcher:
        producer = begin(kafka.client(), name, b"a", b"b")
        producer.commit_transaction(WAIT)
        producer.begin_transaction()
        producer.produce(name, b"c")
        producer.abort_transaction(WAIT)
        seen = watcher.stop()
    assert sorted(seen) == read_topic(kafka.client(), name)
    assert sorted(record.value or b"" for record in seen) == [b"a", b"b"]


def test_watcher_goes_on_when_its_broker_comes_back(own_kafka: Broker, tmp_path: Path) -> None:
    name = create_topic(own_kafka.client())
    with Watcher(own_kafka.client(), name, tmp_path) as watcher:
        send(own_kafka.client(), name, b"a")
        own_kafka.kill()
        own_kafka.start()
        send(own_kafka.client(), name, b"b")
        assert [record.value for record in watcher.stop()] == [b"a", b"b"]


def test_watcher_that_is_not_stopped_is_ended(kafka: SharedBroker, topic: NewNamedTopic, tmp_path: Path) -> None:
    with Watcher(kafka.client(), topic(1), tmp_path):
        pass  # the check for what a test leaves behind sees to the rest
