"""How jobs end: by themselves, stopped, drained, cancelled, in any order and at any moment (P7)."""

from __future__ import annotations

import threading

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import CommitOutcome, MemoryStore
from krishiv_connectors import SentinelSource
from krishiv_guarantees import FatalError, RetriableError
from tests.integration.jobs import Failing, Gated, counts, read, row, rows, source, table, wait_until, windows


@pytest.fixture
def session():
    with ks.Session(linger=0, checkpoint_interval=None, restart_attempts=3, restart_backoff=0) as made:
        yield made


@pytest.fixture
def store():
    return MemoryStore()


def endless(*items) -> SentinelSource:
    """A source that gives `items` and then waits for ever."""
    return source([*items, SentinelSource.Pause()])


def reads(handle, number: int):
    """Wait until the job has read so many rows."""
    wait_until(lambda: handle.status().rows_in >= number)


# --- stop


def test_a_stopped_job_keeps_its_windows_open_and_goes_on(session, store):
    pause, sink = SentinelSource.Pause(), ks.MemorySink()
    pipeline = windows(read(source([row(1), pause, row(2), row(30)]))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        assert handle.stop().state == "stopped"
    assert sink.table().num_rows == 0
    pause.release()
    assert session.start_in(store, pipeline, job="j").wait(20).state == "finished"
    assert counts(sink.table()) == {(0, 0): 2, (0, 30): 1}


def test_a_stop_before_the_tasks_run_happens_as_soon_as_they_do(session, store):
    sink = Gated("open committer")
    sink.closed.set()
    pipeline = windows(read(endless(row(1)))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        sink.gate.wait_until_reached()
        handle.request_stop()
        sink.gate.open()
        assert handle.wait(20).state == "stopped"


def test_a_job_may_be_stopped_twice_and_after_its_end(session, store):
    pipeline = windows(read(endless(row(1)))).write(ks.MemorySink(), name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        handle.request_stop()
        handle.request_stop()
        assert handle.wait(20).state == "stopped"
        assert handle.stop().state == "stopped"
        handle.cancel()
        assert handle.status().state == "stopped"


def test_a_stop_that_meets_a_failed_checkpoint_is_tried_again(session, store):
    sink = ks.MemorySink()
    pipeline = windows(read(endless(row(1)))).write(sink, name="out")
    broken = _FailingStore(store, failures=1)
    with session.start_in(broken, pipeline, job="j") as handle:
        reads(handle, 1)
        assert handle.stop().state == "stopped"
        assert handle.status().failed_checkpoints == 1


def test_a_stop_survives_a_restart_of_the_job(session, store):
    sink = Failing("prepare", RetriableError("not now", after=0))
    pipeline = windows(read(endless(row(1)))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        result = handle.stop()
    assert (result.state, result.status.restarts) == ("stopped", 1)


def test_a_job_that_is_stopped_as_its_sources_end_is_either_and_loses_nothing(session, store):
    sink = ks.MemorySink()
    pipeline = windows(read(source([rows(range(100))]))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        assert handle.stop().state in ("stopped", "finished")
    assert session.start_in(store, pipeline, job="j").wait(20).state == "finished"
    assert counts(sink.table()) == {(0, start): 10 for start in range(0, 100, 10)}


# --- drain


def test_a_drained_job_closes_its_windows_over_what_it_has_read(session, store):
    sink = ks.MemorySink()
    pipeline = windows(read(endless(row(1), row(12)))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 2)
        assert handle.stop(drain=True).state == "finished"
    assert counts(sink.table()) == {(0, 0): 1, (0, 10): 1}
    assert session.start_in(store, pipeline, job="j").wait(20).state == "finished"


def test_a_stop_in_the_middle_of_a_drain_does_not_leave_a_job_that_goes_on_behind_closed_windows(session, store):
    """Its windows have fired by then: whatever a resumed job read would be late, and lost."""
    sink, pause = Gated("write"), SentinelSource.Pause()
    pipeline = windows(read(source([row(1), pause, row(2), row(3)]))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        sink.closed.set()
        drainer = threading.Thread(target=lambda: handle.stop(drain=True))
        drainer.start()
        sink.gate.wait_until_reached()  # the window has fired; the sink has not seen the end
        handle.request_stop()
        sink.gate.open()
        assert handle.wait(20).state == "finished"
        drainer.join()
    pause.release()
    again = session.start_in(store, pipeline, job="j").wait(20)
    assert (again.state, again.status.late_rows) == ("finished", 0)
    assert counts(sink.table()) == {(0, 0): 1}


def test_a_drain_asked_for_after_a_stop_is_that_stop(session, store):
    pause, sink = SentinelSource.Pause(), ks.MemorySink()
    pipeline = windows(read(source([row(1), pause, row(2)]))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        handle.request_stop()
        assert handle.stop(drain=True).state == "stopped"
    pause.release()
    session.start_in(store, pipeline, job="j").wait(20)
    assert counts(sink.table()) == {(0, 0): 2}


def test_a_crash_in_the_middle_of_a_drain_is_resumed_as_a_drain(session, store):
    sink = Failing("commit", FatalError("crash"), broken=False)
    pause = SentinelSource.Pause()
    items = {"a": [row(1), pause, row(2)], "b": [row(4), pause, row(5), row(30)]}
    pipeline = windows(read(source(items))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 2)
        sink.break_down()
        with pytest.raises(FatalError, match="crash"):
            handle.stop(drain=True)
    pause.release()
    again = session.start_in(store, pipeline, job="j").wait(20)
    assert (again.state, again.status.rows_in, again.status.late_rows) == ("finished", 0, 0)
    assert counts(sink.table()) == {(0, 0): 2}


# --- the end of one source of several


def test_a_source_that_ends_closes_its_own_windows_while_another_goes_on(session, store):
    first, second = ks.MemorySink(), ks.MemorySink()
    pause = SentinelSource.Pause()
    short = windows(read(source([row(1), row(2)]), name="short"), name="short-windows").write(first, name="first")
    long = windows(read(source([row(1), pause, row(2)]), name="long"), name="long-windows").write(second, name="second")
    with session.start_in(store, ks.Pipeline.of(short, long), job="j") as handle:
        reads(handle, 3)
        wait_until(lambda: handle.checkpoint() and first.table().num_rows == 1)
        assert handle.stop().state == "stopped"
    assert counts(first.table()) == {(0, 0): 2}
    pause.release()
    assert session.start_in(store, ks.Pipeline.of(short, long), job="j").wait(20).state == "finished"
    assert (counts(first.table()), counts(second.table())) == ({(0, 0): 2}, {(0, 0): 2})


def test_a_union_goes_on_with_what_is_left_of_its_inputs(session, store):
    sink, pause = ks.MemorySink(), SentinelSource.Pause()
    left = read(source([row(1)]), name="left")
    right = read(source([row(2), row(15), pause, row(16)]), name="right")
    pipeline = windows(left.union(right)).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 3)
        wait_until(lambda: handle.checkpoint() and sink.table().num_rows == 1)
        handle.stop()
    pause.release()
    session.start_in(store, pipeline, job="j").wait(20)
    assert counts(sink.table()) == {(0, 0): 2, (0, 10): 2}


def test_splits_that_appear_after_their_source_has_ended_are_an_error_in_a_job_that_goes_on(session, store):
    pause, first, second = SentinelSource.Pause(), ks.MemorySink(), ks.MemorySink()

    def pipeline(**more):
        short = read(source({"a": [row(1)], **more}), name="short")
        long = read(source([row(1), pause, row(2)]), name="long")
        return ks.Pipeline.of(windows(short, name="w").write(first, name="first"), long.write(second, name="second"))

    with session.start_in(store, pipeline(), job="j") as handle:
        reads(handle, 2)
        handle.stop()
    pause.release()
    with pytest.raises(ks.KrishivError, match=r"KS-NEW-INPUT.*'b'"):
        session.start_in(store, pipeline(b=[row(2)]), job="j").wait(20)


# --- cancel


def test_a_cancelled_job_goes_on_from_its_last_checkpoint(session, store):
    pause, sink = SentinelSource.Pause(), ks.MemorySink()
    pipeline = read(source([row(1), pause, row(2)])).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        handle.checkpoint()
        handle.cancel()
        assert handle.wait(1).state == "cancelled"
    pause.release()
    session.start_in(store, pipeline, job="j").wait(20)
    assert [value for _, value, _ in table(sink)] == [1, 1]


class _NeverReady(ks.MemorySink):
    """A sink whose commits always ask for more time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def commit(self, epoch, committables):
        self.asked.set()
        return CommitOutcome.retry("not yet", after=60)


def test_a_job_can_be_cancelled_while_it_recovers(session, store):
    sink = _NeverReady()
    pipeline = read(endless(row(1))).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        reads(handle, 1)
        handle.checkpoint()
        handle.cancel()
    sink.asked.clear()
    with session.start_in(store, pipeline, job="j") as handle:
        assert sink.asked.wait(10)
        handle.cancel()
        assert handle.wait(1).state == "cancelled"


def test_a_job_can_be_cancelled_while_it_waits_to_restart(store):
    sink = Failing("write", RetriableError("not now", after=600), times=9)
    pipeline = read(endless(row(1))).write(sink, name="out")
    with ks.Session(linger=0, restart_attempts=5) as session, session.start_in(store, pipeline, job="j") as handle:
        wait_until(lambda: handle.status().state == "restarting")
        assert "not now" in handle.status().error
        handle.cancel()
        assert handle.wait(1).state == "cancelled"


def test_a_job_can_be_cancelled_while_its_tasks_wait_for_each_other(session, store):
    sink = Gated("write")
    sink.closed.set()
    full = [rows(range(2_000)) for _ in range(40)]
    pipeline = windows(read(source(full)), size=1).write(sink, name="out")
    with session.start_in(store, pipeline, job="j") as handle:
        sink.gate.wait_until_reached()
        canceller = threading.Thread(target=handle.cancel)
        canceller.start()
        sink.gate.open()
        canceller.join(20)
        assert handle.wait(1).state == "cancelled"


class _FailingStore:
    """A checkpoint store that is full for the first manifests."""

    def __init__(self, store: MemoryStore, failures: int) -> None:
        self._store = store
        self._left = failures
        self._taken_over = False

    def create(self, key: str, data: bytes) -> None:
        if key.startswith("log/"):
            if self._taken_over and self._left:
                self._left -= 1
                raise ks.StoreFull("no space", hint="make some")
            self._taken_over = True
        self._store.create(key, data)

    def __getattr__(self, name: str):
        return getattr(self._store, name)
