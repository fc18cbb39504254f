"""Topics as a sink: what users write, and which of the three ways of delivery it stands for."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from krishiv_connectors._sink_family import SinkFamily
from krishiv_connectors.codecs import format_of
from krishiv_connectors.kafka._checks import check_cluster
from krishiv_connectors.kafka._client import CLIENT_LIBRARY, Clients
from krishiv_connectors.kafka._creation import NewTopics, missing_topics
from krishiv_connectors.kafka._facts import topic_facts
from krishiv_connectors.kafka._messages import Messages, MessageShape
from krishiv_connectors.kafka._outgoing import Limits
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.codecs import Format

__all__ = ["KafkaSink"]

Guarantee = Literal["exactly_once", "at_least_once"]
_PARTITIONERS = (
    "murmur2_random",
    "murmur2",
    "consistent_random",
    "consistent",
    "random",
    "fnv1a_random",
    "fnv1a",
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class KafkaSink(SinkFamily):
    """Writes rows to a topic, one message per row.

    Calling it gives an `ExactlyOnceKafkaSink`, an `AtLeastOnceKafkaSink` or, with ``mode="upsert"``, an
    `UpsertKafkaSink`.

    Parameters
    ----------
    brokers : str or sequence of str
        ``host:port``, one or several.
    topic : str or sequence of str
        Where messages go; several with `topic_column`.
    format : str or Format
        How values are encoded: ``"json"``, ``"raw"``, ``"string"``, ``"csv"`` or a format with options.
    key : str, optional
        Column of the key: text, binary or whole numbers (as decimal text).
    columns : sequence of str, optional
        Columns of the value. By default all but those of headers, topic and partition.
    mode : "append" or "upsert"
        ``"upsert"``: the last message of a key counts. A column ``_op`` is obeyed: ``-D`` deletes the key (a message
        without value), ``-U`` writes nothing.
    guarantee : "exactly_once" or "at_least_once", optional
        By default ``"exactly_once"`` for ``"append"``: each epoch is staged in the checkpoint store and published in
        a transaction. An upsert is effectively once by its keys, unless ``"exactly_once"`` is asked for.
    headers : str or mapping, optional
        A column of maps from text to text or binary; or header names with their columns.
    topic_column, partition, timestamp : str, optional
        Columns with the topic's name, the number of the partition (null: `partitioner` decides), and the time of the
        event (null: when it is written).
    partitioner : str
        How keys are spread over partitions. ``"murmur2_random"`` is what Java producers do.
    control_topic : str
        Where marks of applied epochs are kept: compacted, made if it is missing. Jobs may share it; one that dies
        within a transaction then keeps others from starting until `transaction_timeout`.
    create_topics : mapping, optional
        How missing topics are made: ``dict(partitions=3, replication=3, config={...})``. None: they must exist.
    max_transaction_bytes : int
        Larger epochs are published in several transactions: readers may see a part of such an epoch for a while.
    transaction_timeout : float, timedelta or str
        Seconds (or ``"30s"``) that a transaction may be open; also how long the broker is waited for.
    client : mapping
        librdkafka's client properties: security, compression, timeouts. Passwords may be `Secret`.

    Raises
    ------
    ConfigurationError, BadClientProperty
        If the arguments do not fit together.
    """

    client_libraries = (CLIENT_LIBRARY,)

    @classmethod
    def pick(cls, options: Mapping[str, Any]) -> type[Any]:
        """Return the class for mode and guarantee."""
        return _class_for(options) if cls is KafkaSink else cls

    def __init__(
        self,
        brokers: str | Sequence[str],
        topic: str | Sequence[str],
        *,
        format: str | Format = "json",
        key: str | None = None,
        columns: Sequence[str] | None = None,
        mode: Literal["append", "upsert"] = "append",
        guarantee: Guarantee | None = None,
        headers: str | Mapping[str, str] | None = None,
        topic_column: str | None = None,
        partition: str | None = None,
        timestamp: str | None = None,
        partitioner: str = "murmur2_random",
        control_topic: str = "_krishiv_marks",
        create_topics: Mapping[str, object] | None = None,
        max_transaction_bytes: int = 64 << 20,
        transaction_timeout: float | timedelta | str = 30.0,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self.topics = (topic,) if isinstance(topic, str) else tuple(topic)
        self.mode, self.guarantee = mode, guarantee
        self._clients = Clients(brokers, client)
        self._shape = MessageShape(
            topics=self.topics,
            key=key,
            columns=None if columns is None else tuple(columns),
            headers=headers,
            topic_column=topic_column,
            partition=partition,
            timestamp=timestamp,
            upsert=mode == "upsert",
        )
        self._partitioner = partitioner
        self._control_topic = control_topic
        self._new_topics = None if create_topics is None else NewTopics.of(create_topics)
        self._max_transaction_bytes = max_transaction_bytes
        self._timeout = _seconds(transaction_timeout)
        self._check_arguments()
        self._format = format_of(format).for_subject(f"{self.topics[0]}-value")

    def _check_arguments(self) -> None:
        shape = self._shape
        if not self.topics or (len(self.topics) > 1 and shape.topic_column is None):
            raise ConfigurationError(
                f"topic={list(self.topics)!r} without topic_column", hint="name one topic, or the column that decides"
            )
        if self.mode not in ("append", "upsert"):
            raise ConfigurationError(f"mode={self.mode!r}", hint='"append" or "upsert"')
        if self.guarantee not in (None, "exactly_once", "at_least_once"):
            raise ConfigurationError(f"guarantee={self.guarantee!r}", hint='"exactly_once" or "at_least_once"')
        if shape.upsert and shape.key is None:
            raise ConfigurationError('mode="upsert" without a key', hint='name the column of the key: key="id"')
        if self._partitioner not in _PARTITIONERS:
            raise ConfigurationError(f"partitioner={self._partitioner!r}", hint=f"one of {', '.join(_PARTITIONERS)}")
        if self._control_topic in self.topics:
            raise ConfigurationError("control_topic is an output topic", hint="marks need a topic of their own")
        if self._max_transaction_bytes < 1:
            raise ConfigurationError("max_transaction_bytes is below 1", hint="give bytes: 64 << 20")

    # ---------------------------------------------------------------- what the subclasses share

    def check(self, schema: pa.Schema) -> None:
        """Raise if columns do not fit, the cluster cannot be reached, or its settings do not allow what is asked."""
        Messages(self._shape, self._format, schema)
        check_cluster(self._clients, self._present_topics(), self._shape, transactions=self._transactions())

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode and the guarantee."""
        return {"mode": self.mode, "guarantee": self.guarantee}

    def _transactions(self) -> float | None:
        """Return the timeout of transactions in seconds; None: there are none."""
        return None

    def _present_topics(self) -> Sequence[str]:
        """Return the topics that exist; those that will be made are not there yet."""
        if self._new_topics is None:
            return self.topics
        missing = missing_topics(self._clients, self.topics)
        return [topic for topic in self.topics if topic not in missing]

    def _ready(self, ctx: SinkContext) -> tuple[Messages, Limits]:
        """Make topics that are missing, and return how rows of the context become messages, and what topics take."""
        if self._new_topics is not None:
            self._new_topics.make(self._clients, missing_topics(self._clients, self.topics))
        facts = topic_facts(self._clients, self.topics)
        longest = self._clients.get("message.max.bytes")
        keyed = any(topic.compacted for topic in facts.values())
        messages = Messages(self._shape, self._format, ctx.schema, keyed=keyed)
        return messages, Limits(facts, None if longest is None else int(longest))


def _class_for(options: Mapping[str, Any]) -> type[Any]:
    guarantee = options.get("guarantee")
    if options.get("mode") == "upsert" and guarantee != "exactly_once":
        module, name = "_direct_sinks", "UpsertKafkaSink"
    elif guarantee == "at_least_once":
        module, name = "_direct_sinks", "AtLeastOnceKafkaSink"
    else:
        module, name = "_exactly_once_sink", "ExactlyOnceKafkaSink"
    found: type[Any] = getattr(import_module(f"krishiv_connectors.kafka.{module}"), name)
    return found


def _seconds(given: float | timedelta | str) -> float:
    if isinstance(given, timedelta):
        return given.total_seconds()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", given) if isinstance(given, str) else None
    seconds = float(match[1]) * _UNITS[match[2]] if match else given
    if not isinstance(seconds, int | float) or not 1.0 <= seconds <= 900.0:
        raise ConfigurationError(f"transaction_timeout={given!r}", hint='from a second to a quarter of an hour: "30s"')
    return float(seconds)
