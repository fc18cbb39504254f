"""What a source may leave to the engine: where it begins, what its readers share, publishing how far it has come."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore
from krishiv_guarantees import RetriableError
from tests.integration.jobs import Gated, read, rows, wait_until


class Connection:
    """What the readers of a subtask share."""

    def __init__(self) -> None:
        self.users = 0
        self.closed = threading.Event()

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


class Log(ks.MemorySource):
    """A source that tells what it was told, and begins somewhere inside of its rows."""

    discovery_interval = 0.005

    def __init__(self, *, start: int = 0, splits: int = 1) -> None:
        super().__init__(rows(range(100)), splits=splits)
        self.start = start
        self.told: list[dict[str, Any]] = []
        self.connections: list[Connection] = []
        self.trouble: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    def splits(self) -> list[ks.Split]:
        return [replace(split, start=self.start) for split in super().splits()]

    def later_splits(self) -> list[ks.Split]:
        if self.trouble is not None:
            raise self.trouble
        return [replace(split, start=0) for split in super().splits()]

    def open(self, split: ks.Split, position: Any, ctx: Any) -> Any:
        assert self.hold.is_set(), "not yet"
        if "connection" not in ctx.shared:
            self.connections.append(Connection())
            ctx.shared["connection"] = self.connections[-1]
        ctx.shared["connection"].users += 1
        ctx.gauge("opened at", position)
        return super().open(split, position, ctx)

    def committed(self, positions: Any, ctx: Any) -> None:
        self.told.append(dict(positions))
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def session():
    with ks.Session(linger=0, batch_rows=10, checkpoint_interval=None, restart_attempts=0) as made:
        yield made


def test_positions_are_published_once_their_epoch_is_in_every_sink(session):
    source, sink = Log(), Gated("commit")
    sink.closed.set()
    with session.start_in(MemoryStore(), read(source, max_rate=200).write(sink, name="out"), job="j") as handle:
        handle.checkpoint()
        sink.gate.wait_until_reached()
        assert source.told == []
        sink.gate.open()
        wait_until(lambda: bool(source.told))
        handle.wait(20)
    first, last = source.told[0], source.told[-1]
    assert 0 <= first["rows-0"] <= 100
    assert last == {"rows-0": 100}


def test_trouble_with_publishing_is_no_trouble_of_the_job(session, caplog):
    source, sink = Log(), ks.MemorySink()
    source.trouble = RetriableError("the broker is away")
    result = session.start_in(MemoryStore(), read(source).write(sink, name="out"), job="j").wait(20)
    assert result.state == "finished"
    assert source.told == [{"rows-0": 100}]
    assert "the broker is away" in caplog.text


def test_a_split_begins_where_it_was_to_begin_when_the_job_first_started(session):
    """Also if the job died before any of it was read, and "now" is later by then."""
    store, sink, source = MemoryStore(), Gated("open"), Log(start=40)
    sink.closed.set()
    pipeline = read(source).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        stopped = threading.Thread(target=handle.stop)  # the barrier of the stop waits behind the sink
        stopped.start()
        sink.gate.wait_until_reached()
        sink.gate.open()
        stopped.join(20)
    source.start = 70
    session.start_in(store, pipeline, job="j").wait(20)
    assert len(sink.table()) == 60


def test_splits_that_were_never_opened_begin_where_they_were_to_begin(session):
    class Late(Log):
        sequential = True  # the second split is known, and not opened, while the first is read

    store, sink, source = MemoryStore(), ks.MemorySink(), Late(start=5, splits=2)
    pipeline = read(source, max_rate=100).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in > 0)
        handle.stop()
    assert len(sink.table()) < 45
    source.start = 20
    session.start_in(store, read(source).write(sink, name="out"), job="j").wait(20)
    assert len(sink.table()) == 90


def test_a_look_for_new_splits_that_fails_for_now_does_not_fail_the_job(session, caplog):
    class Growing(Log):
        def capabilities(self):
            return replace(super().capabilities(), discovers_splits=True, bounded=False)

    source, sink = Growing(), ks.MemorySink()
    source.trouble = RetriableError("the broker is away")
    with session.start_in(MemoryStore(), read(source).write(sink, name="out"), job="j") as handle:
        wait_until(lambda: "could not look for new splits" in caplog.text)
        wait_until(lambda: handle.status().rows_in == 100)
        handle.stop()
    assert len(sink.table()) == 100


def test_what_readers_share_is_one_for_each_subtask_and_is_closed_after_them():
    source, sink = Log(splits=4), ks.MemorySink()
    with ks.Session(parallelism=2, checkpoint_interval=None) as session:
        handle = session.start_in(MemoryStore(), read(source).write(sink, name="out"), job="j")
        handle.wait(20)
        gauges = [each["gauges"] for name, each in handle.metrics()["operators"].items() if name.startswith("rows#")]
    assert sum(connection.users for connection in source.connections) == 4
    assert all(connection.closed.is_set() for connection in source.connections)
    assert {"opened at": 0} in gauges


def test_a_barrier_asks_each_reader_once_where_it_is(session):
    class Counted(Log):
        asked = 0

        def open(self, split: ks.Split, position: Any, ctx: Any) -> Any:
            reader, source = super().open(split, position, ctx), self
            position_of = reader.position

            def position_now() -> Any:
                source.asked += 1
                return position_of()

            reader.position = position_now
            return reader

    source = Counted()
    pipeline = read(source, max_rate=10).write(ks.MemorySink(), name="out")  # in hand for ten seconds
    with session.start_in(MemoryStore(), pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in > 0)
        for expected in (1, 2, 3):
            handle.checkpoint()
            assert source.asked == expected
        handle.cancel()
