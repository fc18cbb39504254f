"""What a cluster says of the topics that a sink writes to, and of itself."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_connectors.kafka._errors import KafkaRefused
from krishiv_connectors.kafka._topics import PATIENCE, describe_topics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_connectors.kafka._client import Admin, Clients

__all__ = ["TopicFacts", "broker_settings", "may_write", "topic_facts", "topic_settings"]

_log = logging.getLogger("krishiv_stream")


@dataclass(frozen=True, kw_only=True)
class TopicFacts:
    """One topic, as far as a sink has to know it. Settings that may not be read are taken to be Kafka's defaults.

    Parameters
    ----------
    max_message_bytes : int
        The largest batch of messages that it takes, compressed.
    future : float
        Milliseconds that a message's time may be ahead of the broker's clock.
    """

    name: str
    partitions: int
    replication: int
    min_insync: int
    policy: str
    max_message_bytes: int
    future: int
    own_times: bool

    @property
    def compacted(self) -> bool:
        """Whether each message needs a key."""
        return "compact" in self.policy


def topic_facts(clients: Clients, names: Sequence[str]) -> dict[str, TopicFacts]:
    """Return what there is to know of each topic.

    Raises
    ------
    TopicMissing, KafkaRefused, KafkaUnavailable
    """
    topics = describe_topics(clients, names)
    settings = _readable_settings(clients, names)
    return {
        name: TopicFacts(
            name=name,
            partitions=len(topic.partitions),
            replication=topic.replication,
            min_insync=int(settings[name].get("min.insync.replicas", 1)),
            policy=settings[name].get("cleanup.policy", "delete"),
            max_message_bytes=int(settings[name].get("max.message.bytes", 1_048_588)),
            future=int(settings[name].get("message.timestamp.after.max.ms", 3_600_000)),
            own_times=settings[name].get("message.timestamp.type", "CreateTime") == "LogAppendTime",
        )
        for name, topic in topics.items()
    }


def topic_settings(clients: Clients, names: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return the settings of each topic."""
    return _settings(clients, "TOPIC", names, f"settings of topics {', '.join(names)}")


def _readable_settings(clients: Clients, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    try:
        return topic_settings(clients, names)
    except KafkaRefused:
        _log.warning("the settings of topics %s may not be read: Kafka's defaults are assumed", ", ".join(names))
        return {name: {} for name in names}


def broker_settings(clients: Clients) -> Mapping[str, str]:
    """Return the settings of a broker; empty if they may not be read."""
    with clients.admin("the cluster") as admin:
        cluster = admin.result(admin.client.describe_cluster(request_timeout=PATIENCE))
    number = str(cluster.nodes[0].id)
    with suppress(KafkaRefused):
        return _settings(clients, "BROKER", [number], f"settings of broker {number}")[number]
    return {}


def may_write(clients: Clients, names: Sequence[str]) -> dict[str, bool]:
    """Return whether this user may write to each topic, where the cluster says so."""
    from confluent_kafka import TopicCollection

    with clients.admin("permissions") as admin:
        futures = admin.client.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=PATIENCE
        )
        found = {name: admin.result(future).authorized_operations for name, future in futures.items()}
    return {name: allowed is None or any(each.name == "WRITE" for each in allowed) for name, allowed in found.items()}


def _settings(clients: Clients, kind: str, names: Sequence[str], what: str) -> dict[str, Mapping[str, str]]:
    resource_of: Any = import_module("confluent_kafka.admin").ConfigResource  # there, but not declared as exported
    resources = [resource_of(resource_of.Type[kind], name) for name in names]
    with clients.admin(what) as admin:
        futures = admin.client.describe_configs(resources, request_timeout=PATIENCE)
        return {resource.name: _values(admin, future) for resource, future in futures.items()}


def _values(admin: Admin, future: Any) -> Mapping[str, str]:
    return {name: entry.value for name, entry in admin.result(future).items() if entry.value is not None}
