"""Failures at every step of a job: it restarts where it may, says what happened, and loses and doubles nothing."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import Any, ClassVar

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import CheckpointFailed, MemoryStore
from krishiv_connectors import SentinelSource
from krishiv_guarantees import FatalError, RetriableError, SinkCapabilities
from tests.integration.jobs import Failing, Gated, counts, read, row, rows, source, table, wait_until, windows

PASSING = RetriableError("not now", after=0)
EXPECTED = {(0, start): 10 for start in range(0, 100, 10)}


@pytest.fixture
def session():
    with ks.Session(linger=0, checkpoint_interval=None, restart_attempts=3, restart_backoff=0) as made:
        yield made


@pytest.fixture
def store():
    return MemoryStore()


class _Broken(SentinelSource):
    """A source that fails so many times to open a split."""

    left = 0
    error: BaseException = PASSING

    def open(self, split: Any, position: Any, ctx: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self.error
        return super().open(split, position, ctx)


def hundred() -> list[Any]:
    """Return one row per second, a batch of ten at a time."""
    return [rows(range(start, start + 10)) for start in range(0, 100, 10)]


@pytest.mark.parametrize("step", ["open", "write", "prepare", "commit"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_sink_that_fails_and_recovers_gets_everything_once(session, store, step, times):
    sink = Failing(step, PASSING, times=times)
    pipeline = windows(read(source(hundred()))).write(sink, name="out")
    result = session.start_in(store, pipeline, job="j").wait(20)
    assert sink.failures == times
    assert result.status.restarts == (0 if step == "commit" else times)
    assert counts(sink.table()) == EXPECTED


def test_a_job_that_fails_too_often_ends_with_the_error_and_says_it_in_its_status(session, store):
    sink = Failing("write", PASSING, times=9)
    handle = session.start_in(store, read(source(hundred())).write(sink, name="out"), job="j")
    with pytest.raises(RetriableError, match="not now"):
        handle.wait(20)
    status = handle.status()
    assert (status.state, status.restarts, sink.failures) == ("failed", 3, 4)
    assert "not now" in status.error


@pytest.mark.parametrize("error", [FatalError("never"), ValueError("a bug")])
def test_an_error_that_would_come_again_ends_the_job_at_once(session, store, error):
    sink = Failing("write", error)
    handle = session.start_in(store, read(source(hundred())).write(sink, name="out"), job="j")
    with pytest.raises(ks.KrishivError, match=r"never|a bug"):
        handle.wait(20)
    assert handle.status().restarts == 0


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError("slow")])
def test_a_broken_connection_restarts_the_job(session, store, error):
    sink = Failing("write", error)
    result = session.start_in(store, read(source(hundred())).write(sink, name="out"), job="j").wait(20)
    assert result.status.restarts == 1
    assert sink.table().num_rows == 100


def test_a_source_that_fails_to_open_is_opened_again(session, store):
    broken = _Broken(hundred())
    broken.left = 2
    sink = ks.MemorySink()
    result = session.start_in(store, windows(read(broken)).write(sink, name="out"), job="j").wait(20)
    assert result.status.restarts == 2
    assert counts(sink.table()) == EXPECTED


def test_a_restart_goes_on_from_the_last_checkpoint(session, store):
    pause = SentinelSource.Pause()
    sink = Failing("write", PASSING, broken=False)
    pipeline = read(source([rows(range(50)), pause, rows(range(50, 100))])).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 50)
        handle.checkpoint()
        sink.break_down()
        pause.release()
        result = handle.wait(20)
    assert (result.status.restarts, result.status.rows_in) == (1, 50)
    assert len(table(sink)) == 100


def test_a_failure_while_a_checkpoint_is_in_flight_loses_and_doubles_nothing(session, store):
    """The first sink has prepared the epoch; the second fails before it does."""
    pause = SentinelSource.Pause()
    good, bad = ks.MemorySink(), Failing("prepare", PASSING, broken=False)
    stream = read(source([rows(range(50)), pause, rows(range(50, 100))]))
    pipeline = ks.Pipeline.of(stream.write(good, name="good"), stream.write(bad, name="bad"))
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 50)
        bad.break_down()
        with pytest.raises(ks.KrishivError):
            handle.checkpoint()
        pause.release()
        assert handle.wait(20).status.restarts == 1
    assert table(good) == table(bad)
    assert len(table(good)) == 100


def test_an_error_in_a_users_function_at_the_barrier_fails_that_checkpoint_and_the_job(session, store):
    """Rows that a barrier pushes out of the source meet the function on the way."""

    def broken(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise ValueError("a bug of the user's")

    pipeline = read(source([row(1), SentinelSource.Pause()])).map_batches(broken).write(ks.MemorySink(), name="out")
    with ks.Session(linger=3600, checkpoint_interval=None) as patient:
        handle = patient.start_in(store, pipeline, job="j")
        with pytest.raises(ks.KrishivError, match=r"a bug of the user's|closed before|is over|failed"):
            handle.checkpoint()
        with pytest.raises(ks.KrishivError, match=r"KS-TASK.*a bug of the user's"):
            handle.wait(20)


class _Full:
    """A store whose state files cannot be written for a while."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.full = True

    def writer(self, key: str, *, final: bool = False) -> Any:
        if self.full:
            raise ks.StoreFull("no space", hint="make some", key=key)
        return self._store.writer(key, final=final)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_snapshot_that_cannot_be_written_fails_its_epoch_and_the_next_one_covers_it(session, store):
    full, sink, pause = _Full(store), ks.MemorySink(), SentinelSource.Pause()
    pipeline = windows(read(source([rows(range(15)), pause, *hundred()[2:]]))).write(sink, name="out")
    with session.start_in(full, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 15)
        with pytest.raises(CheckpointFailed, match="declined"):
            handle.checkpoint()
        full.full = False
        assert handle.checkpoint() == 2
        handle.cancel()
    pause.release()
    result = session.start_in(store, pipeline, job="j").wait(20)
    assert result.status.rows_in == 80
    assert counts(sink.table()) == {**EXPECTED, (0, 10): 5}


def test_committables_of_a_failed_epoch_are_committed_with_the_next(session, store):
    """Nothing comes again for them: the positions of the next manifest are behind their rows (P4)."""
    full, sink, pause = _Full(store), ks.MemorySink(), SentinelSource.Pause()
    stream = read(source([row(1), pause, row(2)]))
    pipeline = ks.Pipeline.of(stream.write(sink, name="out"), windows(stream).write(ks.MemorySink(), name="counts"))
    with session.start_in(full, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        with pytest.raises(CheckpointFailed):
            handle.checkpoint()
        assert sink.table().num_rows == 0
        full.full = False
        handle.checkpoint()
        wait_until(lambda: handle.status().epoch_committed == 2)
        assert sink.table().num_rows == 1
        pause.release()
        handle.wait(20)
    assert sink.table().num_rows == 2


class _OnceMore(ks.Sink):
    """An at-least-once sink that keeps what it flushed."""

    def __init__(self) -> None:
        self.kept: list[pa.RecordBatch] = []

    def open(self, ctx: Any) -> None:
        self._buffered: list[pa.RecordBatch] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self._buffered.append(batch)

    def flush(self) -> None:
        self.kept += self._buffered
        self._buffered.clear()

    def capabilities(self) -> SinkCapabilities:
        return SinkCapabilities(durable_flush=True)


def test_sinks_of_different_styles_each_keep_their_word_across_a_crash(session, store, tmp_path):
    pause = SentinelSource.Pause()
    plain, two_phase = _OnceMore(), Failing("write", PASSING, broken=False)
    staged = ks.SqliteSink(tmp_path / "out.db", "rows")
    stream = read(source([rows(range(50)), pause, rows(range(50, 100))]))
    pipeline = ks.Pipeline.of(
        stream.write(plain, name="plain"),
        stream.write(two_phase, name="two-phase"),
        stream.write(staged, name="staged"),
    )
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 50)
        handle.checkpoint()
        two_phase.break_down()
        pause.release()
        assert handle.wait(20).status.restarts == 1
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        moments = [moment for (moment,) in database.execute("select moment from rows")]
    assert len(moments) == len(set(moments)) == 100
    assert len(table(two_phase)) == 100
    assert {value for batch in plain.kept for value in batch["moment"].to_pylist()} == {
        value for _, _, value in table(two_phase)
    }


def test_dead_letters_come_once_across_a_crash(session, store, tmp_path):
    good = "\n".join(f'{{"n": {n}}}' if n % 3 else f"broken {n}" for n in range(30)) + "\n"
    (tmp_path / "a.ndjson").write_text(good)
    letters, sink = ks.MemorySink(), Failing("write", PASSING)
    numbers = ks.read(
        ks.JsonSource(tmp_path / "*.ndjson", schema=pa.schema([("n", pa.int64())])), name="in", on_bad_row=letters
    )
    result = session.start_in(store, numbers.write(sink, name="out"), job="j").wait(20)
    assert result.status.restarts == 1
    assert sorted(raw.decode().strip() for raw in letters.table()["raw"].to_pylist()) == sorted(
        f"broken {n}" for n in range(0, 30, 3)
    )
    assert sorted(sink.table()["n"].to_pylist()) == [n for n in range(30) if n % 3]


def test_a_job_that_fails_before_it_has_recovered_is_told_again_what_to_restore(session, store):
    """Else it would begin from nothing, or from where it should not."""
    pause, sink = SentinelSource.Pause(), Failing("open committer", PASSING, broken=False)
    pipeline = read(source([row(1), pause, row(2)])).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 1)
        handle.stop(savepoint="half")
    pause.release()
    sink.break_down()
    result = session.start_in(store, pipeline, job="j", restore="half").wait(20)
    assert (result.status.restarts, result.status.rows_in) == (1, 1)
    assert sink.table().num_rows == 2


def test_what_can_be_asked_of_a_job_while_it_restarts(store):
    sink = Gated("open")
    failing = Failing("write", RetriableError("not now", after=0))
    stream = read(source([row(1), SentinelSource.Pause()]))
    pipeline = ks.Pipeline.of(stream.write(sink, name="gated"), stream.write(failing, name="failing"))
    with ks.Session(linger=0, restart_backoff=0) as session, session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().restarts == 1)
        found: list[int] = []
        asker = threading.Thread(target=lambda: found.append(handle.checkpoint()))
        asker.start()
        asker.join(20)
        assert found == [handle.status().epoch_completed]
        assert handle.metrics()["operators"]["rows#0"]["rows_out"] == 1


def test_the_wait_before_a_restart_doubles_each_time_and_is_never_shorter_than_the_trouble_asks_for(store):
    class Noted(threading.Event):
        waits: ClassVar[list[float]] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waits.append(timeout or 0)
            return False

    sink = Gated("open committer")
    sink.closed.set()
    failing = Failing("write", RetriableError("not now", after=1.5), times=3)
    stream = read(source([row(1)]))
    pipeline = ks.Pipeline.of(stream.write(sink, name="gated"), stream.write(failing, name="failing"))
    with ks.Session(linger=0, restart_backoff=1.0, restart_attempts=3) as session:
        handle = session.start_in(store, pipeline, job="j")
        sink.gate.wait_until_reached()
        handle._job._cancelled = Noted()
        sink.gate.open()
        assert handle.wait(20).status.restarts == 3
    assert Noted.waits == [1.5, 2.0, 4.0]


def test_a_session_lets_go_of_jobs_that_have_ended():
    with ks.Session() as session:
        for _ in range(20):
            read(source([row(1)])).collect(session)
        assert len(session._handles) == 1
