"""The first records of topics, to infer a schema from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from krishiv_connectors.codecs import infer_json_schema
from krishiv_connectors.kafka._client import kafka_errors
from krishiv_connectors.kafka._topics import PATIENCE, describe_topics
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_connectors.kafka._client import Clients

__all__ = ["infer_schema"]

SAMPLE = 1_000
"""Records that are looked at."""


def infer_schema(clients: Clients, topics: Sequence[str]) -> pa.Schema:
    """Return the columns of the first JSON values of `topics`.

    Raises
    ------
    ConfigurationError
        If there are none to look at.
    """
    values = _first_values(clients, topics)
    if not values:
        raise ConfigurationError(
            f"topic {', '.join(topics)} is empty, so the columns are not known",
            hint="give schema=pa.schema(...)",
        )
    return infer_json_schema(values)


def _first_values(clients: Clients, topics: Sequence[str]) -> list[bytes]:
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    found = describe_topics(clients, topics)
    places = [TopicPartition(t.name, number, OFFSET_BEGINNING) for t in found.values() for number in t.partitions]
    consumer: Any = clients.consumer(enable_partition_eof=True)
    values: list[bytes] = []
    ended = 0
    deadline = time.monotonic() + PATIENCE
    try:
        with kafka_errors(f"the first records of {', '.join(topics)}"):
            consumer.assign(places)
            while len(values) < SAMPLE and ended < len(places) and time.monotonic() < deadline:
                for message in consumer.consume(SAMPLE, 0.1):
                    if message.error() is not None:
                        ended += message.error().name() == "_PARTITION_EOF"
                    elif message.value() is not None:
                        values.append(message.value())
    finally:
        consumer.close()
    return values
