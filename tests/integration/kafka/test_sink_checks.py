"""What keeps a job from writing is said before it runs, with what to change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from krishiv_checkpoint import FilesystemStore
from krishiv_connectors import Secret
from krishiv_connectors.kafka._errors import (
    BadClientProperty,
    KafkaRefused,
    KafkaUnavailable,
    KafkaUnfit,
    TopicMissing,
)
from krishiv_connectors.kafka._facts import topic_settings
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_guarantees import ConfigurationError
from tests.integration.kafka.sinks import opened, stage, target_at
from tests.services.fixtures import create_topic
from tests.unit.sinks.contract import SCHEMA, Attempt, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.fixtures import NewBroker, NewNamedTopic
    from tests.services.kafka.broker import Broker
    from tests.services.kafka.shared import SharedBroker

pytestmark = pytest.mark.server("kafka")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"topic": ["a", "b"]}, "without topic_column"),
        ({"topic": []}, "without topic_column"),
        ({"mode": "replace"}, "mode="),
        ({"guarantee": "at_most_once"}, "guarantee="),
        ({"mode": "upsert"}, "without a key"),
        ({"partitioner": "mine"}, "partitioner="),
        ({"control_topic": "t"}, "control_topic"),
        ({"max_transaction_bytes": 0}, "max_transaction_bytes"),
        ({"transaction_timeout": "soon"}, "transaction_timeout"),
        ({"transaction_timeout": 0.1}, "transaction_timeout"),
        ({"create_topics": {"partitoins": 3}}, "partitoins"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        KafkaSink(**{"brokers": "nowhere:1", "topic": "t", **options})
    assert caught.value.hint


@pytest.mark.parametrize("name", ["acks", "enable.idempotence", "transactional.id"])
def test_properties_that_bear_on_the_guarantee_are_not_the_users(name: str) -> None:
    with pytest.raises(BadClientProperty):
        KafkaSink("nowhere:1", "t", client={name: "1"})


def test_secrets_are_in_no_description_of_the_sink() -> None:
    sink = KafkaSink("nowhere:1", "t", client={"sasl.password": "hunter2"})
    assert "hunter2" not in repr(vars(sink))
    assert dict(sink.guarantee_config()) == {"mode": "append", "guarantee": "exactly_once"}


def test_a_topic_that_is_missing_is_named(kafka: SharedBroker) -> None:
    with pytest.raises(TopicMissing, match="'not-there'"):
        KafkaSink(kafka.bootstrap, "not-there").check(SCHEMA)


def test_missing_topics_are_made_as_told(kafka: SharedBroker, tmp_path: Path, topic: NewNamedTopic) -> None:
    name = f"{topic(1)}-made"
    how = {"partitions": 4, "replication": 1, "config": {"max.message.bytes": 5_000}}
    target = target_at(kafka.client(), name, FilesystemStore(tmp_path), tmp_path, create_topics=how)
    target.sink().check(SCHEMA)
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    assert target.rows() == rows_of(1)
    assert topic_settings(target.sink()._clients, [name])[name]["max.message.bytes"] == "5000"


def test_the_control_topic_is_made_compacted(kafka: SharedBroker, tmp_path: Path, topic: NewNamedTopic) -> None:
    target = target_at(kafka.client(), topic(1), FilesystemStore(tmp_path), tmp_path)
    with Attempt(target):
        settings = topic_settings(target.sink()._clients, [target.options["control_topic"]])
    assert settings[target.options["control_topic"]]["cleanup.policy"] == "compact"


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_control_topic_that_forgets_is_refused(
    kafka: SharedBroker, tmp_path: Path, topic: NewNamedTopic, policy: str
) -> None:
    control = topic(1, cleanup_policy=policy)
    target = target_at(kafka.client(), topic(1), FilesystemStore(tmp_path), tmp_path, control_topic=control)
    with pytest.raises(KafkaUnfit, match=r"cleanup\.policy="), Attempt(target):
        pass


def test_marks_are_found_when_the_control_topic_got_more_partitions(
    kafka: SharedBroker, tmp_path: Path, topic: NewNamedTopic
) -> None:
    from confluent_kafka.admin import NewPartitions

    target = target_at(kafka.client(), topic(1), FilesystemStore(tmp_path), tmp_path)
    for epoch in range(1, 4):
        with Attempt(target, token=epoch) as attempt:
            assert [attempt.committer.last_applied(attempt.lineage, slot) for slot in range(4)] == [
                epoch - 1 or None
            ] * 4
            for slot in range(4):
                attempt.previous[slot] = epoch - 1
                attempt.commit(attempt.stage(slot, epoch, 10 * epoch + slot))
        admin = AdminClient(dict(kafka.client()))
        grown = admin.create_partitions([NewPartitions(target.options["control_topic"], 1 + 2 * epoch)])
        for future in grown.values():
            future.result(30)
        del admin, future, grown
    assert len(target.rows()) == 12


def test_transactions_longer_than_the_brokers_allow_are_refused(new_broker: NewBroker) -> None:
    broker = new_broker(settings={"transaction.max.timeout.ms": "10000"})
    name = create_topic(broker.client())
    with pytest.raises(KafkaUnfit, match=r"allow 10\.0 s"):
        KafkaSink(broker.bootstrap, name).check(SCHEMA)
    KafkaSink(broker.bootstrap, name, transaction_timeout="10s").check(SCHEMA)


def test_a_topic_that_takes_nothing_is_refused(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    with pytest.raises(KafkaUnfit, match=r"min\.insync\.replicas=2"):
        KafkaSink(kafka.bootstrap, topic(1, min_insync_replicas=2)).check(SCHEMA)


def test_a_compacted_topic_needs_a_key(kafka: SharedBroker, topic: NewNamedTopic) -> None:
    with pytest.raises(KafkaUnfit, match="compacted"):
        KafkaSink(kafka.bootstrap, topic(1, cleanup_policy="compact")).check(SCHEMA)


def test_a_topic_with_one_copy_is_warned_of(
    kafka: SharedBroker, topic: NewNamedTopic, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "krishiv_stream"):
        KafkaSink(kafka.bootstrap, topic(1)).check(SCHEMA)
    assert "one copy" in caplog.text


def test_a_broker_that_is_away_is_passing_trouble(own_kafka: Broker) -> None:
    name = create_topic(own_kafka.client())
    own_kafka.kill()
    with pytest.raises(KafkaUnavailable):
        KafkaSink(own_kafka.bootstrap, name).check(SCHEMA)


# ---------------------------------------------------------------- who may do what


def secure(broker: Broker, user: str, password: str | None = None, **options: Any) -> dict[str, Any]:
    """Return a sink's arguments for a user of a secured broker."""
    client = {name: value for name, value in broker.client(user, password).items() if name != "bootstrap.servers"}
    client["sasl.password"] = Secret(str(client["sasl.password"]))
    return {"brokers": broker.bootstrap, "client": client, **options}


def allow(broker: Broker, user: str, kind: ResourceType, name: str, *operations: str) -> None:
    """Let `user` do `operations` with what is called so, or begins so."""
    admin = AdminClient({**broker.client(), "log_level": 0})
    pattern = ResourcePatternType.PREFIXED if name.endswith("-") else ResourcePatternType.LITERAL
    bindings = [
        AclBinding(kind, name, pattern, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW)
        for operation in operations
    ]
    for future in admin.create_acls(bindings).values():
        future.result(30)


def test_a_wrong_password_is_refused(new_broker: NewBroker) -> None:
    broker = new_broker(security="sasl_plain")
    name = create_topic(broker.client())
    with pytest.raises(KafkaRefused) as caught:
        KafkaSink(topic=name, **secure(broker, "alice", "wrong")).check(SCHEMA)
    assert "wrong" not in str(caught.value)
    KafkaSink(topic=name, **secure(broker, "alice")).check(SCHEMA)


def test_what_a_user_may_not_do_is_named_one_by_one_until_it_may(new_broker: NewBroker, tmp_path: Path) -> None:
    broker = new_broker(security="sasl_plain", authorize=True)
    name = create_topic(broker.client())
    options = secure(broker, "alice", control_topic=f"{name}-marks")
    sink = KafkaSink(topic=name, **options)
    store = FilesystemStore(tmp_path)

    with pytest.raises(KafkaRefused, match=name):
        sink.check(SCHEMA)
    allow(broker, "alice", ResourceType.TOPIC, name, "DESCRIBE", "DESCRIBE_CONFIGS")
    with pytest.raises(KafkaRefused, match="may not write"):
        sink.check(SCHEMA)
    allow(broker, "alice", ResourceType.TOPIC, name, "WRITE")
    with pytest.raises(KafkaRefused, match="transactions") as caught:
        sink.check(SCHEMA)
    assert "transactional ids that begin" in str(caught.value.hint)
    allow(broker, "alice", ResourceType.TRANSACTIONAL_ID, "krishiv-", "WRITE", "DESCRIBE")
    sink.check(SCHEMA)
    with pytest.raises(KafkaRefused), opened(sink, slot=None, store=store):
        pass  # the control topic cannot be made
    allow(broker, "alice", ResourceType.TOPIC, f"{name}-marks", "CREATE", "READ", "WRITE", "DESCRIBE_CONFIGS")
    with opened(sink, slot=None, store=store) as committer:
        assert committer.marks("shop") == []
        committer.apply(0, 1, 0, 1, iter([]))
        assert committer.last_applied(committer.ctx.lineage, 0) == 1


def test_an_epoch_is_written_over_an_encrypted_connection(new_broker: NewBroker, tmp_path: Path) -> None:
    broker = new_broker(security="sasl_ssl")
    name = create_topic(broker.client())
    target = target_at(broker.client("alice"), name, FilesystemStore(tmp_path), tmp_path)
    committable = stage(target, 1, 1)
    with Attempt(target) as attempt:
        attempt.commit(committable)
    assert target.rows() == rows_of(1)
