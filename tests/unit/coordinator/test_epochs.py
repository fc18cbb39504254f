"""Epochs: when one begins, completes, fails (P2, P4, P6)."""

from __future__ import annotations

import pytest

from krishiv_checkpoint import (
    BarrierKind,
    CheckpointFailed,
    CommittableLost,
    InvalidTransition,
    TooManyFailedCheckpoints,
)
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from tests.unit.coordinator.harness import BACKOFF, INTERVAL, PAUSE, Desk, committable, of


def test_coordinator_sets_the_interval_timer_and_triggers_nothing_when_it_starts() -> None:
    assert Desk(checkpoint_interval=3.0).started == [do.SetTimer(INTERVAL, 3.0)]


def test_coordinator_takes_no_periodic_checkpoints_when_the_interval_is_none() -> None:
    assert Desk(checkpoint_interval=None).started == []


def test_first_epoch_is_above_every_id_seen_before_when_a_job_is_restored() -> None:
    assert Desk(highest_epoch=41).trigger() == 42


def test_trigger_starts_the_timeout_before_the_barrier_leaves() -> None:
    desk = Desk(checkpoint_interval=3.0, checkpoint_timeout=9.0)
    assert desk.fire(INTERVAL) == [
        do.SetTimer(ev.Timer(ev.TimerKind.TIMEOUT, 1), 9.0),
        do.SetTimer(INTERVAL, 3.0),
        do.TriggerBarrier(1, BarrierKind.CHECKPOINT),
    ]


def test_manifest_holds_all_snapshots_in_order_and_all_committables_when_every_task_acked() -> None:
    desk = Desk()
    epoch = desk.trigger()
    desk.ack("b", epoch, committable(1, 0))
    (manifest,) = of(do.WriteManifest, desk.ack("a", epoch))
    assert [snapshot.operator for snapshot in manifest.operators] == ["a", "b"]
    assert manifest.pending == (committable(1, 0),)
    assert (manifest.epoch, manifest.highest_epoch, manifest.tries) == (1, 1, 0)


def test_manifest_is_not_written_when_a_task_acks_twice_and_another_never() -> None:
    desk = Desk()
    epoch = desk.trigger()
    assert desk.ack("a", epoch) == []
    assert desk.ack("a", epoch) == []


def test_barrier_is_not_triggered_when_another_still_aligns() -> None:
    desk = Desk()
    desk.trigger()
    assert of(do.TriggerBarrier, desk.fire(INTERVAL)) == []


def test_due_checkpoint_is_triggered_at_once_when_the_one_before_it_completes() -> None:
    desk = Desk()
    epoch = desk.trigger()
    desk.fire(INTERVAL)
    assert of(do.TriggerBarrier, desk.complete(epoch)) == [do.TriggerBarrier(2, BarrierKind.CHECKPOINT)]


def test_periodic_checkpoint_waits_for_min_pause_and_a_requested_one_does_not() -> None:
    desk = Desk(min_pause=5.0)
    desk.fire(INTERVAL)
    assert do.SetTimer(PAUSE, 5.0) in desk.complete(1)
    assert of(do.TriggerBarrier, desk.fire(INTERVAL)) == []
    assert [barrier.epoch for barrier in of(do.TriggerBarrier, desk.request())] == [2]
    desk.end_commit(1)
    desk.complete(2)
    desk.fire(INTERVAL)
    assert [barrier.epoch for barrier in of(do.TriggerBarrier, desk.fire(PAUSE))] == [3]


def test_empty_epoch_is_written_committed_and_retired_like_any_other_when_no_sink_is_two_phase() -> None:
    desk = Desk(tasks=("a",), scopes={})
    epoch = desk.trigger()
    assert of(do.WriteManifest, desk.ack("a", epoch))[0].pending == ()
    assert desk.written(epoch) == [do.NotifyCompleted(1), do.Retire(1), do.NotifyCommitted(1)]


# ---------------------------------------------------------------- failed epochs (P4)


def test_timed_out_epoch_is_carried_by_the_next_manifest_and_not_aborted() -> None:
    desk = Desk()
    epoch = desk.trigger()
    desk.prepare(epoch)
    desk.ack("b", epoch, *desk.carried)
    (failed,) = of(do.NotifyFailed, desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, epoch)))
    assert "no ack from a" in str(failed.error)
    desk.fire(BACKOFF)
    assert desk.trigger() == 2
    (manifest,) = of(do.WriteManifest, desk.ack_all(2))
    assert [c.epoch for c in manifest.pending] == [1, 2]


def test_late_ack_of_a_failed_epoch_still_counts_for_its_committables() -> None:
    desk = Desk()
    first = desk.trigger()
    desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, first))
    desk.fire(BACKOFF)
    second = desk.trigger()
    assert desk.ack("b", first, committable(1, 0)) == []
    desk.ack("a", second)
    (manifest,) = of(do.WriteManifest, desk.ack("b", second, committable(1, 0), committable(2, 1)))
    assert [c.epoch for c in manifest.pending] == [1, 2]


def test_late_ack_changes_nothing_when_its_committables_are_applied() -> None:
    desk = Desk()
    desk.checkpoint()
    assert desk.ack("b", 1, committable(1, 0)) == []
    epoch = desk.trigger()
    (manifest,) = of(do.WriteManifest, desk.ack_all(epoch))
    assert [c.epoch for c in manifest.pending] == [2]
    assert manifest.committed_through == {"files": {0: 1}}


def test_declined_epoch_fails_and_its_cause_is_told() -> None:
    desk = Desk()
    desk.request()
    cause = OSError("disk on fire")
    instructions = desk.send(ev.DeclineReceived, task="a", epoch=1, token=7, error=cause)
    (refused,) = of(do.FailRequest, instructions)
    assert isinstance(refused.error, CheckpointFailed)
    assert refused.error.__cause__ is cause
    assert "disk on fire" in str(refused.error)


def test_timeout_is_ignored_when_all_acks_are_in() -> None:
    desk = Desk()
    desk.trigger()
    desk.ack_all(1)
    assert desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1)) == []


def test_checkpoint_alone_fails_when_its_manifest_is_known_not_to_be_written() -> None:
    desk = Desk()
    desk.trigger()
    desk.ack_all(1)
    failed = desk.send(ev.ManifestFailed, epoch=1, error=OSError("no space"))
    assert of(do.FailJob, failed) == []
    desk.fire(BACKOFF)
    assert desk.trigger() == 2
    (manifest,) = of(do.WriteManifest, desk.ack_all(2))
    assert [c.epoch for c in manifest.pending] == [1, 2]


def test_manifest_of_unknown_outcome_is_written_again_as_it_was_after_longer_and_longer_waits() -> None:
    desk = Desk()
    desk.trigger()
    (manifest,) = of(do.WriteManifest, desk.ack_all(1))
    rewrite = ev.Timer(ev.TimerKind.REWRITE, 1)
    for tries, wait in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]):
        assert desk.send(ev.ManifestUnknown, epoch=1, error=OSError()) == [do.SetTimer(rewrite, wait)]
        (again,) = of(do.WriteManifest, desk.fire(rewrite))
        assert again.tries == tries + 1
        assert (again.pending, again.operators) == (manifest.pending, manifest.operators)
    assert do.NotifyCompleted(1) in desk.written(1)


def test_failed_checkpoint_is_not_followed_by_another_before_the_backoff_is_over() -> None:
    desk = Desk()
    desk.trigger()
    assert do.SetTimer(BACKOFF, 1.0) in desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1))
    assert of(do.TriggerBarrier, desk.fire(INTERVAL)) == []
    assert [barrier.epoch for barrier in of(do.TriggerBarrier, desk.fire(BACKOFF))] == [2]


def test_job_fails_when_more_checkpoints_in_a_row_fail_than_tolerated() -> None:
    desk = Desk(tolerable_failed_checkpoints=1)
    for epoch in (1, 2):
        assert desk.trigger() == epoch
        instructions = desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, epoch))
        desk.fire(BACKOFF)
    (failure,) = of(do.FailJob, instructions)
    assert isinstance(failure.error, TooManyFailedCheckpoints)


def test_count_of_failures_begins_anew_when_a_checkpoint_completes() -> None:
    desk = Desk(tolerable_failed_checkpoints=1)
    for epoch in (1, 3):
        desk.trigger()
        assert of(do.FailJob, desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, epoch))) == []
        desk.fire(BACKOFF)
        desk.prepare(epoch)
        desk.trigger()
        desk.complete(epoch + 1)
        for number in (epoch, epoch + 1):
            desk.end_commit(number)


def test_job_stops_before_the_commit_point_when_a_committable_is_missing_from_a_slots_chain() -> None:
    desk = Desk()
    desk.trigger()
    desk.ack("a", 1)
    desk.fire(ev.Timer(ev.TimerKind.TIMEOUT, 1))
    desk.fire(BACKOFF)
    desk.trigger()
    desk.ack("a", 2)
    instructions = desk.ack("b", 2, committable(2, 1))  # follows epoch 1, which never arrived
    assert of(do.WriteManifest, instructions) == []
    assert isinstance(of(do.FailJob, instructions)[0].error, CommittableLost)


# ---------------------------------------------------------------- who answers


def test_ack_under_another_token_is_ignored() -> None:
    desk = Desk()
    epoch = desk.trigger()
    for token in (6, 8):
        desk.ack("a", epoch, token=token)
        desk.ack("b", epoch, committable(1, 0, token=token), token=token)
    desk.ack("a", epoch)
    (manifest,) = of(do.WriteManifest, desk.ack("b", epoch, committable(1, 0)))
    assert [c.token for c in manifest.pending] == [7]


def test_decline_under_another_token_is_ignored() -> None:
    desk = Desk()
    desk.trigger()
    assert desk.send(ev.DeclineReceived, task="a", epoch=1, token=6, error=OSError()) == []


@pytest.mark.parametrize(
    ("task", "epoch", "carried"),
    [
        ("stranger", 1, ()),
        ("a", 2, ()),
        ("a", 0, ()),
        ("b", 1, (committable(2, 0),)),
        ("b", 1, (committable(1, 0, token=6),)),
        ("b", 1, (committable(1, 0, sink="unknown"),)),
    ],
    ids=["unknown task", "epoch to come", "epoch before restore", "later epoch", "other token", "unknown sink"],
)
def test_impossible_ack_raises_with_the_story(task: str, epoch: int, carried: tuple[object, ...]) -> None:
    desk = Desk()
    desk.trigger()
    with pytest.raises(InvalidTransition) as caught:
        desk.ack(task, epoch, *carried)  # type: ignore[arg-type]  # parametrized
    story = caught.value.fields["story"]
    assert ("test-2", "epoch 1 (checkpoint) is aligning") in story
    assert story[-1][0] == "test-3"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ev.Started, {}),
        (ev.ManifestWritten, {"epoch": 1}),
        (ev.ManifestFailed, {"epoch": 1, "error": OSError()}),
        (ev.ManifestUnknown, {"epoch": 1, "error": OSError()}),
        (ev.FinishWritten, {}),
        (ev.FinishFailed, {"error": OSError()}),
        (ev.SavepointWritten, {"request": 1, "location": "x"}),
        (ev.SavepointFailed, {"request": 1, "error": OSError()}),
        (ev.CommitRaised, {"sink": "files", "slot": None, "epoch": 1, "error": OSError()}),
        (ev.TaskEnded, {"task": "stranger"}),
    ],
)
def test_answer_to_something_never_asked_raises(kind: type[ev.Event], fields: dict[str, object]) -> None:
    desk = Desk()
    desk.trigger()
    with pytest.raises(InvalidTransition):
        desk.send(kind, **fields)
