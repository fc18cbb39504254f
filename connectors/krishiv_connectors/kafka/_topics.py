"""What a cluster says of topics: their ids, their partitions, and where these begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_connectors.kafka._errors import TopicMissing
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krishiv_connectors.kafka._client import Admin, Clients

__all__ = ["PATIENCE", "Partition", "Topic", "ask_for_topics", "describe_topics", "list_offsets", "missing_topic"]

PATIENCE = 10.0
"""Seconds that a question to the cluster may take."""

_A_MOMENT = 2.0

Partition = tuple[str, int]
"""A topic's name and the number of one of its partitions."""


@dataclass(frozen=True)
class Topic:
    """One topic as it is now.

    Parameters
    ----------
    id : str
        Its id: a topic that is deleted and made again under its name has another one.
    partitions : tuple of int
        The numbers of its partitions.
    """

    name: str
    id: str
    partitions: tuple[int, ...]
    replication: int = 1


def describe_topics(clients: Clients, names: Sequence[str]) -> dict[str, Topic]:
    """Return the topics called `names`.

    Raises
    ------
    TopicMissing, KafkaRefused, KafkaUnavailable
    """
    with clients.admin(f"topics {', '.join(names)}") as admin:
        return ask_for_topics(admin, names)


def missing_topic(clients: Clients, names: Sequence[str]) -> TopicMissing | None:
    """Return the error about one of `names` that is not there; None if all are, or the cluster does not say."""
    try:
        with clients.admin("topics") as admin:
            ask_for_topics(admin, names, _A_MOMENT)
    except TopicMissing as missing:
        return missing
    except KrishivError:
        pass
    return None


def ask_for_topics(admin: Admin, names: Sequence[str], patience: float = PATIENCE) -> dict[str, Topic]:
    """Return the topics called `names`, as `admin` finds them within `patience` seconds.

    Raises
    ------
    TopicMissing
        Other trouble is for `kafka_errors`.
    """
    from confluent_kafka import TopicCollection

    futures = admin.client.describe_topics(TopicCollection(list(names)), request_timeout=patience)
    return {name: _described(name, admin, future) for name, future in futures.items()}


def _described(name: str, admin: Admin, future: Any) -> Topic:
    from confluent_kafka import KafkaException

    try:
        found = admin.result(future)
    except KafkaException as error:
        if error.args[0].name() != "UNKNOWN_TOPIC_OR_PART":
            raise
        raise TopicMissing(f"there is no topic {name!r}", hint="create it, or mend its name", topic=name) from error
    partitions = tuple(sorted(partition.id for partition in found.partitions))
    replication = min((len(partition.replicas) for partition in found.partitions), default=1)
    return Topic(name, str(found.topic_id), partitions, replication)


def list_offsets(
    clients: Clients, partitions: Iterable[Partition], spec: Callable[[Any], Any], *, committed: bool
) -> Mapping[Partition, int]:
    """Return an offset of each partition: -1 where there is none.

    Parameters
    ----------
    spec : callable
        Gets the class ``OffsetSpec`` and returns which offset is wanted.
    committed : bool
        The end is where readers of committed records stop.
    """
    from confluent_kafka import IsolationLevel, TopicPartition

    wanted = {TopicPartition(topic, number): spec(_offset_spec()) for topic, number in partitions}
    if not wanted:
        return {}
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    with clients.admin("offsets") as admin:
        futures = admin.client.list_offsets(wanted, isolation_level=level, request_timeout=PATIENCE)
        return {(place.topic, place.partition): int(admin.result(future).offset) for place, future in futures.items()}


def _offset_spec() -> Any:
    return import_module("confluent_kafka.admin").OffsetSpec  # there, but not declared as exported
