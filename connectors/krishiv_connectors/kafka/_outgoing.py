"""From message batches to a producer's queue."""

from __future__ import annotations

import time
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from krishiv_connectors._errors import UnencodableRow
from krishiv_connectors.kafka._errors import KafkaUnavailable, MessageTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    import pyarrow as pa

    from krishiv_connectors.kafka._facts import TopicFacts

__all__ = ["OVERHEAD", "Limits", "send", "sizes"]

OVERHEAD = 128
"""Bytes of a message's own, and of a batch that holds it alone, beside key, value and headers. Rounded up."""


class Outgoing(NamedTuple):
    """One message: what ``Producer.produce`` takes."""

    topic: str
    value: bytes | None
    key: bytes | None
    partition: int = -1
    timestamp: int = 0
    headers: list[tuple[str, bytes | None]] | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes up."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers) if self.headers else 0
        return len(self.value or b"") + len(self.key or b"") + headers + OVERHEAD


def outgoing(messages: pa.RecordBatch, topic: str) -> Iterator[Outgoing]:
    """Give the messages of a batch; to `topic`, where they do not say otherwise."""

    def column(name: str, default: Any) -> Any:
        return messages.column(name).to_pylist() if name in messages.schema.names else repeat(default)

    return map(
        Outgoing,
        column("topic", topic),
        messages.column("value").to_pylist(),
        column("key", None),
        column("partition", -1),
        column("timestamp", 0),
        column("headers", None),
    )


def sizes(messages: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return the bytes that each message takes up."""
    if "headers" in messages.schema.names:
        return np.array([message.size for message in outgoing(messages, "")], np.int64)
    lengths = (pc.fill_null(pc.binary_length(messages.column(name)), 0) for name in ("key", "value"))
    return sum((np.asarray(length, np.int64) for length in lengths), np.full(messages.num_rows, OVERHEAD, np.int64))


def send(producer: Any, messages: pa.RecordBatch, topic: str, patience: float) -> None:
    """Queue messages in their order; while the queue is full, wait for it to be sent.

    Raises
    ------
    KafkaUnavailable
        If nothing left the queue for `patience` seconds.
    """
    if messages.schema.names != ["key", "value"]:
        for message in outgoing(messages, topic):
            _queue(producer, message, patience)
        return
    produce = producer.produce
    # One by one it goes faster than with produce_batch (measured: a dict per message costs more than a call).
    for key, value in zip(messages.column("key").to_pylist(), messages.column("value").to_pylist(), strict=True):
        try:
            produce(topic, value, key)
        except BufferError:
            _queue(producer, Outgoing(topic, value, key), patience)


def _queue(producer: Any, message: Outgoing, patience: float) -> None:
    options: dict[str, Any] = {} if not message.headers else {"headers": message.headers}
    deadline = 0.0
    while True:
        try:
            producer.produce(
                message.topic, message.value, message.key, message.partition, timestamp=message.timestamp, **options
            )
        except BufferError as error:
            deadline = deadline or time.monotonic() + patience
            if time.monotonic() > deadline:
                raise KafkaUnavailable(
                    f"{len(producer)} messages wait to be sent, and none left for {patience} s",
                    hint="see that the brokers of all partitions are up",
                ) from error
            producer.poll(0.05)
        else:
            return


class Limits:
    """What the topics take; rows beyond that are refused before they are part of an epoch."""

    def __init__(self, topics: Mapping[str, TopicFacts], longest: int | None = None) -> None:
        self._topics = topics
        self._longest = longest
        self.batch = min(map(self.of, topics))
        self.message = max(map(self.of, topics))
        self.replication = max(topic.replication for topic in topics.values())

    def of(self, topic: str) -> int:
        """Return the size of the largest batch that `topic` takes, in bytes."""
        limit = self._topics[topic].max_message_bytes
        return limit if self._longest is None else min(limit, self._longest)

    def check(self, messages: pa.RecordBatch, topic: str) -> None:
        """Raise if a message can never be written.

        Raises
        ------
        MessageTooLarge, UnencodableRow
        """
        self._check_partitions(messages, topic)
        self._check_times(messages, topic)
        if messages.nbytes + OVERHEAD * messages.num_rows <= self.batch:
            return
        if int(sizes(messages).max(initial=0)) <= self.batch:
            return
        for row, message in enumerate(outgoing(messages, topic)):
            limit = self.of(message.topic)
            if message.size > limit:
                raise MessageTooLarge(
                    f"row {row} makes a message of {message.size} bytes, and topic {message.topic!r} takes {limit}",
                    hint="raise the topic's max.message.bytes (and the client's message.max.bytes, if it is set), or "
                    "leave columns out",
                    topic=message.topic,
                    size=message.size,
                    limit=limit,
                )

    def _check_partitions(self, messages: pa.RecordBatch, topic: str) -> None:
        if "partition" not in messages.schema.names:
            return
        for row, message in enumerate(outgoing(messages, topic)):
            count = self._topics[message.topic].partitions
            if message.partition >= count:
                raise UnencodableRow(
                    f"row {row} goes to partition {message.partition} of topic {message.topic!r}, which has {count}",
                    hint="partitions are numbered from 0; start the job again after partitions were added",
                    row=row,
                )

    def _check_times(self, messages: pa.RecordBatch, topic: str) -> None:
        if "timestamp" not in messages.schema.names:
            return
        now = time.time() * 1_000
        if max(messages.column("timestamp").to_pylist(), default=0) <= now + min(
            f.future for f in self._topics.values()
        ):
            return
        for row, message in enumerate(outgoing(messages, topic)):
            if message.timestamp > now + self._topics[message.topic].future:
                raise UnencodableRow(
                    f"row {row} has a time further ahead than topic {message.topic!r} takes",
                    hint="raise the topic's message.timestamp.after.max.ms, or leave timestamp= out",
                    row=row,
                )
