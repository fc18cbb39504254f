"""Taking a job over at the tip of its log: fencing, comparison, commits oldest first, aborts, the next epoch."""

from __future__ import annotations

import pytest

from krishiv_checkpoint import (
    FAILPOINTS,
    CheckpointStore,
    CommitFailed,
    CommitOutcome,
    CommitScope,
    FailpointError,
    Fenced,
    Fingerprint,
    ForeignMarks,
    JobLog,
    OperatorSnapshot,
    OtherTopology,
    Prepared,
    StoreFull,
    Takeover,
)
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_guarantees import ConfigurationError, RetriableError
from tests.unit.checkpoint_store.support import (
    LINEAGE,
    PLAN,
    Sinks,
    StubClock,
    World,
    Wrapped,
    begin,
    committable,
    finish,
    logged,
    manifest,
    run_epoch,
    takeover,
    two_sinks,
)


def test_a_first_start_mints_a_lineage_and_begins_with_epoch_1(store: CheckpointStore) -> None:
    """P1, P2, P9."""
    sinks = Sinks({"out": World()})
    attempt = begin(store, sinks, writer="me")
    assert len(attempt.lineage) == 32
    assert (attempt.token, attempt.writer, attempt.next_epoch) == (1, "me", 1)
    assert (attempt.manifest, attempt.operators, attempt.committed_through) == (None, (), {})
    assert sinks.opened == [(attempt.lineage, 1)]
    assert JobLog(store).read().records[0].entry == Takeover(1, "job", attempt.lineage, 1, "me", 0, "empty")


def test_a_restart_keeps_the_lineage_and_raises_the_token(store: CheckpointStore) -> None:
    """P1, P9."""
    world = World()
    first = begin(store, Sinks({"out": world}))
    run_epoch(first, 1, world)
    second = begin(store, Sinks({"out": world}))
    assert (second.lineage, second.token) == (first.lineage, 2)
    assert second.manifest == JobLog(store).read().manifest
    assert second.writer != first.writer
    with pytest.raises(Fenced):
        first.log.append(manifest(2, token=1, writer=first.writer, lineage=first.lineage))


def test_the_takeover_is_in_the_log_before_the_sinks_are_asked(store: CheckpointStore) -> None:
    """P9: the takeover entry is written before recovery reads the tip."""
    seen: list[int] = []

    def open_committers(lineage: str, token: int):
        seen.append(JobLog(store).read().token)
        return {}

    begin(store, open_committers)
    assert seen == [1]


def test_a_manifest_that_slips_in_before_the_takeover_is_recovered(store: CheckpointStore) -> None:
    """P9: takeover between read and fence; the tip is re-read."""
    world = World()
    zombie = begin(store, Sinks({"out": world}))
    run_epoch(zombie, 1, world)
    wrapped = Wrapped(store)
    wrapped.before_create = iter([lambda: run_epoch(zombie, 2, world, commit=False)])
    attempt = begin(wrapped, Sinks({"out": world}))
    assert attempt.manifest is not None
    assert attempt.manifest.epoch == 2
    assert world.epochs(lineage=attempt.lineage) == [1, 2]


def test_a_bad_policy_is_refused_before_anything_is_written(store: CheckpointStore) -> None:
    with pytest.raises(ConfigurationError, match="on_sink_ahead is 'ignore'"):
        begin(store, Sinks({}), on_sink_ahead="ignore")
    with pytest.raises(ConfigurationError, match="cannot name a job"):
        begin(store, Sinks({}), job="../x")
    assert store.list("") == []


# --- commits


def test_pending_epochs_are_committed_oldest_first(store: CheckpointStore) -> None:
    """P5: two uncommitted epochs, then a crash."""
    world = World()
    world.apply(1)
    logged(store, manifest(3, committed={"out": {"0": 1}}, pending=(committable(3), committable(2))))
    attempt = begin(store, Sinks({"out": world}))
    assert world.epochs() == [1, 2, 3]
    assert attempt.committed_through == {"out": {"0": 3}}
    assert attempt.next_epoch == 4


def test_an_epoch_that_the_sink_has_is_not_committed_again(store: CheckpointStore) -> None:
    """P5: killed between commit and the next manifest."""
    world = World()
    world.apply(1)
    world.apply(2)
    logged(store, manifest(3, committed={"out": {"0": 1}}, pending=(committable(2), committable(3))))
    begin(store, Sinks({"out": world}))
    assert [call for call in world.calls if call.startswith("commit")] == ["commit 3 [0]"]


def test_slots_recover_one_by_one(store: CheckpointStore) -> None:
    """P5: per (sink, slot)."""
    world = World()
    world.apply(1, 0)
    logged(store, manifest(1, pending=(committable(1, 0), committable(1, 1))))
    attempt = begin(store, Sinks({"out": world}))
    assert (world.epochs(0), world.epochs(1)) == ([1], [1])
    assert attempt.committed_through == {"out": {"0": 1, "1": 1}}


def test_epoch_scope_gets_all_slots_in_one_call(store: CheckpointStore) -> None:
    """P13."""
    world = World(scope=CommitScope.EPOCH)
    logged(store, manifest(1, pending=(committable(1, 1), committable(1, 0))))
    begin(store, Sinks({"out": world}))
    assert [call for call in world.calls if call.startswith("commit")] == ["commit 1 [0, 1]"]


def test_several_sinks_recover_each_from_its_own_record(store: CheckpointStore) -> None:
    """P17."""
    left, right = World(), World()
    left.apply(1)
    pending = (committable(1, sink="left"), committable(1, sink="right"))
    logged(store, manifest(1, pending=pending, plan=two_sinks()))
    attempt = begin(store, Sinks({"left": left, "right": right}), fingerprint=two_sinks())
    assert (left.epochs(), right.epochs()) == ([1], [1])
    assert attempt.committed_through == {"left": {"0": 1}, "right": {"0": 1}}


def test_old_slots_are_asked_and_finished_first_at_another_parallelism(store: CheckpointStore) -> None:
    """P16: all of them, those without pending data too: asking is what fences them."""
    world = World()
    for slot in (0, 1, 2):
        world.apply(1, slot)
    logged(store, manifest(2, committed={"out": {"0": 1, "1": 1, "2": 1}}, pending=(committable(2, 1),)))
    attempt = begin(store, Sinks({"out": world}))
    asked = [call for call in world.calls if call.startswith("last_applied")]
    assert set(asked) == {"last_applied 0", "last_applied 1", "last_applied 2"}
    assert world.calls.index("commit 2 [1]") > max(world.calls.index(call) for call in asked)
    assert attempt.committed_through == {"out": {"0": 1, "1": 2, "2": 1}}


def test_a_commit_that_has_to_wait_is_tried_again(store: CheckpointStore) -> None:
    """P5: retried until done, without losing its turn."""
    world, clock = World(), StubClock()
    world.script = [CommitOutcome.retry("busy", 2.0), CommitOutcome.retry("busy", 3.0)]
    logged(store, manifest(2, pending=(committable(1), committable(2))))
    begin(store, Sinks({"out": world}), clock)
    assert clock.slept == [2.0, 3.0]
    assert world.epochs() == [1, 2]


def test_the_sinks_own_record_is_read_after_an_unknown_outcome(store: CheckpointStore) -> None:
    """P5: the commit went through, its reply did not: it must not be repeated."""
    world = World()

    def applied_but_lost() -> CommitOutcome:
        world.apply(1)
        return CommitOutcome.retry("connection lost")

    world.script = [applied_but_lost]
    logged(store, manifest(1, pending=(committable(1),)))
    begin(store, Sinks({"out": world}))
    assert world.epochs() == [1]
    assert world.calls.count("commit 1 [0]") == 1


@pytest.mark.parametrize("error", [RetriableError("try later", after=1.5), ConnectionError("reset")])
def test_an_error_in_a_commit_is_an_unknown_outcome(store: CheckpointStore, error: Exception) -> None:
    """P5."""
    world, clock = World(), StubClock()
    world.script = [error]
    logged(store, manifest(1, pending=(committable(1),)))
    begin(store, Sinks({"out": world}), clock)
    assert world.epochs() == [1]
    assert len(clock.slept) == 1


def test_errors_that_do_not_end_are_let_through(store: CheckpointStore) -> None:
    world = World()
    world.script = [ConnectionError("reset")] * 3
    logged(store, manifest(1, pending=(committable(1),)))
    with pytest.raises(ConnectionError):
        begin(store, Sinks({"out": world}))
    assert world.epochs() == []
    begin(store, Sinks({"out": world}))
    assert world.epochs() == [1]


def test_a_commit_that_can_never_succeed_stops_the_job_with_its_name(store: CheckpointStore) -> None:
    """P5: never dropped, never logged and forgotten; epochs after it are not touched."""
    world = World()
    world.script = [CommitOutcome.failed("table is gone")]
    logged(store, manifest(2, pending=(committable(1), committable(2))))
    with pytest.raises(CommitFailed, match=r"slot 0 cannot apply epoch 1: table is gone") as caught:
        begin(store, Sinks({"out": world}))
    assert caught.value.fields["epoch"] == 1
    assert world.epochs() == []
    assert begin(store, Sinks({"out": world})).committed_through == {"out": {"0": 2}}


def test_a_commit_that_waits_too_long_fails(store: CheckpointStore) -> None:
    world = World()
    world.script = [CommitOutcome.retry("busy", 60.0)] * 5
    logged(store, manifest(1, pending=(committable(1),)))
    with pytest.raises(CommitFailed, match="still had to wait after 100 s: busy"):
        begin(store, Sinks({"out": world}))


def test_a_sink_that_cannot_be_reached_for_a_moment_is_asked_again(store: CheckpointStore) -> None:
    clock = StubClock()
    troubles = iter([ConnectionError("reset"), RetriableError("wait", after=4.0)])

    class Shy(World):
        def newest(self, lineage: str, slot: int) -> int | None:
            for trouble in troubles:
                raise trouble
            return super().newest(lineage, slot)

    world = Shy()
    logged(store, manifest(1, pending=(committable(1),)))
    begin(store, Sinks({"out": world}), clock)
    assert world.epochs() == [1]
    assert clock.slept[1] == 4.0


# --- epoch ids


@pytest.mark.parametrize(
    ("entries", "applied", "expected"),
    [
        ([manifest(4, highest=4, committed={"out": {"0": 4}})], 4, 5),
        ([manifest(4, highest=9, committed={"out": {"0": 4}})], 4, 10),
    ],
)
def test_next_epoch_is_above_all_that_was_triggered(
    store: CheckpointStore, entries: list[object], applied: int, expected: int
) -> None:
    """P2: the manifest carries the highest id triggered so far."""
    world = World()
    world.apply(applied)
    logged(store, *entries)
    assert begin(store, Sinks({"out": world})).next_epoch == expected


def test_takeovers_carry_the_highest_epoch_on(store: CheckpointStore) -> None:
    """P2."""
    logged(store, manifest(4, highest=9))
    begin(store, Sinks({}))
    begin(store, Sinks({}))
    assert JobLog(store).read().records[-1].entry.highest_epoch == 9


def test_an_epoch_id_that_reached_neither_log_nor_sink_returns_under_a_higher_token(store: CheckpointStore) -> None:
    """P2: (token, epoch) is what is unique: the old one's leavings go, the new one's stay."""
    world = World()
    first = begin(store, Sinks({"out": world}))
    run_epoch(first, 1, world)
    world.prepare(2, token=first.token, lineage=first.lineage)
    second = begin(store, Sinks({"out": world}))
    assert second.next_epoch == 2
    assert world.aborted == [Prepared(1, 2, 0, b"")]
    run_epoch(second, 2, world, commit=False)
    begin(store, Sinks({"out": world}))
    assert world.epochs(lineage=first.lineage) == [1, 2]
    assert len(world.aborted) == 1


def test_a_job_that_could_not_start_on_a_full_disk_starts_when_there_is_space(store: CheckpointStore) -> None:
    """Nothing is lost: after the cause is removed the job resumes from its last checkpoint."""

    def full() -> None:
        raise StoreFull("no space left")

    world = World()
    logged(store, manifest(1, pending=(committable(1),)))
    wrapped = Wrapped(store)
    wrapped.before_create = iter([full])
    with pytest.raises(StoreFull):
        begin(wrapped, Sinks({"out": world}))
    assert world.epochs() == []
    assert begin(wrapped, Sinks({"out": world})).committed_through == {"out": {"0": 1}}


# --- aborts (P11)


def test_leftovers_of_dead_attempts_are_aborted(store: CheckpointStore) -> None:
    """P11, P4: prepared, acknowledged or not, and in no manifest."""
    world = World()
    world.prepare(1)
    world.prepare(2)
    logged(store, manifest(1, pending=(committable(1),)))
    begin(store, Sinks({"out": world}))
    assert world.epochs() == [1]
    assert world.aborted == [Prepared(1, 2, 0, b"")]


def test_artefacts_of_higher_and_own_tokens_are_left_alone(store: CheckpointStore) -> None:
    """P11."""
    world = World()
    for token in (1, 2, 3):
        world.prepare(7, token=token)
    logged(store, manifest(1))
    attempt = begin(store, Sinks({"out": world}))
    assert attempt.token == 2
    assert [p.token for p in world.aborted] == [1]


def test_aborting_reads_the_log_afresh(store: CheckpointStore) -> None:
    """P11: a recovery that was overtaken while it committed aborts nothing, not even what it could."""
    world = World()
    world.prepare(9)

    def overtaken() -> CommitOutcome:
        JobLog(store).append(takeover(7, "newer"))
        world.apply(1)
        return CommitOutcome.done()

    world.script = [overtaken]
    logged(store, manifest(1, pending=(committable(1),)))
    with pytest.raises(Fenced):
        begin(store, Sinks({"out": world}))
    assert world.aborted == []


def test_a_listed_artefact_is_not_aborted_even_if_its_sink_keeps_listing_it(store: CheckpointStore) -> None:
    """P11: in no manifest after a fresh read of the log."""
    world = World()
    world.apply(1)
    world.prepare(1)
    logged(store, manifest(1, pending=(committable(1),)))
    begin(store, Sinks({"out": world}))
    assert world.aborted == []


# --- topology (P3)


def test_another_topology_is_refused_before_any_commit(store: CheckpointStore) -> None:
    """P3: the job can still be run as it was."""
    world = World()
    logged(store, manifest(1, operators=(OperatorSnapshot("totals", 0),), pending=(committable(1),)))
    source, _, sink = PLAN.operators
    with pytest.raises(OtherTopology, match="totals"):
        begin(store, Sinks({"out": world}), fingerprint=Fingerprint((source, sink)))
    assert world.epochs() == []
    assert begin(store, Sinks({"out": world})).committed_through == {"out": {"0": 1}}


def test_mapped_state_is_in_the_log_when_the_attempt_begins(store: CheckpointStore) -> None:
    """P3: a restart needs no map any more, and drops nothing twice."""
    source, window, sink = PLAN.operators
    renamed = Fingerprint((source, type(window)("sums", "window", True, window.state, ("bids",)), sink))
    world = World()
    snapshot = OperatorSnapshot("totals", 0, (0, 128), {"x": 1})
    logged(store, manifest(1, operators=(snapshot,), pending=(committable(1),)))
    first = begin(store, Sinks({"out": world}), fingerprint=renamed, state_map={"totals": "sums"})
    assert [s.operator for s in first.operators] == ["sums"]
    again = begin(store, Sinks({"out": world}), fingerprint=renamed)
    assert again.operators == first.operators
    assert again.committed_through == {"out": {"0": 1}}
    assert again.lineage == LINEAGE


def test_a_dropped_sink_is_out_of_the_log_when_the_attempt_begins(store: CheckpointStore) -> None:
    """P3: the restart need not drop it again."""
    source, window, _ = PLAN.operators
    plan = Fingerprint((source, window))
    logged(store, manifest(1, committed={"out": {"0": 1}}))
    begin(store, Sinks({}), fingerprint=plan, drop_state=["out"])
    assert begin(store, Sinks({}), fingerprint=plan).committed_through == {}


def test_a_two_phase_sink_that_became_another_kind_is_refused_while_epochs_wait(store: CheckpointStore) -> None:
    """P5: somebody must be able to commit them."""
    logged(store, manifest(1, pending=(committable(1),)))
    with pytest.raises(OtherTopology, match="cannot commit now"):
        begin(store, Sinks({}))


# --- the end (P7)


def test_a_finished_job_is_not_taken_over(store: CheckpointStore) -> None:
    """P7: running it again returns its result and changes nothing."""
    logged(store, manifest(1, committed={"out": {"0": 1}}), finish(1))
    sinks = Sinks({"out": World()})
    attempt = begin(store, sinks)
    assert attempt.finished == finish(1)
    assert attempt.manifest is not None
    assert sinks.opened == []
    assert len(JobLog(store).read().records) == 3


def test_a_job_that_finishes_while_it_is_taken_over_is_finished(store: CheckpointStore) -> None:
    """P7, P9."""
    zombie = logged(store, manifest(1))
    wrapped = Wrapped(store)
    wrapped.before_create = iter([lambda: zombie.append(finish(1))])
    assert begin(wrapped, Sinks({})).finished == finish(1)
    assert begin(store, Sinks({})).finished == finish(1)


def test_a_finished_job_begins_anew_when_asked_to(store: CheckpointStore) -> None:
    """P7: restore="none" is the way to run it again."""
    logged(store, manifest(1, operators=(OperatorSnapshot("totals", 0),)), finish(1))
    attempt = begin(store, Sinks({}), restore="none")
    assert (attempt.finished, attempt.operators) == (None, ())
    assert begin(store, Sinks({})).finished is None


# --- beginning anew


def test_beginning_anew_mints_a_lineage_and_forgets_the_state(store: CheckpointStore) -> None:
    """P1, P15."""
    logged(store, manifest(4, operators=(OperatorSnapshot("totals", 0),)))
    attempt = begin(store, Sinks({}), restore="none")
    assert attempt.lineage != LINEAGE
    assert (attempt.operators, attempt.committed_through, attempt.next_epoch) == ((), {}, 5)
    assert begin(store, Sinks({})).lineage == attempt.lineage


def test_beginning_anew_is_refused_over_output_of_the_same_job(store: CheckpointStore) -> None:
    """P15: and the refusal leaves the job as it was."""
    world = World()
    world.apply(1)
    logged(store, manifest(1, pending=(committable(1),), operators=(OperatorSnapshot("totals", 0),)))
    with pytest.raises(ForeignMarks):
        begin(store, Sinks({"out": world}), restore="none")
    back = begin(store, Sinks({"out": world}))
    assert (back.lineage, len(back.operators)) == (LINEAGE, 1)


def test_beginning_anew_aborts_what_the_old_lineage_prepared(store: CheckpointStore) -> None:
    """P11: its manifests count no more, so nothing lists it."""
    world = World()
    world.prepare(2)
    logged(store, manifest(2, pending=(committable(2),)))
    begin(store, Sinks({"out": world}), restore="none")
    assert world.aborted == [Prepared(1, 2, 0, b"")]
    assert world.epochs() == []


# --- crashes in recovery


@pytest.mark.parametrize("name", [n for n in FAILPOINTS if n.startswith(("takeover.", "recovery."))])
def test_a_crash_anywhere_in_recovery_is_recovered_from(store: CheckpointStore, name: str) -> None:
    """P5, P9: killed at each step, the next attempt ends up with the same output."""
    world = World()
    world.apply(1)
    world.prepare(3)
    world.prepare(4)
    pending = (committable(2), committable(3))
    logged(store, manifest(3, committed={"out": {"0": 1}}, pending=pending, operators=(OperatorSnapshot("totals", 0),)))
    source, window, sink = PLAN.operators
    plan = Fingerprint((source, type(window)("sums", "window", True, window.state, ("bids",)), sink))
    options = {"fingerprint": plan, "state_map": {"totals": "sums"}}
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            begin(store, Sinks({"out": world}), **options)
    finally:
        disarm()
    attempt = begin(store, Sinks({"out": world}), **options)
    assert world.epochs() == [1, 2, 3]
    assert attempt.committed_through == {"out": {"0": 3}}
    assert [s.operator for s in attempt.operators] == ["sums"]
    assert world.aborted == [Prepared(1, 4, 0, b"")]


@pytest.mark.parametrize("name", [n for n in FAILPOINTS if n.startswith(("takeover.", "recovery."))])
def test_a_crash_anywhere_in_a_fork_leaves_the_old_state_or_the_new_one(store: CheckpointStore, name: str) -> None:
    """P15: one entry decides."""
    logged(store, manifest(3, operators=(OperatorSnapshot("totals", 0),)))
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            begin(store, Sinks({}), restore="none")
    finally:
        disarm()
    attempt = begin(store, Sinks({}))
    assert (attempt.lineage == LINEAGE) == (len(attempt.operators) == 1)
