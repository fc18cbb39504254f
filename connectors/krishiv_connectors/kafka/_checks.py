"""What has to be true of a cluster before a job writes to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from krishiv_connectors.kafka._client import kafka_errors
from krishiv_connectors.kafka._errors import KafkaRefused, KafkaUnfit
from krishiv_connectors.kafka._facts import broker_settings, may_write, topic_facts
from krishiv_connectors.kafka._topics import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors.kafka._client import Clients
    from krishiv_connectors.kafka._facts import TopicFacts
    from krishiv_connectors.kafka._messages import MessageShape

__all__ = ["check_cluster"]

_log = logging.getLogger("krishiv_stream")

_TRIAL = "krishiv-check"
"""A transactional id under which nothing is ever written. Sinks' own begin with ``krishiv-`` too."""


def check_cluster(clients: Clients, topics: Sequence[str], shape: MessageShape, *, transactions: float | None) -> None:
    """Raise if something would keep the sink from writing; log what narrows its guarantee.

    Parameters
    ----------
    transactions : float or None
        Seconds that transactions may take.

    Raises
    ------
    KafkaUnavailable, KafkaRefused, TopicMissing, KafkaUnfit
    """
    if transactions is not None:
        _check_timeout(clients, transactions)
    if topics:
        _check_topics(clients, topics, shape)
    if transactions is not None:
        _check_transactional_ids(clients, transactions)


def _check_timeout(clients: Clients, timeout: float) -> None:
    longest = broker_settings(clients).get("transaction.max.timeout.ms")
    if longest is not None and int(longest) < timeout * 1_000:
        raise KafkaUnfit(
            f"transaction_timeout is {timeout} s, and the brokers allow {int(longest) / 1_000} s",
            hint="lower transaction_timeout=, or raise the brokers' transaction.max.timeout.ms",
            setting="transaction.max.timeout.ms",
            found=longest,
        )


def _check_topics(clients: Clients, topics: Sequence[str], shape: MessageShape) -> None:
    for topic in topic_facts(clients, topics).values():
        _check_topic(topic, shape)
    for name, allowed in may_write(clients, topics).items():
        if not allowed:
            raise KafkaRefused(
                f"this user may not write to topic {name!r}", hint="grant it Write and Describe on the topic"
            )


def _check_transactional_ids(clients: Clients, timeout: float) -> None:
    """Take an id as the sink will: what a user may do with ids, brokers say in no other way."""
    producer = clients.producer(transactional_id=_TRIAL, transaction_timeout_ms=int(timeout * 1_000))
    with kafka_errors(f"transactions at {clients.brokers}"):
        producer.list_topics(timeout=PATIENCE)  # without a connection, what follows would wait half a second first
        producer.init_transactions(PATIENCE)


def _check_topic(topic: TopicFacts, shape: MessageShape) -> None:
    if topic.min_insync > topic.replication:
        raise KafkaUnfit(
            f"topic {topic.name!r} has {topic.replication} copies, and min.insync.replicas={topic.min_insync}: nothing "
            "can be written",
            hint="lower min.insync.replicas, or add copies",
            setting="min.insync.replicas",
            found=topic.min_insync,
        )
    if topic.compacted and shape.key is None:
        raise KafkaUnfit(
            f"topic {topic.name!r} is compacted, and messages without a key are refused",
            hint='name the column of the key: key="id"',
            setting="cleanup.policy",
            found=topic.policy,
        )
    for warning in _warnings(topic, shape):
        _log.warning("topic %s: %s", topic.name, warning)


def _warnings(topic: TopicFacts, shape: MessageShape) -> list[str]:
    warnings: list[str] = []
    if topic.replication == 1:
        warnings.append("there is one copy of it: what was delivered is lost with the disk of one broker")
    elif topic.min_insync == 1:
        warnings.append("min.insync.replicas=1: what was delivered may be on one broker alone")
    if shape.upsert and not topic.compacted:
        warnings.append("cleanup.policy is not compact: old messages of a key are kept, or all of them deleted")
    if shape.timestamp is not None and topic.own_times:
        warnings.append("message.timestamp.type=LogAppendTime: the column of times is not used")
    return warnings
