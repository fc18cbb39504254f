"""Harnesses of the Kafka connectors. They need a broker that may be killed: `KRISHIV_CERTIFY_KAFKA` starts one."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING

from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness
from krishiv_conformance._rows import SCHEMA, rows_of
from krishiv_conformance._servers import CommandServer
from krishiv_conformance._shipped._sinks import as_table, json_frame
from krishiv_conformance._shipped._sources import json_line
from krishiv_conformance._shipped._topics import TopicOutside
from krishiv_connectors import KafkaSource
from krishiv_connectors.kafka._exactly_once_sink import ExactlyOnceKafkaSink

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["BROKER", "KafkaFollowHarness", "KafkaSinkHarness", "KafkaSourceHarness"]

BROKER = CommandServer("KRISHIV_CERTIFY_KAFKA", "a Kafka broker")

_CLIENT = {"fetch.wait.max.ms": 50, "reconnect.backoff.max.ms": 1_000}
_PARTITIONS = 3
_SMALL = 12 << 10
"""Bytes of a transaction: most epochs of the suite take one or two, so that both ways are killed."""


class _KafkaHarness(Harness):
    """What both sides share: a topic for each case."""

    server = BROKER
    partitions = 1

    def __init__(self) -> None:
        self._topics: dict[Path, TopicOutside] = {}
        self._lock = Lock()

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        return "" if find_spec("confluent_kafka") else "confluent-kafka is not installed (krishiv-stream[kafka])"

    def set_up(self, workdir: Path) -> None:
        """Make the topic."""
        topic = TopicOutside(self.address(workdir), self.own_name(workdir))
        with self._lock:
            self._topics[workdir] = topic
        topic.make(self.partitions)

    def tear_down(self, workdir: Path) -> None:
        """Delete it."""
        with self._lock:
            topic = self._topics.pop(workdir, None)
        if topic is not None:
            topic.remove()

    def topic(self, workdir: Path) -> TopicOutside:
        """Return the topic of a case."""
        with self._lock:
            return self._topics[workdir]


class KafkaSourceHarness(_KafkaHarness, SourceHarness):
    """JSON in the partitions of a topic, in transactions, aborted ones between; read to its present end."""

    connector = KafkaSource

    def make(self, workdir: Path) -> KafkaSource:
        """Return the source."""
        return KafkaSource(self.address(workdir), self.own_name(workdir), schema=SCHEMA, until="latest", client=_CLIENT)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Write one partition."""
        topic = self.topic(workdir)
        topic.grow(part + 1)
        topic.send(part, [json_line(row).encode() for row in rows_of(rows)])


class KafkaFollowHarness(KafkaSourceHarness):
    """The same, waiting for more; positions are published under a group's name too."""

    variant = "follow"
    quiet = 1.5

    def make(self, workdir: Path) -> KafkaSource:
        """Return the source."""
        name = self.own_name(workdir)
        return KafkaSource(
            self.address(workdir), name, schema=SCHEMA, group=name, discovery_interval=0.3, client=_CLIENT
        )


class KafkaSinkHarness(_KafkaHarness, SinkHarness):
    """JSON in transactions, read by a plain consumer of committed records."""

    connector = ExactlyOnceKafkaSink
    partitions = _PARTITIONS
    lag = 45.0  # longer than a transaction may stay open

    @property
    def name(self) -> str:
        """What users write."""
        return "KafkaSink"

    def make(self, workdir: Path) -> ExactlyOnceKafkaSink:
        """Return the sink, with marks in a topic of its own: other cases leave transactions open."""
        name = self.own_name(workdir)
        return ExactlyOnceKafkaSink(
            self.address(workdir),
            name,
            control_topic=f"{name}-marks",
            max_transaction_bytes=_SMALL,
            client={"reconnect.backoff.max.ms": 1_000},
        )

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the whole topic."""
        lines = self.topic(workdir).read()
        return as_table([json_frame(BytesIO(b"\n".join(lines)), schema)] if lines else [], schema)
