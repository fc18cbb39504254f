"""The threaded driver: what it does with time, threads and callbacks. What it decides is tested at the coordinator."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import (
    Ack,
    BarrierKind,
    CheckpointFailed,
    CommitFailed,
    CommitOutcome,
    EpochPhase,
    Fenced,
    InvalidTransition,
    JobLog,
    JobOver,
    MemoryStore,
    OperatorSnapshot,
    SavepointExists,
    StateFile,
    StoreFull,
    load_savepoint,
)
from krishiv_guarantees import RetriableError
from tests.unit.coordinator.fakes import PATIENCE, Rig

if TYPE_CHECKING:
    from collections.abc import Callable


class HurtStore(MemoryStore):
    """A store whose creates can be made to fail, before or after they take effect."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.hold: Callable[[], None] = lambda: None

    def create(self, key: str, data: bytes) -> None:
        self.hold()
        if self.before:
            raise self.before.pop(0)
        super().create(key, data)
        if self.after:
            raise self.after.pop(0)


def test_driver_takes_an_epoch_from_trigger_to_commit() -> None:
    with Rig() as rig:
        future = rig.driver.checkpoint()
        assert rig.plane.next() == ("trigger", 1)
        rig.answer(1)
        assert rig.plane.next() == ("completed", 1)
        assert rig.plane.next() == ("committed", 1)
        assert future.result(PATIENCE) == 1
        assert rig.sink.applied == [1]
        manifest = rig.attempt.log.read().manifest
        assert manifest is not None
        assert (manifest.epoch, manifest.kind, manifest.job) == (1, BarrierKind.CHECKPOINT, "rig")
        assert [c.epoch for c in manifest.pending] == [1]


def test_driver_triggers_by_its_clock_when_an_interval_is_set() -> None:
    with Rig(checkpoint_interval=0.01) as rig:
        wanted = {(what, epoch) for what in ("trigger", "completed", "committed") for epoch in (1, 2, 3)}
        while wanted:
            what, epoch = rig.plane.next()
            wanted.discard((what, epoch))
            if what == "trigger":  # it may come before the epoch before it is committed
                rig.answer(epoch)


def test_driver_fails_an_epoch_by_its_clock_and_the_next_one_carries_it() -> None:
    with Rig(checkpoint_timeout=0.01) as rig:
        future = rig.driver.checkpoint()
        assert rig.plane.next() == ("trigger", 1)
        with pytest.raises(CheckpointFailed, match="no ack from task"):
            future.result(PATIENCE)
        assert rig.driver.status().failed == 1
        assert "no ack" in rig.driver.status().last_failure
        assert rig.sink.applied == []
        assert rig.events[-1].phase is EpochPhase.FAILED


def test_driver_finishes_and_the_log_says_so_when_its_tasks_ended() -> None:
    with Rig() as rig:
        rig.driver.ended("task")
        assert rig.plane.next() == ("trigger", 1)
        assert rig.plane.kinds[1] is BarrierKind.FINISH
        rig.answer(1)
        assert rig.ended() == "finished"
    assert rig.begin().finished is not None


def test_driver_stops_behind_a_barrier_and_the_next_attempt_goes_on_from_it() -> None:
    with Rig() as rig:
        stopped = rig.driver.stop()
        rig.plane.next()
        rig.answer(1)
        assert rig.ended() == "stopped"
        assert stopped.result(PATIENCE) is None
    attempt = rig.begin()
    assert attempt.finished is None
    assert attempt.committed_through == {"sink": {"0": 1}}
    assert attempt.next_epoch == 2


def test_driver_drains_when_asked_to_and_the_log_says_drained() -> None:
    with Rig() as rig:
        stopped = rig.driver.stop(drain=True)
        rig.driver.ended("task")
        rig.plane.next()
        rig.answer(1)
        assert rig.ended() == "drained"
        assert stopped.result(PATIENCE) is None
    finished = rig.begin().finished
    assert finished is not None
    assert finished.kind == "drained"


def test_savepoint_holds_no_committables_and_its_record_is_in_the_log() -> None:
    with Rig() as rig:
        future = rig.driver.savepoint("before-upgrade")
        assert rig.plane.next() == ("trigger", 1)
        rig.answer(1)
        assert future.result(PATIENCE) == "before-upgrade"
        savepoint = load_savepoint(rig.store, "before-upgrade")
        assert savepoint.manifest.pending == ()
        assert savepoint.manifest.committed_through == {"sink": {"0": 1}}
        assert [type(record.entry).__name__ for record in rig.attempt.log.read().records] == [
            "Takeover",
            "Manifest",
            "SavepointRecord",
        ]


def test_savepoint_of_an_epoch_that_later_manifests_would_retire_is_whole() -> None:
    rig = Rig(keep_checkpoints=1, max_pending_epochs=3)
    release = threading.Event()
    rig.sink.before_commit = lambda epoch: None if release.wait(PATIENCE) else CommitOutcome.failed("never released")
    with rig:
        saved = rig.driver.savepoint("old")
        for epoch in (1, 2, 3):
            if epoch > 1:
                rig.driver.checkpoint()
            assert rig.plane.next() == ("trigger", epoch)
            rig.answer(epoch)
            assert rig.plane.next() == ("completed", epoch)
        release.set()
        assert saved.result(PATIENCE) == "old"
        assert load_savepoint(rig.store, "old").manifest.epoch == 1


def test_savepoint_fails_alone_when_its_place_is_taken() -> None:
    with Rig() as rig:
        for epoch, fails in ((1, False), (2, True)):
            future = rig.driver.savepoint("twice")
            rig.plane.next()
            rig.answer(epoch)
            if fails:
                with pytest.raises(SavepointExists):
                    future.result(PATIENCE)
            else:
                future.result(PATIENCE)
                assert {rig.plane.next(), rig.plane.next()} == {("completed", 1), ("committed", 1)}


def test_stop_with_savepoint_answers_with_its_location() -> None:
    with Rig() as rig:
        future = rig.driver.stop("at-stop")
        rig.plane.next()
        rig.answer(1)
        assert future.result(PATIENCE) == "at-stop"
        assert rig.ended() == "stopped"


# ---------------------------------------------------------------- trouble with the log


def test_manifest_is_found_in_the_log_when_its_reply_was_lost() -> None:
    store = HurtStore()
    with Rig(store) as rig:
        future = rig.driver.checkpoint()
        rig.plane.next()
        store.after.append(OSError("connection reset"))
        rig.answer(1)
        assert future.result(PATIENCE) == 1
        assert [m.epoch for m in rig.attempt.log.read().manifests()] == [1]


def test_manifest_is_written_again_when_it_was_not_published() -> None:
    store = HurtStore()
    with Rig(store) as rig:
        future = rig.driver.checkpoint()
        rig.plane.next()
        store.before.append(OSError("no route to host"))
        rig.answer(1)
        assert future.result(PATIENCE) == 1
        assert [m.epoch for m in rig.attempt.log.read().manifests()] == [1]


def test_full_store_fails_that_checkpoint_only_and_the_next_one_carries_it() -> None:
    store = HurtStore()
    with Rig(store) as rig:
        future = rig.driver.checkpoint()
        rig.plane.next()
        store.before.append(StoreFull("no space left", hint="free some"))
        rig.answer(1)
        with pytest.raises(CheckpointFailed, match="no space left"):
            future.result(PATIENCE)
        again = rig.driver.checkpoint()
        assert rig.plane.next() == ("trigger", 2)
        rig.answer(2)
        assert again.result(PATIENCE) == 2
        assert [rig.plane.next() for _ in range(2)] == [("completed", 2), ("committed", 2)]
        assert rig.sink.applied == [1, 2]


def test_fenced_driver_fails_and_commits_nothing_more() -> None:
    with Rig() as rig:
        future = rig.driver.checkpoint()
        rig.plane.next()
        rig.begin()  # another attempt takes the job over
        rig.answer(1)
        error = rig.ended()
        assert isinstance(error, Fenced)
        with pytest.raises(Fenced):
            future.result(PATIENCE)
        assert rig.sink.applied == []
        with pytest.raises(Fenced):
            rig.driver.checkpoint().result(PATIENCE)


def test_finish_entry_is_written_again_when_the_store_is_out_of_reach_for_a_moment() -> None:
    store = HurtStore()
    with Rig(store) as rig:
        rig.driver.ended("task")
        rig.plane.next()

        def fail_once(epoch: int) -> None:
            store.after.append(OSError("connection reset"))

        rig.sink.before_commit = fail_once
        rig.answer(1)
        assert rig.ended() == "finished"
        assert rig.attempt.log.read().finish is not None


# ---------------------------------------------------------------- trouble with sinks


def test_unknown_outcome_of_a_commit_is_settled_by_the_sinks_own_record() -> None:
    rig = Rig()

    def apply_and_lose_the_reply(epoch: int) -> CommitOutcome | None:
        if epoch not in rig.sink.applied:
            rig.sink.applied.append(epoch)
            raise OSError("connection reset")
        return CommitOutcome.failed("called again although its record said applied")

    rig.sink.before_commit = apply_and_lose_the_reply
    with rig:
        rig.sink.looked = 0
        rig.driver.checkpoint()
        rig.plane.next()
        rig.answer(1)
        assert [rig.plane.next() for _ in range(2)] == [("completed", 1), ("committed", 1)]
        assert rig.sink.applied == [1]
        assert rig.sink.looked == 1


@pytest.mark.parametrize("trouble", ["outcome", "error"])
def test_commit_that_asks_for_time_is_called_again(trouble: str) -> None:
    rig = Rig()
    waits = [0.0, 0.0, 0.0]

    def busy(epoch: int) -> CommitOutcome | None:
        if not waits:
            return None
        if trouble == "error":
            raise RetriableError("busy", after=waits.pop())
        return CommitOutcome.retry("busy", after=waits.pop())

    rig.sink.before_commit = busy
    with rig:
        rig.driver.checkpoint()
        rig.plane.next()
        rig.answer(1)
        assert [rig.plane.next() for _ in range(2)] == [("completed", 1), ("committed", 1)]


def test_job_fails_by_name_when_a_commit_fails_for_good() -> None:
    rig = Rig()
    rig.sink.before_commit = lambda epoch: CommitOutcome.failed("table dropped")
    with rig:
        rig.driver.checkpoint()
        rig.plane.next()
        rig.answer(1)
        error = rig.ended()
        assert isinstance(error, CommitFailed)
        assert "table dropped" in str(error)


def test_zombie_whose_commit_fails_is_told_that_it_is_fenced() -> None:
    rig = Rig()

    def taken_over(epoch: int) -> CommitOutcome:
        rig.sink.before_commit = lambda epoch: None
        rig.begin()
        return CommitOutcome.failed("the mark moved past this epoch")

    rig.sink.before_commit = taken_over
    with rig:
        rig.driver.checkpoint()
        rig.plane.next()
        rig.answer(1)
        assert isinstance(rig.ended(), Fenced)


def test_job_fails_with_the_sinks_own_error_when_commit_raises_a_bug() -> None:
    rig = Rig()

    def bug(epoch: int) -> CommitOutcome:
        raise ZeroDivisionError

    rig.sink.before_commit = bug
    with rig:
        rig.driver.checkpoint()
        rig.plane.next()
        rig.answer(1)
        assert isinstance(rig.ended(), ZeroDivisionError)


def test_next_epoch_is_taken_while_a_commit_is_slow_and_pauses_at_the_bound() -> None:
    rig = Rig(max_pending_epochs=2)
    release = threading.Event()
    rig.sink.before_commit = lambda epoch: None if release.wait(PATIENCE) else CommitOutcome.failed("never released")
    with rig:
        for epoch in (1, 2):
            rig.driver.checkpoint()
            assert rig.plane.next() == ("trigger", epoch)
            rig.answer(epoch)
            assert rig.plane.next() == ("completed", epoch)
        third = rig.driver.checkpoint()
        assert rig.driver.status().triggered == 2
        assert rig.driver.status().pending_commits >= 1
        release.set()
        assert rig.plane.next() == ("committed", 1)
        rig.plane.next()
        rig.answer(3)
        assert third.result(PATIENCE) == 3
        assert rig.sink.applied[:2] == [1, 2]


def test_calls_of_one_sink_come_from_one_thread() -> None:
    with Rig() as rig:
        for epoch in (1, 2, 3):
            rig.driver.checkpoint()
            rig.plane.next()
            rig.answer(epoch)
            rig.plane.next()
            rig.plane.next()
        assert len(rig.sink.threads) == 1


# ---------------------------------------------------------------- callbacks and the end


def test_job_fails_when_the_plane_raises() -> None:
    rig = Rig()

    def broken(epoch: int) -> None:
        raise RuntimeError("no such source")

    rig.plane.on_trigger = broken
    with rig:
        future = rig.driver.checkpoint()
        assert isinstance(rig.ended(), RuntimeError)
        with pytest.raises(RuntimeError):
            future.result(PATIENCE)


def test_job_fails_with_the_story_when_a_task_says_the_impossible(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL), Rig() as rig:
        rig.answer(9)
        error = rig.ended()
        assert isinstance(error, InvalidTransition)
        assert error.fields["story"][-1][1].startswith("ack of task for epoch 9")


def test_declined_epoch_fails_its_request_with_the_cause() -> None:
    with Rig() as rig:
        future = rig.driver.checkpoint()
        rig.plane.next()
        rig.driver.decline("task", 1, OSError("disk on fire"))
        with pytest.raises(CheckpointFailed, match="disk on fire"):
            future.result(PATIENCE)


def test_listeners_hear_of_every_phase_and_one_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()

    def raising(event: object) -> None:
        raise RuntimeError("terminal gone")

    rig.driver._listeners = (raising, rig.events.append)
    with caplog.at_level(logging.CRITICAL), rig:
        rig.driver.checkpoint()
        rig.plane.next()
        token = rig.attempt.token
        files = (StateFile("state/1-1/a-0-0.arrow", "0" * 64, 40), StateFile("state/1-1/a-0-1.arrow", "0" * 64, 2))
        rig.driver.ack(Ack("task", 1, token, (OperatorSnapshot("a", 0, files=files),)))
        assert [rig.plane.next() for _ in range(2)] == [("completed", 1), ("committed", 1)]
        assert [event.phase for event in rig.events] == [
            EpochPhase.ALIGNING,
            EpochPhase.COMPLETED,
            EpochPhase.COMMITTED,
        ]
        assert (rig.events[1].state_bytes, rig.events[1].new_bytes) == (42, 42)
        status = rig.driver.status()
        assert (status.triggered, status.completed, status.committed) == (1, 1, 1)
        assert status.state_bytes == 42


def test_new_bytes_leave_out_files_of_the_epoch_before() -> None:
    with Rig() as rig:
        token, files = rig.attempt.token, []
        for epoch in (1, 2):
            rig.driver.checkpoint()
            rig.plane.next()
            files.append(StateFile(f"state/1-{epoch}/a-0-0.arrow", "0" * 64, 10))
            rig.driver.ack(Ack("task", epoch, token, (OperatorSnapshot("a", 0, files=tuple(files)),)))
            rig.plane.next()
            rig.plane.next()
        assert (rig.driver.status().state_bytes, rig.driver.status().new_bytes) == (20, 10)


def test_close_fails_open_requests_and_later_ones_and_may_be_called_before_start() -> None:
    rig = Rig()
    open_request = rig.driver.checkpoint()
    rig.driver.close()
    for future in (open_request, rig.driver.checkpoint(), rig.driver.stop()):
        with pytest.raises(JobOver):
            future.result(PATIENCE)


def test_close_waits_for_the_step_under_way_and_begins_no_other() -> None:
    store = HurtStore()
    rig = Rig(store)
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    with rig:
        rig.driver.checkpoint()
        rig.plane.next()
        store.hold = hold
        rig.answer(1)
        assert begun.wait(PATIENCE)
        closing = threading.Thread(target=lambda: (rig.driver._broken.wait(PATIENCE), release.set()))
        closing.start()
    closing.join()
    assert [m.epoch for m in JobLog(store).read().manifests()] == [1]
    assert rig.sink.applied == []


def test_retiring_never_fails_the_job(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    with caplog.at_level(logging.CRITICAL), Rig(store) as rig:
        for epoch in range(1, 4):
            rig.driver.checkpoint()
            rig.plane.next()
            rig.answer(epoch)
            rig.plane.next()
            rig.plane.next()
            store.delete = _refuse  # type: ignore[method-assign]  # a store that lost its right to delete
        assert rig.driver.checkpoint() is not None
        assert rig.plane.next() == ("trigger", 4)


def _refuse(key: str) -> None:
    raise PermissionError(key)
