"""Read a Kafka topic from outside, with a plain consumer: at once, or in a process that watches while a job runs.

Run as a module, this is the watching process.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import msgspec
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Message

__all__ = [
    "READ_COMMITTED",
    "READ_UNCOMMITTED",
    "Record",
    "Watcher",
    "end_offsets",
    "open_transactions",
    "read_topic",
]

READ_COMMITTED, READ_UNCOMMITTED = "read_committed", "read_uncommitted"
_ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0  # seconds
_LEADERLESS = 10.0  # seconds in which a broker that was down or paused leads its partitions again
_LEVELS = {READ_COMMITTED: IsolationLevel.READ_COMMITTED, READ_UNCOMMITTED: IsolationLevel.READ_UNCOMMITTED}
# What a consumer reports and gets over by itself, as while its broker is down.
_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._RESOLVE}

Client: TypeAlias = "Mapping[str, str | int | float | bool]"


class Record(NamedTuple):
    """What a reader saw; `timestamp` is in milliseconds since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


def read_topic(client: Client, topic: str, isolation: str = READ_COMMITTED, settle: float = 75.0) -> list[Record]:
    """Read every partition from its beginning to its present end, sorted by partition and offset.

    Parameters
    ----------
    client : Mapping
        Settings of a client: ``kafka.client()``.
    topic : str
        The topic, which exists.
    isolation : str
        `READ_COMMITTED`: up to the first transaction that is still open. Or `READ_UNCOMMITTED`: everything.
    settle : float, seconds
        How long open transactions are waited for before that: a broker answers a commit before readers can see it,
        long before when it is killed in between. Longer than a producer's default transaction.timeout.ms. 0 where a
        transaction is open on purpose.
    """
    ends = _ends(client, topic, isolation, settle)
    reading = _Reading(client, topic, sorted(ends), isolation)
    try:
        return sorted(reading.up_to(ends), key=lambda record: record[:2])
    finally:
        reading.close()


def end_offsets(client: Client, topic: str) -> dict[int, int]:
    """Return where each partition ends, what open and ended transactions have written there included."""
    return _ends(client, topic, READ_UNCOMMITTED)


def open_transactions(client: Client, topic: str) -> dict[int, int]:
    """Return, by partition, where the first transaction begins that has written there and is still open."""
    written = end_offsets(client, topic)  # first, so that what ends in between does not count
    visible = _ends(client, topic, READ_COMMITTED)
    return {partition: visible[partition] for partition, end in written.items() if visible[partition] < end}


def _ends(client: Client, topic: str, isolation: str, settle: float = 0.0) -> dict[int, int]:
    """Return each partition's end as a reader of `isolation` sees it, once all see the same or `settle` has passed."""
    admin, deadline = AdminClient(dict(client)), time.monotonic() + settle
    partitions = list(admin.list_topics(topic, timeout=_PATIENCE).topics[topic].partitions)
    while True:
        visible, written = (_latest(admin, topic, partitions, level) for level in (isolation, READ_UNCOMMITTED))
        if visible == written or time.monotonic() >= deadline:
            return visible
        time.sleep(0.01)


def _latest(admin: AdminClient, topic: str, partitions: Sequence[int], isolation: str) -> dict[int, int]:
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in partitions}
    deadline = time.monotonic() + _LEADERLESS
    while True:
        answers = admin.list_offsets(asked, isolation_level=_LEVELS[isolation], request_timeout=_PATIENCE)
        try:
            return {place.partition: answer.result(_PATIENCE).offset for place, answer in answers.items()}
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class _Reading:
    """A consumer, and how far it came: control records are no messages, but the end of a partition is an event."""

    def __init__(self, client: Client, topic: str, partitions: Sequence[int], isolation: str) -> None:
        options: dict[str, str | int | float | bool] = {
            "group.id": "krishiv-test-reader",
            "auto.offset.reset": "earliest",  # where the first records are gone
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.wait.max.ms": 20,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self._consumer = Consumer({**client, **options})
        self._reached = dict.fromkeys(partitions, 0)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])

    def take(self) -> list[Record]:
        """Return what came within a moment."""
        seen = [self._see(message) for message in self._consumer.consume(10_000, 0.05)]
        return [record for record in seen if record is not None]

    def up_to(self, ends: Mapping[int, int], patience: float = _PATIENCE) -> list[Record]:
        """Return everything up to `ends`, and what happens to come with it."""
        records, deadline = [], time.monotonic() + patience
        while any(self._reached[partition] < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"read up to {self._reached} in {patience} s, not up to {dict(ends)}")
            records += self.take()
        return records

    def close(self) -> None:
        self._consumer.close()

    def _see(self, message: Message) -> Record | None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            assert partition is not None
            assert offset is not None
            self._reached[partition] = offset + 1
            return _record(message, partition, offset)
        if error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
            self._reached[partition] = max(self._reached[partition], offset)
        elif error.code() not in _PASSING:
            raise KafkaException(error)
        return None


def _record(message: Message, partition: int, offset: int) -> Record:
    headers = tuple(cast("list[tuple[str, bytes | None]]", message.headers() or []))
    return Record(partition, offset, message.key(), message.value(), headers, message.timestamp()[1])


class Watcher:
    """A process that reads a topic all the time, as any reader could: what it saw once cannot be taken back.

    Parameters
    ----------
    client, topic, isolation
        As for `read_topic`.
    folder : Path
        A folder of its own, where it writes what it saw.
    """

    def __init__(self, client: Client, topic: str, folder: Path, isolation: str = READ_COMMITTED) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.topic = topic
        self._asked = (client, topic, isolation)
        self._seen = folder / "seen.jsonl"
        task = folder / "task.json"
        task.write_text(json.dumps({"client": dict(client), "topic": topic, "isolation": isolation}))
        setpriv = shutil.which("setpriv")
        binding = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        command = [*binding, sys.executable, "-m", "tests.support.kafka_reader", str(task), str(self._seen)]
        with (folder / "watcher.log").open("wb") as self._log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self._log, cwd=_ROOT)
        self._wait_until_it_reads()

    def stop(self, settle: float = 30.0) -> list[Record]:
        """Have it read to the present end (`settle` as for `read_topic`), and return what it saw, in that order."""
        _ends(*self._asked, settle)
        self._process.terminate()
        if self._process.wait(_PATIENCE):
            raise RuntimeError(f"the watcher ended with {self._process.returncode}: {self._words()}")
        return [msgspec.json.decode(line, type=Record) for line in self._seen.read_bytes().splitlines()]

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _wait_until_it_reads(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._seen.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"the watcher did not start: {self._words()}")
            time.sleep(0.01)

    def _words(self) -> str:
        return Path(self._log.name).read_text(errors="replace")[-2000:]


def _watch(task: dict[str, str], client: Client, seen: Path) -> None:
    asked = (client, task["topic"], task["isolation"])
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    reading = _Reading(client, task["topic"], sorted(_ends(*asked)), task["isolation"])
    with seen.open("wb") as file:
        while not stopping:
            file.writelines(_lines(reading.take()))
            file.flush()
        file.writelines(_lines(reading.up_to(_ends(*asked))))
    reading.close()


def _lines(records: list[Record]) -> list[bytes]:
    return [msgspec.json.encode(record) + b"\n" for record in records]


def main() -> None:
    """Watch as the task's file says."""
    task = json.loads(Path(sys.argv[1]).read_text())
    _watch(task, task.pop("client"), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
