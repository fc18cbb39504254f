"""Sinks that write as rows come: at least once, or effectively once by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_connectors._sink import IdempotentSink, StickyError
from krishiv_connectors.kafka._client import translated
from krishiv_connectors.kafka._errors import KafkaUnavailable
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_connectors.kafka._outgoing import send
from krishiv_connectors.kafka._producers import Told, new_producer
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.kafka._messages import Messages
    from krishiv_connectors.kafka._outgoing import Limits

__all__ = ["AtLeastOnceKafkaSink", "UpsertKafkaSink"]

_QUEUE_KILOBYTES = 64 << 10
_PATIENCE = 300.0
"""Seconds that messages are waited for: as long as librdkafka tries to deliver one by default."""


class _DirectKafkaSink(KafkaSink):
    """Hands messages to an idempotent producer; `flush` returns once the brokers have them all."""

    _opened: _Delivery | None = None

    def open(self, ctx: SinkContext) -> None:
        """Connect."""
        messages, limits = self._ready(ctx)
        self._opened = _Delivery(self, messages, limits)

    def flush(self) -> None:
        """Wait until every message is delivered.

        Raises
        ------
        KafkaUnavailable, KafkaFailed
            If one was not.
        """
        self._delivery().flush()

    def close(self) -> None:
        """Let go of the producer; what it had not sent is dropped."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _send(self, batch: pa.RecordBatch) -> None:
        self._delivery().send(batch)

    def _delivery(self) -> _Delivery:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened

    def new_producer(self, limits: Limits, told: Told) -> Any:
        """Return a producer of this sink."""
        chosen = self._clients.get("queue.buffering.max.kbytes")
        kilobytes = max(_QUEUE_KILOBYTES, 2 * limits.message >> 10) if chosen is None else chosen
        return new_producer(self._clients, limits, self._partitioner, told, queue_buffering_max_kbytes=kilobytes)


class AtLeastOnceKafkaSink(_DirectKafkaSink):
    """What ``KafkaSink(..., guarantee="at_least_once")`` is: rows may be written again after a failure."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Queue messages; waits while the queue is full."""
        self._send(batch)

    def capabilities(self) -> SinkCapabilities:
        """Durable."""
        return SinkCapabilities(durable_flush=True)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode and the guarantee."""
        return {"mode": self.mode, "guarantee": "at_least_once"}


class UpsertKafkaSink(_DirectKafkaSink, IdempotentSink):
    """What ``KafkaSink(..., mode="upsert")`` is: the last message of a key counts, so that replays change nothing.

    Readers of all messages, rather than of the newest one of each key, see replayed ones again.
    """

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # follows from the key
        """The column of the key."""
        return () if self._shape.key is None else (self._shape.key,)

    def write(self, batch: pa.RecordBatch) -> None:
        """Pass `batch` to `upsert`."""
        self.upsert(batch)

    def upsert(self, batch: pa.RecordBatch) -> None:
        """Queue messages in the order of rows, so that the last one of a key is the last in its partition."""
        self._send(batch)

    def capabilities(self) -> SinkCapabilities:
        """Durable and idempotent by the key."""
        return SinkCapabilities(durable_flush=True, idempotent_by=self.keys)


class _Delivery:
    """An open producer, and the first error that it met."""

    def __init__(self, sink: _DirectKafkaSink, messages: Messages, limits: Limits) -> None:
        self._topics = sink.topics
        self._messages, self._limits = messages, limits
        self._told = Told()
        self._sticky = StickyError()
        self._producer = sink.new_producer(limits, self._told)

    def send(self, batch: pa.RecordBatch) -> None:
        with self._sticky.guard():
            messages = self._messages.encode(batch)
            self._limits.check(messages, self._topics[0])
            send(self._producer, messages, self._topics[0], _PATIENCE)
            self._producer.poll(0)
            self._raise_undelivered()

    def flush(self) -> None:
        with self._sticky.guard():
            left = self._producer.flush(_PATIENCE)
            self._raise_undelivered()
            if left:
                raise KafkaUnavailable(
                    f"{left} messages were not delivered in {_PATIENCE} s", hint="see that the brokers are up"
                )

    def close(self) -> None:
        # Closing waits for messages that are under way; after a failure they may never get there.
        self._producer.purge()
        self._producer.close()

    def _raise_undelivered(self) -> None:
        error, what = self._told.delivery, f"topics {', '.join(self._topics)}"
        if error is not None:
            raise self._told.refusal(what) or translated(error, what)
