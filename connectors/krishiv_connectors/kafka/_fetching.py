"""One consumer for all partitions that a subtask reads, and a queue of fetched messages for each of them.

Partitions are assigned by the job, not by a group: there is no rebalance. A partition whose queue has grown long is
paused until its reader has caught up.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from krishiv_connectors.kafka._client import kafka_errors, translated
from krishiv_connectors.kafka._errors import KafkaRefused, OffsetGone
from krishiv_connectors.kafka._fetched import Fetched
from krishiv_connectors.kafka._topic_ids import TopicIds
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from krishiv_connectors.kafka._client import Clients
    from krishiv_connectors.kafka._topics import Partition, Topic
    from krishiv_guarantees import KrishivError

__all__ = ["Fetcher", "PartitionQueue"]

_log = logging.getLogger("krishiv_connectors")

_AT_ONCE = 500
"""Messages taken from the client in one go: few enough to stay in the processor's caches, and for no garbage
collection to begin while they live. A client with 10,000 at once is half as fast."""
_MOST, _MOST_BYTES = 10_000, 16 << 20
"""Records, and bytes of them, that are read at once."""
_LONG, _LONG_BYTES = 40_000, 64 << 20
"""Records in a queue, or bytes of them, at which its partition is paused."""
_LAST_WORDS = 3.0
"""Seconds that a broker has to confirm the last offsets. They are for others to look at."""
_STATISTICS = 5_000
"""Milliseconds between two reports of the client."""


class PartitionQueue:
    """The messages of one partition that have been fetched and not yet read.

    Attributes
    ----------
    end : int or None
        Up to where the partition had been read when its end was last seen: a record there would be new; None: not yet.
    """

    def __init__(self, fetcher: Fetcher, partition: Partition) -> None:
        self.partition = partition
        self.end: int | None = None
        self.paused = False
        self._fetcher = fetcher
        self._parts: deque[Fetched] = deque()
        self._length = self._bytes = 0
        self._error: KrishivError | None = None

    def fill(self) -> float:
        """Return how full it is; its partition is paused at 1."""
        return max(self._length / _LONG, self._bytes / _LONG_BYTES)

    def add(self, part: Fetched) -> None:
        """Append records that were fetched."""
        self._parts.append(part)
        self._length += len(part)
        self._bytes += part.size

    def fail(self, error: KrishivError) -> None:
        """Have `take` raise `error` when the messages before it have been taken."""
        self._error = self._error or error

    def take(self, most: int) -> Fetched | None:
        """Return the next records, at most `most`; fetches if there are few. None: none just now."""
        most = min(most, _MOST)
        for _ in range(most // _AT_ONCE + 1):
            if self._length >= most or self._bytes >= _MOST_BYTES or not self._fetcher.poll():
                break
        if not self._parts:
            if self._error is not None:
                raise self._error
            return None
        taken = self._parts.popleft()
        while self._parts and len(taken) < most and taken.size < _MOST_BYTES:
            taken.extend(self._parts.popleft())
        if len(taken) > most:
            self._parts.appendleft(taken[most:])
            taken = taken[:most]
        self._length -= len(taken)
        self._bytes -= taken.size
        self._fetcher.relieve(self)
        return taken

    def confirm(self) -> None:
        """Raise if what has been taken may be from another topic of the same name."""
        self._fetcher.confirm()

    def close(self) -> None:
        """Stop fetching the partition."""
        self._fetcher.remove(self)


class Fetcher:
    """The consumer of one source subtask.

    Parameters
    ----------
    topics : mapping of name to Topic
        What is read, as it is now.
    group : str or None
        The group under whose name positions are published.
    committed : bool
        Only records of committed transactions are read.
    metadata : collection of str
        The columns of metadata that will be asked for.
    gauge : callable (name, value)
        Takes the client's statistics.
    """

    def __init__(
        self,
        clients: Clients,
        topics: Mapping[str, Topic],
        *,
        group: str | None,
        committed: bool,
        metadata: Collection[str],
        gauge: Callable[[str, float], None],
    ) -> None:
        self.topics = topics
        self._ids = TopicIds(clients, topics)
        self._metadata = metadata
        self._unconfirmed = False
        self._told = ""
        self._what = f"reading from {clients.brokers}"
        self._gauge = gauge
        self._queues: dict[Partition, PartitionQueue] = {}
        self._refused: KafkaRefused | None = None
        self._publishing: dict[Partition, int] = {}
        own = {"group_id": group} if group is not None else {}
        self._consumer = clients.consumer(
            isolation_level="read_committed" if committed else "read_uncommitted",
            enable_partition_eof=True,
            statistics_interval_ms=_STATISTICS,
            stats_cb=self._take_statistics,
            error_cb=self._take_error,
            on_commit=self._take_commit,
            **own,
        )

    def add(self, partition: Partition, offset: int) -> PartitionQueue:
        """Begin to fetch `partition` at `offset`."""
        queue = self._queues[partition] = PartitionQueue(self, partition)
        with kafka_errors(self._what):
            self._consumer.incremental_assign([_at(partition, offset)])
        return queue

    def remove(self, queue: PartitionQueue) -> None:
        """Stop fetching a partition."""
        if self._queues.pop(queue.partition, None) is not None:
            with kafka_errors(self._what):
                self._consumer.incremental_unassign([_at(queue.partition)])

    def poll(self) -> bool:
        """Put what has been fetched into the queues; does not wait. Returns whether there was anything."""
        with kafka_errors(self._what):
            messages = self._consumer.consume(_AT_ONCE, 0)
        if self._refused is not None:
            raise self._refused
        if not messages:
            return False
        self._unconfirmed, self._told = True, ""
        if any(map(type(messages[0]).error, messages)):
            messages = self._sorted_out(messages)
        one_topic = len({topic for topic, _ in self._queues}) == 1
        for run in _runs(messages, one_topic=one_topic):
            self._deliver(Fetched.of(run, self._metadata))
        return True

    def confirm(self) -> None:
        """Raise if what has been fetched may be from other topics of the same names.

        Brokers that do not answer are asked again next time.
        """
        if self._unconfirmed:
            self._unconfirmed = not self._ids.same()

    def relieve(self, queue: PartitionQueue) -> None:
        """Fetch a paused partition again if its queue has become short."""
        if queue.paused and queue.fill() < 0.5:
            queue.paused = False
            self._consumer.resume([_at(queue.partition)])

    def publish(self, offsets: dict[Partition, int]) -> None:
        """Commit `offsets` to the group; asynchronously, the newest once more at the end if it was not confirmed."""
        self._publishing.update(offsets)
        with kafka_errors(self._what):
            self._consumer.commit(offsets=[_at(p, offset) for p, offset in offsets.items()], asynchronous=True)

    def close(self) -> None:
        """Publish what was not confirmed, and leave."""
        try:
            if self._publishing:
                self._publish_last()
        except (RetriableError, KafkaRefused) as error:
            _log.warning("offsets were not published: %s", error.message)
        finally:
            self._ids.close()
            self._consumer.close()

    def _publish_last(self) -> None:
        """Publish what was not confirmed once more, and wait a moment for the broker, not for its return."""
        self.publish(dict(self._publishing))
        deadline = time.monotonic() + _LAST_WORDS
        while self._publishing and time.monotonic() < deadline:
            self._consumer.poll(0.05)
        if self._publishing:
            _log.warning("offsets were not published: the broker did not answer in %g s", _LAST_WORDS)

    # ---------------------------------------------------------------- what the client tells

    def _deliver(self, part: Fetched) -> None:
        queue = self._queues.get(part.partition)
        if queue is None:
            return  # fetched before the partition was given up
        queue.add(part)
        if queue.fill() > 1 and not queue.paused:
            queue.paused = True
            self._consumer.pause([_at(part.partition)])

    def _sorted_out(self, messages: Iterable[Any]) -> list[Any]:
        """Return `messages` without the client's notes between them, which go to their queues."""
        good: list[Any] = []
        for message in messages:
            if message.error() is None:
                good.append(message)
                continue
            queue = self._queues.get((message.topic(), message.partition()))
            if queue is not None:
                self._note(queue, message)
        return good

    def _note(self, queue: PartitionQueue, message: Any) -> None:
        error, (topic, number) = message.error(), queue.partition
        name = error.name()
        if name == "_PARTITION_EOF":
            queue.end = message.offset()
        elif isinstance(trouble := _trouble(error, topic, number, message.offset()), RetriableError):
            _log.warning("%s", trouble.message)  # the client tries again by itself
        else:
            self._ids.same()  # that it is another topic now says more
            queue.fail(trouble)

    def _take_error(self, error: Any) -> None:
        trouble = translated(error, self._what)
        if isinstance(trouble, KafkaRefused):
            self._refused = trouble
        elif error.name() != self._told:  # the client tells of every try
            self._told = error.name()
            _log.warning("%s", trouble.message)

    def _take_commit(self, error: Any, offsets: Iterable[Any]) -> None:
        if error is None:
            for each in offsets:
                if each.error is None and self._publishing.get((each.topic, each.partition)) == each.offset:
                    del self._publishing[each.topic, each.partition]

    def _take_statistics(self, text: str) -> None:
        found = json.loads(text)
        numbers = [p for topic in found["topics"].values() for p in topic["partitions"].values()]
        lags = [each["consumer_lag_stored"] for each in numbers if each.get("consumer_lag_stored", -1) >= 0]
        self._gauge("kafka_fetched_not_read", float(sum(each.get("fetchq_cnt", 0) for each in numbers)))
        self._gauge("kafka_received_bytes", float(found.get("rx_bytes", 0)))
        if lags:
            self._gauge("kafka_lag", float(sum(lags)))


def _runs(messages: list[Any], *, one_topic: bool) -> Iterable[list[Any]]:
    """Cut `messages` where the partition changes. The client hands them out partition by partition, mostly."""
    if not messages:
        return
    kind = type(messages[0])
    changes = np.diff(np.fromiter(map(kind.partition, messages), np.int32, len(messages))) != 0
    if not one_topic:
        changes |= np.fromiter((a != b for a, b in pairwise(map(kind.topic, messages))), np.bool_, len(messages) - 1)
    begin = 0
    for end in (*(np.flatnonzero(changes) + 1).tolist(), len(messages)):
        yield messages[begin:end]
        begin = end


def _trouble(error: Any, topic: str, number: int, offset: int) -> KrishivError:
    if error.name() not in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
        return translated(error, f"topic {topic!r}, partition {number}")
    return OffsetGone(
        f"topic {topic!r}, partition {number}: the records from offset {offset} on have been deleted: {error.str()}",
        hint="rows are lost to this job: keep records longer than a job may stand still (retention.ms); to go on with "
        'what is there, begin anew with restore="none" and another output',
        topic=topic,
        partition=number,
        offset=offset,
    )


def _at(partition: Partition, offset: int | None = None) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(*partition) if offset is None else TopicPartition(*partition, offset)
