"""Marks of applied epochs: records of a compacted topic, one key for each slot of each sink of each lineage."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import msgspec

from krishiv_connectors.kafka._client import kafka_errors, translated
from krishiv_connectors.kafka._errors import KafkaFailed, KafkaUnavailable
from krishiv_connectors.kafka._topics import describe_topics, list_offsets
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krishiv_connectors.kafka._client import Clients
    from krishiv_connectors.kafka._topics import Partition

__all__ = ["MarkReader", "Part", "SlotKey", "SlotMark"]

_PATIENCE = 15.0
"""Seconds that open transactions of others are waited for: longer ones are waited for by trying again."""
_STALLED = 0.5
"""Seconds without progress after which a transaction is taken for one that its owner left open."""
_LOOKING = 10.0
"""Seconds that finding the owners of open transactions may take: their records are there, also on a slow broker."""
_AT_ONCE = 1_000


class SlotKey(msgspec.Struct, frozen=True):
    """Whose mark it is: the record's key, and what the transactional id is made of (P1)."""

    lineage: str
    sink: str
    slot: int

    def encode(self) -> bytes:
        """Return the record's key."""
        return msgspec.json.encode(self)

    @property
    def transactional_id(self) -> str:
        """The id by which the broker lets one producer at a time write for this slot."""
        sink = hashlib.sha256(self.sink.encode()).hexdigest()[:16]
        return f"krishiv-{self.lineage}-{sink}-{self.slot}"

    def partition(self, count: int) -> int:
        """Return where the mark is among `count` partitions."""
        return int.from_bytes(hashlib.sha256(self.encode()).digest()[:8], "big") % count


class Part(msgspec.Struct, frozen=True):
    """How much of an epoch too large for one transaction is published."""

    epoch: int
    token: int
    messages: int


class SlotMark(msgspec.Struct, frozen=True):
    """What a slot has applied: the record's value.

    Parameters
    ----------
    epoch : int
        The newest epoch that is published as a whole; 0: none yet.
    token, by : int
        Fencing tokens of the attempts that prepared and that applied it.
    topics : tuple of str
        Where its messages go.
    part : Part or None
        What of the next epoch is published already.
    """

    job: str
    epoch: int
    token: int
    by: int
    topics: tuple[str, ...]
    part: Part | None = None

    @property
    def reaches(self) -> int:
        """The newest epoch of which anything is published."""
        return self.epoch if self.part is None else self.part.epoch

    @property
    def progress(self) -> tuple[int, int]:
        """How far it has come; a mark only ever moves on."""
        return self.epoch, 0 if self.part is None else self.part.messages


class MarkReader:
    """Reads a control topic as a reader of committed records does, up to its real end.

    Such a reader stops at the first transaction that is still open, whosever it is; marks that were committed since
    are hidden from it. So it reads on until it has passed the end that readers of everything see.

    Parameters
    ----------
    finish : callable
        Gets the owners of records in transactions that stay open, to end those that are its own dead ones.
    """

    def __init__(self, clients: Clients, topic: str, finish: Callable[[set[SlotKey]], None]) -> None:
        self._clients = clients
        self._topic = topic
        self._finish = finish
        self.count = 1
        """How many partitions the topic had when it was read last."""

    def read(self) -> dict[SlotKey, SlotMark]:
        """Return every mark.

        Raises
        ------
        KafkaUnavailable
            If a transaction that is not our own stays open.
        """
        self.count = len(describe_topics(self._clients, [self._topic])[self._topic].partitions)
        places = [(self._topic, number) for number in range(self.count)]
        ends = list_offsets(self._clients, places, lambda spec: spec.latest(), committed=False)
        reading = _Reading(self._clients, {place: end for place, end in ends.items() if end > 0}, "read_committed")
        try:
            deadline, moved = time.monotonic() + _PATIENCE, time.monotonic()
            while not reading.done:
                if reading.take():
                    moved = time.monotonic()
                elif time.monotonic() > deadline:
                    raise KafkaUnavailable(
                        f"a transaction that is still open hides marks in topic {self._topic!r}",
                        hint="it ends by itself when its timeout has passed; then this is tried again",
                    )
                elif time.monotonic() - moved > _STALLED:
                    self._finish(self._writers(reading.left))
                    moved = deadline  # once is enough
            return reading.marks
        finally:
            reading.close()

    def _writers(self, left: Mapping[Partition, tuple[int, int]]) -> set[SlotKey]:
        """Return who wrote the records that cannot be read yet."""
        ends = {place: end for place, (_, end) in left.items()}
        reading = _Reading(self._clients, ends, "read_uncommitted", {place: at for place, (at, _) in left.items()})
        try:
            deadline = time.monotonic() + _LOOKING
            while not reading.done and time.monotonic() < deadline:
                reading.take()
            return reading.keys
        finally:
            reading.close()


class _Reading:
    """One pass over partitions up to given ends."""

    def __init__(
        self,
        clients: Clients,
        ends: Mapping[Partition, int],
        isolation: str,
        begins: Mapping[Partition, int] | None = None,
    ) -> None:
        self.marks: dict[SlotKey, SlotMark] = {}
        self.keys: set[SlotKey] = set()
        self._ends = ends
        self._at = dict(begins) if begins else dict.fromkeys(ends, 0)
        self._consumer = self._assigned(clients, isolation) if ends else None

    def _assigned(self, clients: Clients, isolation: str) -> Any:
        from confluent_kafka import TopicPartition

        consumer = clients.consumer(
            isolation_level=isolation, enable_partition_eof=True, auto_offset_reset="earliest", fetch_wait_max_ms=20
        )
        consumer.assign([TopicPartition(topic, number, at) for (topic, number), at in self._at.items()])
        return consumer

    @property
    def done(self) -> bool:
        return all(self._at[place] >= end for place, end in self._ends.items())

    @property
    def left(self) -> dict[Partition, tuple[int, int]]:
        """Partitions that are not read to their end: where reading is, and the end."""
        return {place: (self._at[place], end) for place, end in self._ends.items() if self._at[place] < end}

    def take(self) -> bool:
        """Take what there is within a moment, and return whether that was anything."""
        before = dict(self._at)
        with kafka_errors("marks"):
            for message in self._consumer.consume(_AT_ONCE, 0.05) if self._consumer is not None else ():
                self._see(message)
        return before != self._at

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _see(self, message: Any) -> None:
        error = message.error()
        place = (message.topic(), message.partition())
        if error is None:
            self._at[place] = message.offset() + 1
            self._keep(message.partition(), message.key(), message.value())
        elif error.name() == "_PARTITION_EOF":
            self._at[place] = max(self._at[place], message.offset())
        else:
            wrong = translated(error, "marks")
            if not isinstance(wrong, RetriableError):
                raise wrong

    def _keep(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Note a record. A key may be in several partitions, where partitions were added: the furthest mark counts."""
        try:
            owner = msgspec.json.decode(key or b"", type=SlotKey)
            mark = None if value is None else msgspec.json.decode(value, type=SlotMark)
        except msgspec.DecodeError as error:
            raise KafkaFailed(
                f"partition {partition} of the marks' topic holds a record that is no mark: key {key!r}",
                hint="nobody else may write to it: name another topic with control_topic=, or delete that record",
            ) from error
        self.keys.add(owner)
        if mark is None:
            self.marks.pop(owner, None)
            return
        known = self.marks.get(owner)
        if known is None or mark.progress >= known.progress:
            self.marks[owner] = mark
