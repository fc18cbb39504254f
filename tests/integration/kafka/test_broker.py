"""The broker of the tests: what it keeps, what it hides, whom it refuses, and how it behaves when it is hurt."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.integration.kafka.clients import WAIT, begin, first_error, send
from tests.services.fixtures import create_topic
from tests.services.kafka.broker import BrokerFailed
from tests.support.kafka_reader import READ_COMMITTED, READ_UNCOMMITTED, read_topic

if TYPE_CHECKING:
    from tests.services.fixtures import NewBroker, NewNamedTopic
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.security import ClientSettings
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")


def values(client: ClientSettings, topic: str, isolation: str = READ_COMMITTED) -> list[object]:
    return [record.value for record in read_topic(client, topic, isolation)]


def test_topic_has_the_partitions_that_were_asked_for(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(3)
    described = AdminClient(kafka.client()).list_topics(name, timeout=WAIT)
    assert sorted(described.topics[name].partitions) == [0, 1, 2]
    assert list(described.brokers) == [1]


def test_topic_is_not_made_by_asking_for_it(kafka: SharedBroker) -> None:
    for _ in range(2):
        described = AdminClient(kafka.client()).list_topics("never-made", timeout=WAIT).topics["never-made"]
        assert described.error is not None
        assert described.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_committed_transaction_is_read_back(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(1)
    begin(kafka.client(), name, b"a", b"b").commit_transaction(WAIT)
    assert values(kafka.client(), name) == [b"a", b"b"]


def test_aborted_transaction_is_not_read_back(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    name = topic(1)
    begin(kafka.client(), name, b"a").abort_transaction(WAIT)
    send(kafka.client(), name, b"b")
    assert values(kafka.client(), name) == [b"b"]
    assert values(kafka.client(), name, READ_UNCOMMITTED) == [b"a", b"b"]


def test_broker_keeps_data_when_killed(own_kafka: Broker) -> None:
    topic, place = create_topic(own_kafka.client()), own_kafka.bootstrap
    send(own_kafka.client(), topic, b"a", b"b")
    own_kafka.kill()
    own_kafka.start()
    assert own_kafka.bootstrap == place
    send(own_kafka.client(), topic, b"c")
    assert values(own_kafka.client(), topic) == [b"a", b"b", b"c"]


def test_broker_keeps_data_when_restarted_in_order(own_kafka: Broker) -> None:
    topic, first = create_topic(own_kafka.client()), own_kafka.pid
    send(own_kafka.client(), topic, b"a")
    own_kafka.restart()
    assert own_kafka.pid != first
    assert values(own_kafka.client(), topic) == [b"a"]


def test_paused_broker_is_silent_until_it_is_resumed(own_kafka: Broker) -> None:
    topic = create_topic(own_kafka.client())
    own_kafka.pause()
    host, port = own_kafka.bootstrap.split(":")
    socket.create_connection((host, int(port)), WAIT).close()
    with pytest.raises(KafkaException):
        AdminClient({**own_kafka.client(), "log_level": 0}).list_topics(topic, timeout=1)
    own_kafka.resume()
    send(own_kafka.client(), topic, b"a")
    assert values(own_kafka.client(), topic) == [b"a"]


def test_two_brokers_know_nothing_of_each_other(new_broker: NewBroker) -> None:
    one, other = new_broker(), new_broker()
    topic = create_topic(one.client())
    assert topic not in AdminClient(other.client()).list_topics(timeout=WAIT).topics
    clusters = {AdminClient(broker.client()).list_topics(timeout=WAIT).cluster_id for broker in (one, other)}
    assert len(clusters) == 2


def test_broker_does_not_start_on_a_port_that_is_taken(own_kafka: Broker, new_broker: NewBroker) -> None:
    with pytest.raises(BrokerFailed, match="Address already in use"):
        new_broker(port=int(own_kafka.bootstrap.split(":")[1]))


@pytest.mark.parametrize("security", ["sasl_plain", "sasl_ssl"])
def test_user_is_refused_with_a_wrong_password(new_broker: NewBroker, security: str) -> None:
    broker = new_broker(security=security)
    topic = create_topic(broker.client())
    send(broker.client("alice"), topic, b"a")
    assert first_error(broker.client("alice", "wrong"), topic) == KafkaError._AUTHENTICATION
    assert values(broker.client("bob"), topic) == [b"a"]


def test_client_that_does_not_know_the_authority_is_refused(new_broker: NewBroker) -> None:
    broker = new_broker(security="sasl_ssl")
    topic = create_topic(broker.client())
    stranger = {name: value for name, value in broker.client().items() if name != "ssl.ca.location"}
    assert first_error(stranger, topic) == KafkaError._SSL


def test_user_writes_only_what_an_access_control_list_allows(new_broker: NewBroker) -> None:
    broker = new_broker(security="sasl_plain", authorize=True, super_users=("bob",))
    topic = create_topic(broker.client())
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        send(broker.client("alice"), topic, b"a")
    send(broker.client("bob"), topic, b"b")
    allow_writing(broker, "alice", topic)
    send(broker.client("alice"), topic, b"c")
    assert values(broker.client(), topic) == [b"b", b"c"]


def allow_writing(broker: Broker, user: str, topic: str) -> None:
    rule = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*")
    admin = AdminClient(broker.client())
    granted = admin.create_acls([AclBinding(*rule, AclOperation.WRITE, AclPermissionType.ALLOW)])
    for answer in granted.values():
        answer.result(WAIT)
