"""Where reading begins: at the ends of a partition, at a moment, where a group has come to, or at given offsets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from krishiv_connectors.kafka._client import kafka_errors
from krishiv_connectors.kafka._topics import PATIENCE, Partition, list_offsets
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors.kafka._client import Clients

__all__ = ["Start", "beginnings", "check_start", "start_offsets"]

Start = str | datetime | Mapping[int, int] | Mapping[Partition, int]
"""``"earliest"``, ``"latest"``, ``"group"``, a moment, or offsets by partition (of the one topic) or topic and
partition."""


def check_start(start: object, topics: Sequence[str], group: str | None) -> None:
    """Raise `ConfigurationError` if `start` says nothing that can be done."""
    hint = '"earliest", "latest", "group", a datetime, or offsets by partition'
    if isinstance(start, str):
        if start not in ("earliest", "latest", "group"):
            raise ConfigurationError(f"start={start!r}", hint=hint)
        if start == "group" and group is None:
            raise ConfigurationError('start="group" without a group', hint='name it: group="..."')
    elif isinstance(start, Mapping):
        given: Mapping[Any, Any] = start
        for key, offset in given.items():
            bare = isinstance(key, int)
            if not isinstance(offset, int) or offset < 0 or (bare and len(topics) > 1):
                raise ConfigurationError(
                    f"start={{{key!r}: {offset!r}}}",
                    hint="offsets are whole numbers, by partition, or by (topic, partition) of several topics",
                )
    elif not isinstance(start, datetime):
        raise ConfigurationError(f"start={start!r}", hint=hint)


def start_offsets(
    clients: Clients, start: Start, partitions: Sequence[Partition], *, group: str | None, committed: bool
) -> dict[Partition, int]:
    """Return the offset at which to begin each of `partitions`.

    Always a number: "the oldest" would be another record when some have been deleted, and nobody would see that.
    """
    match start:
        case "latest":
            return dict(list_offsets(clients, partitions, lambda spec: spec.latest(), committed=committed))
        case "group":
            found = _group_offsets(clients, group or "", partitions)
        case datetime():
            return _offsets_since(clients, start, partitions, committed=committed)
        case Mapping():
            given = {key if isinstance(key, tuple) else (partitions[0][0], key): at for key, at in start.items()}
            found = {partition: given[partition] for partition in partitions if partition in given}
        case _:
            found = {}
    return {**beginnings(clients, [partition for partition in partitions if partition not in found]), **found}


def beginnings(clients: Clients, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Return the offset of the oldest record of each of `partitions`, or where its first one will be."""
    return dict(list_offsets(clients, partitions, lambda spec: spec.earliest(), committed=False))


def _offsets_since(
    clients: Clients, moment: datetime, partitions: Sequence[Partition], *, committed: bool
) -> dict[Partition, int]:
    utc = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    milliseconds = int(utc.timestamp() * 1_000)
    found = list_offsets(clients, partitions, lambda spec: spec.for_timestamp(milliseconds), committed=committed)
    beyond = [partition for partition in partitions if found[partition] < 0]
    ends = list_offsets(clients, beyond, lambda spec: spec.latest(), committed=committed)
    return {**found, **ends}


def _group_offsets(clients: Clients, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """Return what `group` has committed, for the partitions of which it has."""
    from confluent_kafka import TopicPartition

    consumer: Any = clients.consumer(group_id=group)
    try:
        with kafka_errors(f"offsets of group {group!r}"):
            places = [TopicPartition(topic, number) for topic, number in partitions]
            found = consumer.committed(places, timeout=PATIENCE)
    finally:
        consumer.close()
    return {(at.topic, at.partition): at.offset for at in found if at.offset >= 0}
