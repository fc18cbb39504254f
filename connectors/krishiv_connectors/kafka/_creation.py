"""Topics that a sink makes: its output, where the user says how, and the one that its marks are in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_connectors.kafka._errors import KafkaFailed, KafkaUnfit, TopicMissing
from krishiv_connectors.kafka._facts import topic_settings
from krishiv_connectors.kafka._topics import PATIENCE, describe_topics
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from krishiv_connectors.kafka._client import Clients

__all__ = ["NewTopics", "ensure_control_topic", "missing_topics"]

_CONTROL = {
    "cleanup.policy": "compact",
    # Every start reads the whole topic: it is to be compacted early and often.
    "segment.bytes": str(1 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.1",
}


@dataclass(frozen=True)
class NewTopics:
    """How missing topics are made. `replication` None: what the cluster does by default."""

    partitions: int = 1
    replication: int | None = None
    config: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, given: Mapping[str, object]) -> NewTopics:
        """Return what the user's mapping says."""
        unknown = set(given) - {"partitions", "replication", "config"}
        if unknown:
            raise ConfigurationError(
                f"create_topics has no {', '.join(sorted(unknown))!r}",
                hint="create_topics=dict(partitions=3, replication=3, config={...})",
            )
        values: dict[str, object] = dict(given)
        config = values.get("config")
        if isinstance(config, dict):
            values["config"] = {str(name): str(value) for name, value in config.items()}
        return cls(**values)  # type: ignore[arg-type]  # checked by name; the broker checks the values

    def make(self, clients: Clients, names: Iterable[str]) -> None:
        """Make topics called `names`, and wait until they can be written to; those that there are stay as they are."""
        from confluent_kafka import KafkaException

        new_topic: Any = import_module("confluent_kafka.admin").NewTopic  # there, but not declared as exported
        copies = -1 if self.replication is None else self.replication
        wanted = [new_topic(name, self.partitions, copies, config=dict(self.config)) for name in names]
        if not wanted:
            return
        with clients.admin("new topics") as admin:
            for future in admin.client.create_topics(wanted, operation_timeout=PATIENCE).values():
                try:
                    admin.result(future)
                except KafkaException as error:
                    if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                        raise
        _wait_for(clients, [topic.topic for topic in wanted])


def missing_topics(clients: Clients, names: Iterable[str]) -> list[str]:
    """Return those of `names` that do not exist."""
    missing: list[str] = []
    for name in names:
        try:
            describe_topics(clients, [name])
        except TopicMissing:
            missing.append(name)
    return missing


def ensure_control_topic(clients: Clients, name: str, *, replication: int | None = None) -> None:
    """Make the topic for marks, or see that it keeps the newest record of each key for good.

    Parameters
    ----------
    replication : int or None
        Copies that a new one gets.

    Raises
    ------
    KafkaUnfit
        If it is not compacted, or also deletes: a mark that is gone lets an epoch be written twice.
    """
    if missing_topics(clients, [name]):
        NewTopics(1, replication, _CONTROL).make(clients, [name])
    policy = topic_settings(clients, [name])[name].get("cleanup.policy", "")
    if policy != "compact":
        raise KafkaUnfit(
            f"topic {name!r} keeps the marks of applied epochs, and has cleanup.policy={policy}",
            hint=f"kafka-configs --alter --topic {name} --add-config cleanup.policy=compact, or control_topic=...",
            setting="cleanup.policy",
            found=policy,
        )


def _wait_for(clients: Clients, names: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while missing := missing_topics(clients, names):
        if time.monotonic() > deadline:
            raise KafkaFailed(f"topics {', '.join(missing)} were made, but are not there", hint="look at the brokers")
        time.sleep(0.05)
