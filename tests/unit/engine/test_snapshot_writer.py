"""The snapshot writer: files in the background, in order; an answer for each, until the attempt is over."""

from __future__ import annotations

import threading

import pytest

from krishiv_checkpoint import Committable, MemoryStore, OperatorSnapshot, StoreFull
from krishiv_stream._engine.snapshots import SnapshotCollector, SnapshotWriter
from tests.unit.engine.support import Acks


@pytest.fixture
def acks():
    return Acks()


@pytest.fixture
def writer(acks):
    made = SnapshotWriter(MemoryStore(), 7)
    made.attach(acks)
    yield made
    made.close()


def collector(epoch: int, *writes) -> SnapshotCollector:
    made = SnapshotCollector(epoch, 7, 0)
    for write in writes:
        made.defer(write)
    return made


def test_an_ack_carries_snapshots_and_committables(writer, acks):
    made = collector(1, lambda store: OperatorSnapshot("w", 0))
    made.add(OperatorSnapshot("s", 0))
    made.committables.append(Committable("out", 0, 1, 7, 0, b""))
    writer.submit("t#0", made)
    acks.wait(1)
    (ack,) = acks.acks
    assert (ack.task, ack.epoch, ack.token) == ("t#0", 1, 7)
    assert [snapshot.operator for snapshot in ack.snapshots] == ["w", "s"]
    assert [c.sink for c in ack.committables] == ["out"]


def test_a_snapshot_that_cannot_be_written_is_declined_and_the_next_one_is_written(writer, acks):
    def full(store):
        raise StoreFull("no space", hint="make some")

    writer.submit("t#0", collector(1, full))
    writer.submit("t#0", collector(2))
    acks.wait(2)
    ((task, epoch, error),) = acks.declined
    assert (task, epoch, type(error)) == ("t#0", 1, StoreFull)
    assert [ack.epoch for ack in acks.acks] == [2]


def test_snapshots_are_written_in_the_order_in_which_they_came(writer, acks):
    for epoch in range(1, 20):
        writer.submit(f"t#{epoch % 3}", collector(epoch))
    acks.wait(19)
    assert [ack.epoch for ack in acks.acks] == list(range(1, 20))


def test_what_fails_after_the_attempt_is_over_is_not_declined(acks):
    """The state it reads has been closed by then: that is no failure of the epoch."""
    writing, closed = threading.Event(), threading.Event()

    def write(store):
        writing.set()
        assert closed.wait(10)
        raise KeyError(1)

    writer = SnapshotWriter(MemoryStore(), 7)
    writer.attach(acks)
    writer.submit("t#0", collector(1, write))
    writer.submit("t#0", collector(2))
    assert writing.wait(10)
    writer.discard()
    closed.set()
    writer.close()
    assert (acks.acks, acks.declined) == ([], [])
