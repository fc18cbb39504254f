"""Requests, savepoints and the three ways to end (P7, P16)."""

from __future__ import annotations

from krishiv_checkpoint import BarrierKind, CommitOutcome, Fenced, JobOver, TooManyFailedCheckpoints
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._coordinator import JobPhase
from tests.unit.coordinator.harness import BACKOFF, INTERVAL, Desk, of


def test_checkpoint_on_demand_is_answered_when_its_manifest_is_durable() -> None:
    desk = Desk()
    assert of(do.TriggerBarrier, desk.request()) == [do.TriggerBarrier(1, BarrierKind.CHECKPOINT)]
    assert of(do.CompleteRequest, desk.complete(1)) == [do.CompleteRequest(1, 1)]


def test_request_made_while_a_barrier_travels_waits_for_the_next_one() -> None:
    desk = Desk()
    desk.trigger()
    desk.request()
    desk.request()
    instructions = desk.complete(1)
    assert of(do.CompleteRequest, instructions) == []
    assert of(do.TriggerBarrier, instructions) == [do.TriggerBarrier(2, BarrierKind.CHECKPOINT)]
    assert of(do.CompleteRequest, desk.complete(2)) == [do.CompleteRequest(1, 2), do.CompleteRequest(2, 2)]


# ---------------------------------------------------------------- savepoints


def test_savepoint_is_written_only_when_every_sink_applied_its_epoch() -> None:
    desk = Desk()
    assert of(do.TriggerBarrier, desk.request(ev.SavepointRequested, location="there"))[0].kind is BarrierKind.SAVEPOINT
    assert of(do.WriteSavepoint, desk.complete(1)) == []
    assert of(do.WriteSavepoint, desk.end_commit(1)) == [do.WriteSavepoint(1, 1, "there", {"files": {0: 1}})]
    written = desk.send(ev.SavepointWritten, request=1, location="there")
    assert of(do.CompleteRequest, written) == [do.CompleteRequest(1, "there")]


def test_savepoint_that_cannot_be_written_fails_alone() -> None:
    desk = Desk()
    desk.request(ev.SavepointRequested, location="there")
    desk.complete(1)
    desk.end_commit(1)
    error = OSError("full")
    assert desk.send(ev.SavepointFailed, request=1, error=error) == [do.FailRequest(1, error)]
    assert desk.trigger() == 2


def test_savepoint_fails_with_its_epoch() -> None:
    desk = Desk()
    desk.request(ev.SavepointRequested, location="there")
    assert [r.request for r in of(do.FailRequest, desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1)))] == [1]


def test_nothing_is_retired_while_a_savepoint_waits_for_its_manifest() -> None:
    desk = Desk()
    desk.request(ev.SavepointRequested, location="there")
    assert of(do.Retire, desk.complete(1)) == []
    desk.trigger()
    assert of(do.Retire, desk.complete(2)) == []
    desk.end_commit(1)
    desk.end_commit(2)
    desk.trigger()
    assert of(do.Retire, desk.complete(3)) == []  # it is being written now
    desk.send(ev.SavepointWritten, request=1, location="there")
    desk.end_commit(3)
    desk.trigger()
    assert of(do.Retire, desk.complete(4)) == [do.Retire(4)]


def test_manifests_let_nothing_retire_behind_them_while_a_savepoint_waits() -> None:
    desk = Desk()
    desk.trigger()
    holds = of(do.WriteManifest, desk.ack_all(1))
    desk.request(ev.SavepointRequested, location="there")
    desk.written(1)
    for epoch in (2, 3):
        holds += of(do.WriteManifest, desk.ack_all(epoch))
        if epoch == 2:
            desk.end_commit(1)
        desk.written(epoch)
        desk.end_commit(epoch)
        desk.trigger()
    desk.send(ev.SavepointWritten, request=1, location="there")
    holds += of(do.WriteManifest, desk.ack_all(4))
    assert [manifest.hold for manifest in holds] == [False, True, True, False]


# ---------------------------------------------------------------- finish


def test_finish_barrier_follows_when_every_task_ended_and_finish_entry_when_it_is_committed() -> None:
    desk = Desk()
    assert desk.send(ev.TaskEnded, task="a") == []
    assert desk.send(ev.TaskEnded, task="a") == []
    assert of(do.TriggerBarrier, desk.send(ev.TaskEnded, task="b")) == [do.TriggerBarrier(1, BarrierKind.FINISH)]
    assert of(do.WriteFinish, desk.complete(1)) == []
    assert of(do.WriteFinish, desk.end_commit(1)) == [do.WriteFinish(1, "finished")]
    assert desk.send(ev.FinishWritten) == [do.Retire(1), do.FinishJob("finished")]
    assert desk.coordinator.phase is JobPhase.OVER


def test_task_that_ends_between_trigger_and_barrier_still_answers_it_and_the_finish_comes_after() -> None:
    desk = Desk()
    epoch = desk.trigger()
    for task in ("a", "b"):
        assert desk.send(ev.TaskEnded, task=task) == []
    assert of(do.TriggerBarrier, desk.complete(epoch)) == [do.TriggerBarrier(2, BarrierKind.FINISH)]


def test_finish_is_tried_again_when_its_epoch_fails() -> None:
    desk = Desk()
    for task in ("a", "b"):
        desk.send(ev.TaskEnded, task=task)
    desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1))
    desk.prepare(1)
    assert of(do.TriggerBarrier, desk.fire(BACKOFF)) == [do.TriggerBarrier(2, BarrierKind.FINISH)]


def test_no_checkpoint_follows_the_finish_barrier_and_late_requests_are_refused() -> None:
    desk = Desk()
    for task in ("a", "b"):
        desk.send(ev.TaskEnded, task=task)
    desk.complete(1)
    assert desk.fire(INTERVAL) == []
    assert desk.request() == []
    desk.end_commit(1)
    refused = of(do.FailRequest, desk.send(ev.FinishWritten))
    assert [type(r.error) for r in refused] == [JobOver]
    assert isinstance(of(do.FailRequest, desk.request())[0].error, JobOver)


def test_finish_entry_is_written_again_after_a_pause_when_the_store_is_out_of_reach() -> None:
    desk = Desk(tolerable_failed_checkpoints=1)
    for task in ("a", "b"):
        desk.send(ev.TaskEnded, task=task)
    desk.complete(1)
    desk.end_commit(1)
    assert desk.send(ev.FinishFailed, error=OSError()) == [do.SetTimer(BACKOFF, 1.0)]
    assert desk.fire(BACKOFF) == [do.WriteFinish(1, "finished")]
    (failure,) = of(do.FailJob, desk.send(ev.FinishFailed, error=OSError()))
    assert isinstance(failure.error, TooManyFailedCheckpoints)


# ---------------------------------------------------------------- stop


def test_stop_is_a_barrier_and_the_job_is_stopped_when_its_epoch_is_committed() -> None:
    desk = Desk()
    assert of(do.TriggerBarrier, desk.request(ev.StopRequested)) == [do.TriggerBarrier(1, BarrierKind.STOP)]
    assert of(do.FinishJob, desk.complete(1)) == []
    assert desk.end_commit(1) == [do.NotifyCommitted(1), do.CompleteRequest(1, None), do.FinishJob("stopped")]


def test_stop_waits_for_all_older_commits() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    desk.request(ev.StopRequested)
    desk.complete(2)
    assert of(do.FinishJob, desk.end_commit(1)) == []
    assert of(do.FinishJob, desk.end_commit(2)) == [do.FinishJob("stopped")]


def test_stop_is_tried_again_and_still_answered_when_its_epoch_fails() -> None:
    desk = Desk()
    desk.request(ev.StopRequested)
    assert of(do.FailRequest, desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1))) == []
    desk.prepare(1)
    assert of(do.TriggerBarrier, desk.fire(BACKOFF)) == [do.TriggerBarrier(2, BarrierKind.STOP)]
    desk.complete(2)
    desk.end_commit(1)
    assert do.CompleteRequest(1, None) in desk.end_commit(2)


def test_stop_with_savepoint_ends_when_the_savepoint_is_written() -> None:
    desk = Desk()
    desk.request(ev.StopRequested, savepoint="there")
    desk.complete(1)
    instructions = desk.end_commit(1)
    assert of(do.WriteSavepoint, instructions) == [do.WriteSavepoint(1, 1, "there", {"files": {0: 1}})]
    assert of(do.FinishJob, instructions) == []
    assert desk.send(ev.SavepointWritten, request=1, location="there") == [
        do.CompleteRequest(1, "there"),
        do.FinishJob("stopped"),
    ]


def test_stop_says_so_when_its_savepoint_fails_and_stops_all_the_same() -> None:
    desk = Desk()
    desk.request(ev.StopRequested, savepoint="there")
    desk.complete(1)
    desk.end_commit(1)
    error = OSError("full")
    assert desk.send(ev.SavepointFailed, request=1, error=error) == [do.FailRequest(1, error), do.FinishJob("stopped")]


def test_drain_waits_for_the_tasks_and_finishes_as_drained() -> None:
    desk = Desk()
    assert desk.request(ev.StopRequested, drain=True) == []
    for task in ("a", "b"):
        instructions = desk.send(ev.TaskEnded, task=task)
    assert of(do.TriggerBarrier, instructions)[0].kind is BarrierKind.FINISH
    desk.complete(1)
    assert of(do.WriteFinish, desk.end_commit(1)) == [do.WriteFinish(1, "drained")]
    assert desk.send(ev.FinishWritten) == [do.Retire(1), do.CompleteRequest(1, None), do.FinishJob("drained")]


def test_stop_waits_for_the_end_of_a_drain_that_has_begun() -> None:
    desk = Desk()
    desk.request(ev.StopRequested, drain=True)
    assert desk.request(ev.StopRequested) == []
    for task in ("a", "b"):
        instructions = desk.send(ev.TaskEnded, task=task)
    assert of(do.TriggerBarrier, instructions)[0].kind is BarrierKind.FINISH


def test_stop_is_answered_when_the_job_finishes_first() -> None:
    desk = Desk()
    for task in ("a", "b"):
        desk.send(ev.TaskEnded, task=task)
    desk.request(ev.StopRequested)
    desk.complete(1)
    desk.end_commit(1)
    assert desk.send(ev.FinishWritten) == [do.Retire(1), do.CompleteRequest(1, None), do.FinishJob("finished")]
    assert desk.request(ev.StopRequested) == [do.CompleteRequest(2, None)]


def test_stop_with_savepoint_is_refused_when_the_last_barrier_has_left_already() -> None:
    desk = Desk()
    desk.request(ev.StopRequested)
    desk.request(ev.StopRequested, savepoint="too-late")
    desk.complete(1)
    stopped, refused = [i for i in desk.end_commit(1) if isinstance(i, do.CompleteRequest | do.FailRequest)]
    assert stopped == do.CompleteRequest(1, None)
    assert isinstance(refused, do.FailRequest)
    assert isinstance(refused.error, JobOver)


def test_every_open_request_is_answered_once_when_the_job_fails() -> None:
    desk = Desk()
    desk.request()
    desk.complete(1)  # answers request 1
    desk.request(ev.SavepointRequested, location="x")
    desk.complete(2)
    desk.end_commit(1)
    desk.end_commit(2)  # request 2 is being written
    desk.request()
    desk.request(ev.SavepointRequested, location="y")
    desk.request(ev.StopRequested)
    fenced = Fenced("a newer attempt")
    refused = of(do.FailRequest, desk.send(ev.StepFailed, error=fenced))
    assert [r.request for r in refused] == [2, 3, 4, 5]


def test_stop_waits_out_a_commit_that_has_to_be_retried() -> None:
    desk = Desk()
    desk.request(ev.StopRequested)
    desk.complete(1)
    assert of(do.FinishJob, desk.end_commit(1, CommitOutcome.retry("busy"))) == []
    desk.fire(ev.Timer(ev.TimerKind.RETRY, 1, "files", None))
    assert of(do.FinishJob, desk.end_commit(1)) == [do.FinishJob("stopped")]
