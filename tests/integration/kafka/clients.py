"""What the tests of this folder do as clients of a broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WAIT", "begin", "first_error", "send"]

WAIT = 30.0  # seconds
_QUIET = {"log_level": 0}


def send(client: Mapping[str, str | int | float | bool], topic: str, *values: bytes) -> None:
    """Write `values` outside any transaction; raise if the broker refuses one."""
    refused: list[KafkaError] = []
    producer = Producer({**client, **_QUIET, "message.timeout.ms": 10_000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: refused.append(error) if error else None)
    assert producer.flush(WAIT) == 0
    if refused:
        raise KafkaException(refused[0])


def begin(client: Mapping[str, str | int | float | bool], topic: str, *values: bytes) -> Producer:
    """Write `values` in a transaction, and return its producer with the transaction open."""
    producer = Producer({**client, **_QUIET, "transactional.id": f"for-{topic}"})
    producer.init_transactions(WAIT)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(WAIT) == 0
    return producer


def first_error(client: Mapping[str, str | int | float | bool], topic: str) -> int:
    """Try to write, and return the code of the first error that the connection meets."""
    errors: list[KafkaError] = []
    producer = Producer({**client, **_QUIET, "error_cb": errors.append, "message.timeout.ms": 5_000})
    producer.produce(topic, b"refused")
    deadline = time.monotonic() + WAIT
    while not errors and time.monotonic() < deadline:
        producer.poll(0.05)
    producer.purge()
    producer.flush(WAIT)
    return errors[0].code()
