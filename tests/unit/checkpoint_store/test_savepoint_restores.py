"""P15, P16: a savepoint restores into its own job and into others, and leads out of a damaged log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from krishiv_checkpoint import (
    FAILPOINTS,
    CheckpointStore,
    CorruptManifest,
    CorruptState,
    FailpointError,
    Fenced,
    FilesystemStore,
    ForeignMarks,
    JobLog,
    MemoryStore,
    OtherTopology,
    Prepared,
    SavepointMissing,
    SinkAhead,
    SinkBehind,
    create_savepoint,
    delete_savepoint,
    retire,
)
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_checkpoint._keys import log_key
from tests.unit.checkpoint_store.support import (
    DONE,
    LINEAGE,
    OTHER,
    Sinks,
    World,
    Wrapped,
    applied_through,
    begin,
    go_on,
    job_with_savepoint,
    manifest,
    overwrite,
    run_epoch,
    state_of,
    takeover,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- restoring into the same job


def test_a_stopped_job_goes_on_from_its_savepoint_in_its_lineage(store: CheckpointStore) -> None:
    """P16, P1: nothing happened since, so nothing is doubled and nothing forked."""
    job_with_savepoint(store)
    world = applied_through(2)
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade")
    assert (attempt.lineage, attempt.next_epoch, attempt.overlap) == (LINEAGE, 3, ())
    assert attempt.committed_through == DONE
    assert state_of(store, attempt.operators) == [b"state of epoch 2"]
    assert attempt.manifest is not None
    assert (attempt.manifest.epoch, attempt.manifest.token) == (2, 2)


def test_a_job_restored_from_a_savepoint_lives_on_without_it(store: CheckpointStore) -> None:
    job_with_savepoint(store)
    first = begin(store, Sinks({"out": applied_through(2)}), restore="before-upgrade")
    delete_savepoint(store, "before-upgrade")
    retire(first.log, store, 1, first.token)
    second = begin(store, Sinks({"out": applied_through(2)}))
    assert state_of(store, second.operators) == [b"state of epoch 2"]
    assert second.operators == first.operators


def test_an_older_savepoint_is_refused_while_the_sink_is_ahead(store: CheckpointStore) -> None:
    """P15: and the job can still go on from its tip."""
    job_with_savepoint(store)
    go_on(store, 3, 4)
    world = applied_through(3)
    with pytest.raises(SinkAhead, match=r"ends at epoch 2, but sink 'out', slot 0 holds epochs 3 to 3"):
        begin(store, Sinks({"out": world}), restore="before-upgrade")
    attempt = begin(store, Sinks({"out": world}))
    assert attempt.manifest is not None
    assert attempt.manifest.epoch == 4
    assert world.epochs() == [1, 2, 3, 4]


def test_an_older_savepoint_restores_once_the_sink_is_rewound(store: CheckpointStore) -> None:
    """P15, P2: epoch ids go on above what was ever applied."""
    job_with_savepoint(store)
    go_on(store, 3, 4)
    world = applied_through(3, can_rewind=True)
    world.prepare(4)
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="rewind")
    assert world.epochs() == [1, 2]
    assert (attempt.lineage, attempt.next_epoch, attempt.committed_through) == (LINEAGE, 5, DONE)
    assert world.aborted == [Prepared(1, 4, 0, b"")]
    assert begin(store, Sinks({"out": world})).operators == attempt.operators


def test_nothing_is_rewound_for_a_savepoint_that_turns_out_to_be_damaged(store: CheckpointStore) -> None:
    """P12, P15: the job must still be able to go on from its tip."""
    job_with_savepoint(store)
    go_on(store, 3, 4)
    (key,) = [key for key in store.list("savepoints/") if key.endswith(".arrow")]
    overwrite(store, key, b"state of epoch X")
    world = applied_through(3, can_rewind=True)
    with pytest.raises(CorruptState):
        begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="rewind")
    assert world.epochs() == [1, 2, 3]
    assert begin(store, Sinks({"out": world})).committed_through == {"out": {"0": 4}}


def _back_from_a_newer_savepoint(store: CheckpointStore, world: World) -> None:
    """The job goes on to epoch 4, is saved there, and goes back to epoch 2."""
    job_with_savepoint(store)
    go_on(store, 3)
    newer = manifest(4, committed={"out": {"0": 4}})
    log = JobLog(store)
    log.append(newer)
    create_savepoint(log, newer, "newer", {"out": {"0": 4}})
    begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="rewind")


@pytest.mark.parametrize("on_sink_ahead", ["refuse", "rewind", "duplicate"])
def test_a_savepoint_is_refused_once_its_output_was_taken_back(store: CheckpointStore, on_sink_ahead: str) -> None:
    """P15: also when the sinks have gone on past its epoch since, with other rows."""
    world = applied_through(4, can_rewind=True)
    _back_from_a_newer_savepoint(store, world)
    assert world.epochs() == [1, 2]
    second = begin(store, Sinks({"out": world}))
    for epoch in (second.next_epoch, second.next_epoch + 1):
        run_epoch(second, epoch, world)
    held = world.epochs()
    with pytest.raises(SinkBehind, match="went back to epoch 2"):
        begin(store, Sinks({"out": world}), restore="newer", on_sink_ahead=on_sink_ahead)
    assert world.epochs() == held


def test_a_job_without_two_phase_sinks_goes_back_and_forth(store: CheckpointStore) -> None:
    """P15: nothing of it was taken back."""
    _back_from_a_newer_savepoint(store, applied_through(4, can_rewind=True))
    attempt = begin(store, Sinks({}), restore="newer", drop_state=["out"])
    assert attempt.manifest is not None
    assert attempt.manifest.epoch == 4


@pytest.mark.parametrize("name", [n for n in FAILPOINTS if n.startswith(("takeover.", "recovery."))])
def test_a_crash_anywhere_in_a_rewind_is_recovered_from(store: CheckpointStore, name: str) -> None:
    """P15: the same call again ends where it would have ended."""
    job_with_savepoint(store)
    go_on(store, 3, 4)
    world = applied_through(3, can_rewind=True)
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="rewind")
    finally:
        disarm()
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="rewind")
    assert world.epochs() == [1, 2]
    assert (attempt.lineage, attempt.next_epoch, attempt.committed_through) == (LINEAGE, 5, DONE)


def test_an_older_savepoint_restores_with_duplicates_under_a_new_lineage(store: CheckpointStore) -> None:
    """P15."""
    job_with_savepoint(store)
    go_on(store, 3, 4)
    world = applied_through(3)
    world.prepare(4)
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade", on_sink_ahead="duplicate")
    assert attempt.lineage != LINEAGE
    assert attempt.overlap == ("sink 'out', slot 0 holds epochs 3 to 3",)
    assert attempt.committed_through == {}
    assert world.epochs() == [1, 2, 3]
    assert world.aborted == [Prepared(1, 4, 0, b"")]


def test_an_epoch_that_only_the_replaced_tip_holds_is_aborted_not_committed(store: CheckpointStore) -> None:
    """P15, P5: its rows are read again after the savepoint."""
    job_with_savepoint(store)
    go_on(store, 3)
    world = applied_through(2)
    world.prepare(3)
    begin(store, Sinks({"out": world}), restore="before-upgrade")
    assert world.epochs() == [1, 2]
    assert world.aborted == [Prepared(1, 3, 0, b"")]


def test_a_zombie_that_commits_the_replaced_tip_is_noticed(store: CheckpointStore) -> None:
    """P15, P11: it got there after the comparison and before its epoch was aborted."""
    job_with_savepoint(store)
    go_on(store, 3)
    world = applied_through(2)

    class Racing(Sinks):
        def __call__(self, lineage: str, token: int):
            committers = super().__call__(lineage, token)
            listing = committers["out"].list_prepared

            def list_late(lineage: str):
                world.apply(3)
                return listing(lineage)

            committers["out"].list_prepared = list_late
            return committers

    with pytest.raises(SinkAhead, match="epochs 3 to 3"):
        begin(store, Racing({"out": world}), restore="before-upgrade")
    with pytest.raises(SinkAhead):
        begin(store, Sinks({"out": world}))


def test_marks_from_before_an_earlier_fork_do_not_stop_a_restore_within_the_lineage(store: CheckpointStore) -> None:
    """P15: only a new lineage has to explain the output that it finds."""
    job_with_savepoint(store)
    world = applied_through(2)
    world.apply(9, lineage=OTHER)
    assert begin(store, Sinks({"out": world}), restore="before-upgrade").lineage == LINEAGE


def test_a_savepoint_is_refused_when_the_sink_lost_epochs_of_it(store: CheckpointStore) -> None:
    """P15: marker lost."""
    job_with_savepoint(store)
    with pytest.raises(SinkBehind, match="has no mark at all, but epoch 2"):
        begin(store, Sinks({"out": World()}), restore="before-upgrade")


def test_a_missing_savepoint_takes_nothing_over(store: CheckpointStore) -> None:
    """A slip of the pen does not fence a running job."""
    job_with_savepoint(store)
    before = JobLog(store).read().records
    with pytest.raises(SavepointMissing):
        begin(store, Sinks({}), restore="typo")
    assert JobLog(store).read().records == before


def test_a_damaged_savepoint_file_stops_the_restore_and_leaves_the_tip(store: CheckpointStore) -> None:
    """P12."""
    job_with_savepoint(store)
    (key,) = [key for key in store.list("savepoints/") if key.endswith(".arrow")]
    overwrite(store, key, b"state of epoch X")
    with pytest.raises(CorruptState):
        begin(store, Sinks({"out": applied_through(2)}), restore="before-upgrade")
    assert state_of(store, begin(store, Sinks({"out": applied_through(2)})).operators) == [b"state of epoch 2"]


def test_a_savepoint_restores_into_another_topology_with_dropped_sinks(store: CheckpointStore) -> None:
    """P3: a savepoint holds no uncommitted epochs, so a sink can leave."""
    job_with_savepoint(store)
    source, window, _ = manifest(1).fingerprint.operators
    plan = type(manifest(1).fingerprint)((source, window))
    with pytest.raises(OtherTopology, match="'out'"):
        begin(store, Sinks({}), restore="before-upgrade", fingerprint=plan)
    attempt = begin(store, Sinks({}), restore="before-upgrade", fingerprint=plan, drop_state=["out", "totals"])
    assert [s.operator for s in attempt.operators] == ["bids"]
    assert store.list("state/2-") == []


# --- restoring into another job


def other_job(tmp_path: Path, kind: str) -> CheckpointStore:
    return MemoryStore() if kind == "memory" else FilesystemStore(tmp_path / "other")


@pytest.mark.parametrize("kind", ["memory", "filesystem"])
def test_a_savepoint_forks_into_other_jobs_each_with_its_lineage(tmp_path: Path, kind: str) -> None:
    """P1, P16: savepoint forked twice, into another kind of store too."""
    origin = FilesystemStore(tmp_path / "origin")
    job_with_savepoint(origin, str(tmp_path / "saved"))
    lineages: set[str] = {LINEAGE}
    for name in ("left", "right"):
        store, world = (FilesystemStore(tmp_path / name), World()) if kind == "filesystem" else (MemoryStore(), World())
        attempt = begin(store, Sinks({"out": world}, name), restore=str(tmp_path / "saved"), job=name)
        assert (attempt.committed_through, attempt.next_epoch, attempt.token) == ({}, 3, 1)
        assert state_of(store, attempt.operators) == [b"state of epoch 2"]
        assert world.epochs() == []
        lineages.add(attempt.lineage)
        assert begin(store, Sinks({"out": world}, name), job=name).lineage == attempt.lineage
    assert len(lineages) == 3


def test_a_fork_never_opens_the_original_jobs_lineage(tmp_path: Path) -> None:
    """P1: opening it would fence the job that goes on in it."""
    job_with_savepoint(FilesystemStore(tmp_path / "origin"), str(tmp_path / "saved"))
    sinks = Sinks({"out": applied_through(2)}, "fork")
    attempt = begin(MemoryStore(), sinks, restore=str(tmp_path / "saved"), job="fork")
    assert [lineage for lineage, _ in sinks.opened] == [attempt.lineage]


def test_a_fork_that_accepts_duplicates_opens_its_sinks_once(tmp_path: Path) -> None:
    """P15: its lineage is new already."""
    job_with_savepoint(FilesystemStore(tmp_path / "origin"), str(tmp_path / "saved"))
    sinks = Sinks({"out": applied_through(4)}, "fork")
    attempt = begin(MemoryStore(), sinks, restore=str(tmp_path / "saved"), job="fork", on_sink_ahead="duplicate")
    assert sinks.opened == [(attempt.lineage, 1)]
    assert len(attempt.overlap) == 1


def test_a_fork_does_not_mind_that_the_original_goes_on_meanwhile(tmp_path: Path) -> None:
    """P15: compared once, before the fork is in the log; what comes after is the original's own."""
    job_with_savepoint(FilesystemStore(tmp_path / "origin"), str(tmp_path / "saved"))
    world = applied_through(2)

    class Busy(Sinks):
        def __call__(self, lineage: str, token: int):
            committers = super().__call__(lineage, token)
            committers["out"].list_prepared = lambda lineage: world.apply(3) or []
            return committers

    assert begin(MemoryStore(), Busy({"out": world}, "fork"), restore=str(tmp_path / "saved"), job="fork").overlap == ()


def test_a_fork_remembers_the_epochs_of_its_original(tmp_path: Path) -> None:
    """P2: the highest id triggered is in the fork's log too."""
    log = JobLog(MemoryStore())
    log.append(takeover(1))
    written = manifest(2, highest=9)
    log.append(written)
    create_savepoint(log, written, str(tmp_path / "saved"), {})
    store = MemoryStore()
    assert begin(store, Sinks({}), restore=str(tmp_path / "saved")).next_epoch == 10
    assert begin(store, Sinks({})).next_epoch == 10


def test_a_fork_into_the_originals_output_is_refused_once_the_original_went_on(tmp_path: Path) -> None:
    """P15: compared under the savepoint's lineage; never rewound, it is another job's."""
    job_with_savepoint(FilesystemStore(tmp_path / "origin"), str(tmp_path / "saved"))
    world = applied_through(5, can_rewind=True)
    for policy in ("refuse", "rewind"):
        with pytest.raises(SinkAhead, match="epochs 3 to 5"):
            begin(
                MemoryStore(),
                Sinks({"out": world}, "fork"),
                restore=str(tmp_path / "saved"),
                job="fork",
                on_sink_ahead=policy,
            )
    assert world.epochs() == [1, 2, 3, 4, 5]


def test_a_job_whose_data_was_lost_goes_on_from_a_savepoint_under_a_new_lineage(tmp_path: Path) -> None:
    """P15: the marks of the savepoint's lineage are no strangers, and they end where it ends."""
    job_with_savepoint(MemoryStore(), str(tmp_path / "saved"))
    attempt = begin(MemoryStore(), Sinks({"out": applied_through(2)}), restore=str(tmp_path / "saved"))
    assert attempt.lineage != LINEAGE
    assert attempt.overlap == ()
    assert attempt.next_epoch == 3


def test_a_job_whose_data_was_lost_is_refused_a_savepoint_that_is_too_old(tmp_path: Path) -> None:
    """P15."""
    job_with_savepoint(MemoryStore(), str(tmp_path / "saved"))
    with pytest.raises(SinkAhead):
        begin(MemoryStore(), Sinks({"out": applied_through(3)}), restore=str(tmp_path / "saved"))


def test_a_savepoint_of_an_abandoned_lineage_meets_the_marks_of_the_one_that_followed(tmp_path: Path) -> None:
    """P15."""
    job_with_savepoint(MemoryStore(), str(tmp_path / "saved"))
    world = applied_through(2)
    world.apply(7, lineage=OTHER)
    with pytest.raises(ForeignMarks):
        begin(MemoryStore(), Sinks({"out": world}), restore=str(tmp_path / "saved"))


# --- out of a damaged log


def damaged_job(store: CheckpointStore) -> None:
    job_with_savepoint(store)
    go_on(store, 3)
    newest = store.list("log/")[-1]
    overwrite(store, newest, bytes(store.get(newest))[:-9])


def test_a_damaged_log_stops_only_the_latest_state(store: CheckpointStore) -> None:
    """P12: never an older one silently; a savepoint is the way out that the error names."""
    damaged_job(store)
    world = applied_through(2)
    with pytest.raises(CorruptManifest):
        begin(store, Sinks({"out": world}))
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade")
    assert state_of(store, attempt.operators) == [b"state of epoch 2"]
    assert begin(store, Sinks({"out": world})).operators == attempt.operators


def test_a_way_out_of_a_damaged_log_that_is_refused_leaves_it_as_it_was(store: CheckpointStore) -> None:
    """P15: refused because the sink is ahead; the file may still be repaired."""
    job_with_savepoint(store)
    go_on(store, 3)
    newest = store.list("log/")[-1]
    sound = bytes(store.get(newest))
    overwrite(store, newest, b"")
    world = applied_through(3)
    with pytest.raises(SinkAhead):
        begin(store, Sinks({"out": world}), restore="before-upgrade")
    with pytest.raises(ForeignMarks):
        begin(store, Sinks({"out": world}), restore="none")
    with pytest.raises(CorruptManifest):
        begin(store, Sinks({"out": world}))
    overwrite(store, newest, sound)
    attempt = begin(store, Sinks({"out": world}))
    assert (attempt.lineage, attempt.next_epoch, attempt.committed_through) == (LINEAGE, 4, {"out": {"0": 3}})


def test_a_takeover_of_a_damaged_log_is_above_every_token_in_it(store: CheckpointStore) -> None:
    """P9: even above tokens that nobody can read any more."""
    log = JobLog(store)
    for token in range(1, 6):
        log.append(takeover(token))
    log.append(manifest(1, token=5))
    for sequence in range(2, 7):
        overwrite(store, log_key(sequence), b"noise")
    attempt = begin(store, Sinks({}), restore="none")
    assert attempt.token > 5
    with pytest.raises(Fenced):
        log.append(manifest(2, token=5))
    assert JobLog(store).read().token == attempt.token


def test_two_ways_out_of_a_damaged_log_at_once_do_not_share_a_token(store: CheckpointStore) -> None:
    """P9."""
    damaged_job(store)
    wrapped = Wrapped(store)
    rivals = []
    wrapped.before_create = iter([lambda: rivals.append(begin(store, Sinks({}), restore="none"))])
    attempt = begin(wrapped, Sinks({}), restore="none")
    assert attempt.token > rivals[0].token
    with pytest.raises(Fenced):
        rivals[0].log.append(manifest(9, token=rivals[0].token, writer=rivals[0].writer))
    assert JobLog(store).read().lineage == attempt.lineage


@pytest.mark.parametrize("name", [n for n in FAILPOINTS if n.startswith(("takeover.", "recovery."))])
def test_a_crash_anywhere_in_a_restore_is_recovered_from(store: CheckpointStore, name: str) -> None:
    """P15, P16: the same call again restores the same state."""
    job_with_savepoint(store)
    go_on(store, 3)
    world = applied_through(2)
    world.prepare(3)
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            begin(store, Sinks({"out": world}), restore="before-upgrade")
    finally:
        disarm()
    attempt = begin(store, Sinks({"out": world}), restore="before-upgrade")
    assert state_of(store, attempt.operators) == [b"state of epoch 2"]
    assert world.epochs() == [1, 2]
    assert world.aborted == [Prepared(1, 3, 0, b"")]
    assert msgspec.json.encode(attempt.manifest)
