"""The broker and the topics of the bench: what is written before, and what is looked at after."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

__all__ = ["BYTES", "PARTITIONS", "Totals", "check_copies", "check_windows", "drop_topic", "fill", "new_topic"]

PARTITIONS, AUCTIONS, BYTES = 4, 1_000, 200
_PER_MILLISECOND = 10
"""Messages in a millisecond of event time."""
_PRICES = 1_000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_AT_ONCE = 100_000


@dataclass(frozen=True)
class Totals:
    """What a topic holds: how many rows, and how often each (bids, revenue, top) of a window of an auction."""

    rows: int
    windows: Counter[tuple[int, int, int]]
    last: int
    """Of the windows, those that only the end of the topic closes, at most."""


def new_topic(brokers: str, **settings: str) -> str:
    """Make a topic with a name of its own."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(name, PARTITIONS, 1, config=settings)])[name].result(30)
    return name


def drop_topic(brokers: str, topic: str) -> None:
    """Remove a topic and what it takes of the disk."""
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.delete_topics([topic])[topic].result(30)


def messages(count: int) -> Iterator[tuple[int, bytes]]:
    """Give auctions and values: bids as JSON of `BYTES` bytes, in the order of their times."""
    pad, text = "x" * BYTES, ""
    for number, auction in enumerate(_auctions(count).tolist()):
        if number % _PER_MILLISECOND == 0:
            moment = _BEGAN + timedelta(milliseconds=number // _PER_MILLISECOND)
            text = moment.isoformat(timespec="milliseconds")[:-6]
        head = f'{{"id":{number},"auction":{auction},"price":{number % _PRICES},"date_time":"{text}Z","pad":"'
        yield auction, (head + pad[: BYTES - 2 - len(head)] + '"}').encode()


def _auctions(count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(1).integers(0, AUCTIONS, count)


def totals(count: int) -> Totals:
    """Return what the first `count` bids come to."""
    window = np.arange(count) // (_PER_MILLISECOND * 10_000)
    groups, price = window * AUCTIONS + _auctions(count), np.arange(count) % _PRICES
    bids, revenue = np.bincount(groups), np.bincount(groups, price).astype(np.int64)
    top = np.zeros(len(bids), np.int64)
    np.maximum.at(top, groups, price)
    held = bids > 0
    found = zip(bids[held].tolist(), revenue[held].tolist(), top[held].tolist(), strict=True)
    return Totals(count, Counter(found), 2 * AUCTIONS)


def fill(brokers: str, topic: str, count: int) -> Totals:
    """Write `count` bids, those of an auction to one partition."""
    producer = Producer(
        {"bootstrap.servers": brokers, "queue.buffering.max.messages": 0, "queue.buffering.max.kbytes": 1 << 20}
    )
    for number, (auction, value) in enumerate(messages(count)):
        producer.produce(topic, value, str(auction), auction % PARTITIONS)
        if number % _AT_ONCE == 0:
            producer.flush(60)
    assert producer.flush(60) == 0
    return totals(count)


def read_committed(brokers: str, topic: str) -> Iterator[bytes]:
    """Give the value of every committed record of a topic, as a plain consumer sees it."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "bench-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    open_partitions = PARTITIONS
    while open_partitions:
        for message in consumer.consume(10_000, 0.2):
            if message.error() is None:
                yield message.value() or b""
            else:
                open_partitions -= 1
    consumer.close()


def check_copies(brokers: str, topic: str, wanted: Totals) -> None:
    """Raise unless a topic holds every row, once."""
    numbers = (int(value[6 : value.index(b",")]) for value in read_committed(brokers, topic))
    times = np.bincount(np.fromiter(numbers, np.int64), minlength=wanted.rows)
    if len(times) != wanted.rows or not (times == 1).all():
        raise AssertionError(f"of {wanted.rows} rows {(times == 0).sum()} are missing, {(times > 1).sum()} came twice")


def check_windows(brokers: str, topic: str, wanted: Totals, *, whole: bool) -> None:
    """Raise unless a topic holds every window, once and right; without `whole`, the last ones may be missing."""
    found: Counter[tuple[int, int, int]] = Counter()
    for value in read_committed(brokers, topic):
        row = json.loads(value)
        found[int(row["bids"]), int(row["revenue"]), int(row["top"])] += 1
    wrong, missing = (found - wanted.windows).total(), (wanted.windows - found).total()
    if wrong or missing > (0 if whole else wanted.last):
        raise AssertionError(f"of {wanted.windows.total()} windows {missing} are missing, {wrong} are wrong or twice")
