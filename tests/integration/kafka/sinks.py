"""What the tests of the Kafka sinks share: rows, open sinks, and a committer's life at a topic."""

from __future__ import annotations

import copy
import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from confluent_kafka import Producer

from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_connectors import SinkContext
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_connectors.kafka._marks import SlotKey, SlotMark
from tests.integration.kafka.clients import WAIT
from tests.support.kafka_reader import READ_UNCOMMITTED, read_topic
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore, Committable
    from krishiv_connectors import Sink

__all__ = ["TopicTarget", "armed", "opened", "stage", "target_at", "values"]

Client: TypeAlias = "Mapping[str, str | int | float | bool]"


@dataclass(kw_only=True)
class TopicTarget(Target):
    """A topic, with a control topic of its own or one that it shares."""

    client: Client
    topic: str
    options: Mapping[str, Any]

    def with_options(self, **options: Any) -> TopicTarget:
        """Return the same topic for sinks with other options."""
        changed = {**self.options, **options}
        return replace(self, options=changed, sink=lambda: _sink(self.client, self.topic, changed))

    def ids(self, **reading: Any) -> list[int]:
        """Return the sorted ids that readers of committed records see."""
        return sorted(row["id"] for row in values(self.client, self.topic, **reading))

    def wait_for_records(self, count: int) -> None:
        """Wait until readers of everything see `count` records."""
        deadline = time.monotonic() + WAIT
        while len(read_topic(self.client, self.topic, READ_UNCOMMITTED)) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def leave_open(self, lineage: str, slot: int, *ids: int) -> Producer:
        """Write `ids` and a mark in a transaction that nobody commits, as a process that dies would."""
        key = SlotKey(lineage, "orders", slot)
        options = {"log_level": 0, "transactional.id": key.transactional_id, "transaction.timeout.ms": 60_000}
        producer = Producer({**self.client, **options})
        producer.init_transactions(WAIT)
        producer.begin_transaction()
        mark = SlotMark("shop", 1, 1, 1, (self.topic,))
        producer.produce(self.options["control_topic"], msgspec.json.encode(mark), key.encode())
        for id in ids:
            producer.produce(self.topic, json.dumps({"id": id, "name": "", "price": 0.0}))
        assert producer.flush(WAIT) == 0
        return producer


def values(client: Client, topic: str, **reading: Any) -> list[dict[str, Any]]:
    """Return the JSON objects that readers of committed records see."""
    return [json.loads(record.value or b"null") for record in read_topic(client, topic, **reading)]


def target_at(client: Client, topic: str, store: CheckpointStore, folder: Path, **options: Any) -> TopicTarget:
    """Return `topic` as a target of sinks with a control topic of its own."""

    def staged(committable: Committable) -> Path:
        return folder / json.loads(committable.payload)["key"]

    def damage(committable: Committable) -> None:
        content = bytearray(staged(committable).read_bytes())
        content[len(content) // 2] ^= 1
        staged(committable).write_bytes(content)

    given = {"control_topic": f"{topic}-marks", **options}
    return TopicTarget(
        sink=lambda: _sink(client, topic, given),
        rows=lambda: sorted((row["id"], row["name"], row["price"]) for row in values(client, topic)),
        lose=lambda committable: staged(committable).unlink(),
        damage=damage,
        store=store,
        client=client,
        topic=topic,
        options=given,
    )


def _sink(client: Client, topic: str, options: Mapping[str, Any]) -> Any:
    rest = {name: value for name, value in client.items() if name != "bootstrap.servers"}
    return KafkaSink(str(client["bootstrap.servers"]), topic, client=rest, **options)


def stage(target: Target, epoch: int, *ids: int, previous: int | None = None, slot: int = 0) -> Committable:
    """Have a writer of its own prepare `ids` as `epoch`, and close it."""
    with Attempt(target, previous={slot: epoch - 1 if previous is None else previous}) as attempt:
        return attempt.stage(slot, epoch, *ids)


@contextmanager
def opened(sink: Sink, schema: pa.Schema = SCHEMA, **who: Any) -> Generator[Any]:
    """Give an open copy of `sink`."""
    context = {"job": "shop", "lineage": LINEAGE, "sink_id": "orders", "slot": 0, "token": 1, "schema": schema}
    copied = copy.copy(sink)
    copied.open(SinkContext(**{**context, **who}))
    try:
        yield copied
    finally:
        copied.close()


@contextmanager
def armed(action: str, at: int) -> Generator[None]:
    """Arm the failpoint within a commit."""
    arm("commit.during", action, at)
    try:
        yield
    finally:
        disarm()
