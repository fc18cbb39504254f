"""Commits: oldest first in a lane, lanes beside each other, nothing dropped (P5)."""

from __future__ import annotations

import pytest

from krishiv_checkpoint import BarrierKind, CommitFailed, CommitOutcome, CommitScope, Fenced
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from tests.unit.coordinator.harness import INTERVAL, Desk, committable, of


def test_commits_start_only_when_the_manifest_is_durable() -> None:
    desk = Desk()
    desk.trigger()
    assert of(do.Commit, desk.ack_all(1)) == []
    assert of(do.Commit, desk.written(1)) == [do.Commit("files", None, 1, (committable(1, 0),))]


def test_next_epoch_is_committed_only_after_the_one_before_succeeded() -> None:
    desk = Desk()
    for epoch in (1, 2):
        desk.trigger()
        commits = of(do.Commit, desk.complete(epoch))
    assert commits == []
    assert [commit.epoch for commit in of(do.Commit, desk.end_commit(1))] == [2]


def test_epoch_is_committed_when_every_sink_applied_it_and_not_before() -> None:
    scopes = {"files": CommitScope.EPOCH, "table": CommitScope.SLOT}
    desk = Desk(tasks=("b",), scopes=scopes)
    desk.trigger()
    prepared = [committable(1, 0, slot=s, sink=k) for k in ("files", "table") for s in (0, 1)]
    desk.ack("b", 1, *prepared)
    commits = of(do.Commit, desk.written(1))
    assert [(commit.sink, commit.slot, len(commit.committables)) for commit in commits] == [
        ("files", None, 2),
        ("table", 0, 1),
        ("table", 1, 1),
    ]
    assert of(do.NotifyCommitted, desk.end_commit(1, sink="table", slot=1)) == []
    assert of(do.NotifyCommitted, desk.end_commit(1)) == []
    assert desk.end_commit(1, sink="table", slot=0) == [do.NotifyCommitted(1)]


def test_slots_of_a_sink_do_not_wait_for_each_other() -> None:
    desk = Desk(tasks=("b",), scopes={"table": CommitScope.SLOT})
    for epoch in (1, 2):
        desk.trigger()
        desk.ack("b", epoch, *(committable(epoch, epoch - 1, slot=s, sink="table") for s in (0, 1)))
        desk.written(epoch)
    (commit,) = of(do.Commit, desk.end_commit(1, sink="table", slot=1))
    assert (commit.slot, commit.epoch) == (1, 2)


def test_already_done_counts_as_done() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    assert do.NotifyCommitted(1) in desk.end_commit(1, CommitOutcome.already_done())


def test_commit_that_has_to_wait_is_called_again_after_its_wait_and_told_so() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    retry = ev.Timer(ev.TimerKind.RETRY, 1, "files", None)
    assert desk.end_commit(1, CommitOutcome.retry("busy", after=2.5)) == [do.SetTimer(retry, 2.5)]
    assert of(do.Commit, desk.fire(retry)) == [do.Commit("files", None, 1, (committable(1, 0),), tries=1)]
    assert desk.fire(retry) == []  # under way: never called twice at once


def test_commit_that_raises_is_tried_again_and_stops_the_job_when_it_raises_ten_times_in_a_row() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    retry = ev.Timer(ev.TimerKind.RETRY, 1, "files", None)
    cause = OSError("gone")
    for wait in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0):
        assert desk.send(ev.CommitRaised, sink="files", slot=None, epoch=1, error=cause) == [do.SetTimer(retry, wait)]
        desk.fire(retry)
    (failure,) = of(do.FailJob, desk.send(ev.CommitRaised, sink="files", slot=None, epoch=1, error=cause))
    assert isinstance(failure.error, CommitFailed)
    assert failure.error.__cause__ is cause


def test_commit_that_fails_for_good_stops_the_job_with_a_named_error() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    (failure,) = of(do.FailJob, desk.end_commit(1, CommitOutcome.failed("target dropped")))
    assert isinstance(failure.error, CommitFailed)
    assert "target dropped" in str(failure.error)
    assert failure.error.fields["epoch"] == 1


def test_checkpoints_pause_when_max_pending_epochs_are_uncommitted_and_go_on_after_a_commit() -> None:
    desk = Desk(max_pending_epochs=2)
    for epoch in (1, 2):
        desk.trigger()
        desk.complete(epoch)
    assert of(do.TriggerBarrier, desk.fire(INTERVAL)) == []
    assert [b.epoch for b in of(do.TriggerBarrier, desk.end_commit(1))] == [3]


def test_manifest_lists_what_earlier_manifests_list_when_it_is_not_applied_yet() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    desk.trigger()
    (manifest,) = of(do.WriteManifest, desk.ack_all(2))
    assert [c.epoch for c in manifest.pending] == [1, 2]
    assert manifest.committed_through == {}


def test_commit_that_ends_while_a_manifest_is_being_written_is_in_the_next_manifest() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    desk.trigger()
    desk.ack_all(2)
    desk.end_commit(1)
    assert [commit.epoch for commit in of(do.Commit, desk.written(2))] == [2]
    desk.trigger()
    (manifest,) = of(do.WriteManifest, desk.ack_all(3))
    assert [c.epoch for c in manifest.pending] == [2, 3]
    assert manifest.committed_through == {"files": {0: 1}}


def test_slots_of_another_parallelism_stay_in_committed_through() -> None:
    desk = Desk(committed_through={"files": {0: 5, 1: 5, 2: 4}}, highest_epoch=5)
    desk.trigger()
    (manifest,) = of(do.WriteManifest, desk.ack_all(6))
    assert manifest.committed_through == {"files": {0: 5, 1: 5, 2: 4}}


def test_retire_follows_every_manifest_when_no_savepoint_waits() -> None:
    desk = Desk()
    desk.trigger()
    assert of(do.Retire, desk.complete(1)) == [do.Retire(1)]


def test_nothing_is_instructed_when_the_attempt_is_fenced() -> None:
    desk = Desk()
    desk.trigger()
    desk.complete(1)
    desk.fire(INTERVAL)
    desk.prepare(2)
    fenced = Fenced("a newer attempt")
    assert of(do.FailJob, desk.send(ev.StepFailed, error=fenced)) == [do.FailJob(fenced)]
    assert desk.ack("a", 2) == []
    assert desk.end_commit(1) == []
    assert desk.fire(INTERVAL) == []
    assert desk.send(ev.ManifestWritten, epoch=2) == []
    assert desk.send(ev.TaskEnded, task="a") == []


@pytest.mark.parametrize("kind", [ev.CheckpointRequested, ev.StopRequested])
def test_request_is_refused_with_the_cause_when_the_job_failed(kind: type[ev.Request]) -> None:
    desk = Desk()
    fenced = Fenced("a newer attempt")
    desk.send(ev.StepFailed, error=fenced)
    assert desk.request(kind) == [do.FailRequest(1, fenced)]


def test_barrier_kind_is_checkpoint_when_nobody_asked() -> None:
    assert of(do.TriggerBarrier, Desk().fire(INTERVAL))[0].kind is BarrierKind.CHECKPOINT
