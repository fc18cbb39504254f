"""A Kafka topic from outside: filled and read by confluent_kafka alone, without the code of the connectors.

Types of ``confluent_kafka`` are unknown to the type checkers in part; what comes from it is `Any` here.
"""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["TopicOutside"]

_PATIENCE = 30.0
"""Seconds for whatever the broker is asked."""
_OPEN = 0.5
"""Seconds that transactions are waited for which may be open: a commit is answered before readers can see its rows."""
_LOOK = 0.02
_ABORTED = 5
"""Rows of each part that are also written in a transaction that is aborted."""


class TopicOutside:
    """One topic of a case.

    Parameters
    ----------
    address : str
        Where the broker listens.
    name : str
        The topic's name.
    """

    def __init__(self, address: str, name: str) -> None:
        self._kafka: Any = import_module("confluent_kafka")
        self._admins: Any = import_module("confluent_kafka.admin")
        self._client = {"bootstrap.servers": address, "log_level": 0}
        self._name = name
        self._partitions = 0
        self._admin: Any = self._new_admin()
        self._producer: Any = None

    def make(self, partitions: int) -> None:
        """Make the topic."""
        wanted = self._admins.NewTopic(self._name, partitions, 1)
        self._done(self._admin.create_topics([wanted], operation_timeout=_PATIENCE))
        self._grown_to(partitions)

    def grow(self, partitions: int) -> None:
        """Give it more partitions."""
        if partitions > self._partitions:
            wanted = self._admins.NewPartitions(self._name, partitions)
            self._done(self._admin.create_partitions([wanted], operation_timeout=_PATIENCE))
            self._grown_to(partitions)

    def send(self, partition: int, values: Sequence[bytes]) -> None:
        """Write `values` in two transactions, with an aborted one before each; return when readers can see them."""
        producer = self._open_producer()
        producer.list_topics(self._name, timeout=_PATIENCE)  # it hears of new partitions
        middle = len(values) // 2
        for part in (values[:middle], values[middle:]):
            for sent, end in ((part[:_ABORTED], producer.abort_transaction), (part, producer.commit_transaction)):
                producer.begin_transaction()
                for value in sent:
                    producer.produce(self._name, value, partition=partition)
                producer.flush(_PATIENCE)  # what has not left the client cannot be aborted
                end(_PATIENCE)
        self._committed_ends(_PATIENCE)

    def read(self) -> list[bytes]:
        """Return the value of each record that readers of committed transactions see now, by partition and offset."""
        ends = {partition: end for partition, end in self._committed_ends(_OPEN).items() if end}
        reached, found = dict.fromkeys(ends, 0), dict[tuple[int, int], bytes]()
        consumer = self._kafka.Consumer({**self._client, **_READING})
        try:
            consumer.assign([self._kafka.TopicPartition(self._name, partition, 0) for partition in ends])
            deadline = time.monotonic() + _PATIENCE
            while any(reached[partition] < end for partition, end in ends.items()):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{self._name} was read up to {reached} within {_PATIENCE:g} s, not up to {ends}"
                    )
                for message in consumer.consume(10_000, 0.05):
                    self._note(message, reached, found)
        finally:
            consumer.close()
        return [found[place] for place in sorted(found) if place[1] < ends[place[0]]]

    def remove(self) -> None:
        """Delete the topic, and let go of its clients. A broker that is dead takes it along anyway."""
        with suppress(self._kafka.KafkaException, TimeoutError):
            for future in self._admin.delete_topics([self._name], request_timeout=2.0).values():
                future.result(3.0)
        if self._producer is not None:
            self._producer.purge()
            self._producer.close()
        self._producer = self._admin = None

    # ---------------------------------------------------------------- inside

    def _note(self, message: Any, reached: dict[int, int], found: dict[tuple[int, int], bytes]) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            reached[partition] = offset + 1
            found[partition, offset] = message.value()
        elif error.name() == "_PARTITION_EOF":  # behind the last record there may be marks of transactions
            reached[partition] = max(reached[partition], offset)
        elif not error.retriable() and error.name() not in ("_TRANSPORT", "_ALL_BROKERS_DOWN"):
            raise self._kafka.KafkaException(error)

    def _open_producer(self) -> Any:
        if self._producer is None:
            producer = self._kafka.Producer({**self._client, "transactional.id": f"for-{self._name}"})
            producer.list_topics(self._name, timeout=_PATIENCE)  # once connected, it finds its coordinator at once
            producer.init_transactions(_PATIENCE)
            self._producer = producer
        return self._producer

    def _committed_ends(self, patience: float) -> Mapping[int, int]:
        """Return where readers stop, once that is where all records end, or when `patience` seconds have passed."""
        deadline, levels = time.monotonic() + patience, self._kafka.IsolationLevel
        while True:
            ends = self._ends(levels.READ_COMMITTED)
            if ends == self._ends(levels.READ_UNCOMMITTED) or time.monotonic() > deadline:
                return ends
            time.sleep(_LOOK)

    def _ends(self, level: Any) -> dict[int, int]:
        places = [self._kafka.TopicPartition(self._name, partition) for partition in range(self._partitions)]
        asked = dict.fromkeys(places, self._admins.OffsetSpec.latest())

        def ask() -> dict[int, int]:
            answers = self._admin.list_offsets(asked, isolation_level=level, request_timeout=_PATIENCE)
            return {place.partition: int(answer.result(_PATIENCE).offset) for place, answer in answers.items()}

        return self._asked(ask)

    def _grown_to(self, partitions: int) -> None:
        """Wait until all partitions have a leader. The admin client before would not hear of new ones for a while."""
        self._partitions = partitions
        self._admin = self._new_admin()
        self._ends(self._kafka.IsolationLevel.READ_COMMITTED)

    def _new_admin(self) -> Any:
        return self._admins.AdminClient(dict(self._client))

    def _asked(self, ask: Callable[[], dict[int, int]]) -> dict[int, int]:
        """Ask, again where a partition has no leader: just made, or of a broker that was down."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except self._kafka.KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK)
                self._admin = self._new_admin()  # the one before goes by what it knew before the broker was killed

    @staticmethod
    def _done(futures: Mapping[str, Any]) -> None:
        for future in futures.values():
            future.result(_PATIENCE)


_READING = {
    "group.id": "krishiv-conformance",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 20,
    "reconnect.backoff.max.ms": 500,
}
