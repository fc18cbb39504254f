"""P5, P11: what is removed, what must never be, and that a fenced attempt removes nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_checkpoint import (
    CheckpointStore,
    Committable,
    FailpointError,
    Fenced,
    JobLog,
    MemoryStore,
    OperatorSnapshot,
    StateFile,
    create_savepoint,
    retire,
    staged_key,
    state_key,
    verify,
)
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_checkpoint._log_view import LogView
from krishiv_checkpoint._retention import superfluous_entries, superfluous_files
from tests.unit.checkpoint_store.support import committable, finish, manifest, put, takeover


def stage(store: CheckpointStore, listed: Committable) -> str:
    key = staged_key(listed.sink, listed.token, listed.epoch, listed.slot)
    put(store, key, b"rows")
    return key


def run(store: CheckpointStore, epochs: int, keep: int, token: int = 1) -> JobLog:
    """A job with one new state file and one staged file per epoch; each epoch is committed before the next."""
    log = JobLog(store)
    log.append(takeover(token))
    for epoch in range(1, epochs + 1):
        snapshot = put(store, state_key(token, epoch, "totals", 0, 0), b"state")
        listed = committable(epoch, token=token)
        stage(store, listed)
        log.append(manifest(epoch, token=token, operators=(snapshot,), pending=(listed,)))
        retire(log, store, keep, token)
    return log


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_manifests_stay_with_all_they_refer_to(store: CheckpointStore, keep: int) -> None:
    """Retention keeps `keep` manifests, never more after the second."""
    log = run(store, 6, keep)
    kept = range(7 - keep, 7)
    assert [m.epoch for m in log.read().manifests()] == list(kept)
    assert store.list("state/") == [state_key(1, epoch, "totals", 0, 0) for epoch in kept]
    assert store.list("staged/") == [staged_key("out", 1, epoch, 0) for epoch in kept]
    assert len(store.list("log/")) == keep
    assert verify(store) == []


def test_a_changed_number_takes_effect_with_the_next_manifest(store: CheckpointStore) -> None:
    """P9: what counts is declared durably before anything goes."""
    log = run(store, 4, 4)
    retire(log, store, 1, 1)
    assert [m.epoch for m in log.read().manifests()] == [1, 2, 3, 4]
    log.append(manifest(5))
    retire(log, store, 1, 1)
    assert [m.epoch for m in log.read().manifests()] == [5]


def test_files_of_older_epochs_stay_while_a_manifest_refers_to_them(store: CheckpointStore) -> None:
    """Base and deltas: a snapshot's files are of many epochs."""
    log = JobLog(store)
    log.append(takeover())
    base = put(store, state_key(1, 1, "totals", 0, 0), b"base")
    log.append(manifest(1, operators=(base,)))
    for epoch in (2, 3, 4):
        delta = put(store, state_key(1, epoch, "totals", 0, 0), b"delta")
        both = OperatorSnapshot("totals", 0, (0, 128), {}, (*base.files, *delta.files))
        log.append(manifest(epoch, operators=(both,)))
        retire(log, store, 1, 1)
    assert store.list("state/") == [state_key(1, 1, "totals", 0, 0), state_key(1, 4, "totals", 0, 0)]


def test_staged_output_stays_until_a_later_manifest_records_it_committed(store: CheckpointStore) -> None:
    """P5: though its own manifest is long gone."""
    log = JobLog(store)
    log.append(takeover())
    waiting = committable(1)
    key = stage(store, waiting)
    for epoch in (1, 2, 3, 4):
        log.append(manifest(epoch, pending=(waiting,)))
        retire(log, store, 1, 1)
    assert store.list("staged/") == [key]
    log.append(manifest(5, committed={"out": {"0": 4}}))
    retire(log, store, 1, 1)
    assert store.list("staged/") == []


def test_an_epoch_in_flight_is_not_touched(store: CheckpointStore) -> None:
    """P11: files of epochs above the newest manifest, and of it."""
    log = run(store, 3, 1)
    put(store, state_key(1, 4, "totals", 0, 0), b"being written")
    stage(store, committable(4))
    put(store, state_key(1, 3, "totals", 9, 9), b"of the newest epoch, late")
    retire(log, store, 1, 1)
    assert len(store.list("state/")) == 3
    assert len(store.list("staged/")) == 2


def test_what_a_failed_epoch_left_goes_with_the_next_manifest(store: CheckpointStore) -> None:
    """P4: the next manifest refers to whatever of it still matters."""
    log = run(store, 3, 1)
    put(store, state_key(1, 4, "totals", 0, 0), b"failed")
    carried = committable(4)
    stage(store, carried)
    log.append(manifest(5, pending=(carried,)))
    retire(log, store, 1, 1)
    assert store.list("state/") == []
    assert store.list("staged/") == [staged_key("out", 1, 4, 0)]


def test_nothing_of_a_new_attempt_goes_before_its_first_manifest(store: CheckpointStore) -> None:
    """P11: the tip is still the old attempt's, with a higher epoch than some in flight."""
    run(store, 6, 1)
    log = JobLog(store)
    log.append(takeover(2))
    put(store, state_key(2, 5, "totals", 0, 0), b"in flight")
    retire(log, store, 1, 2)
    assert state_key(2, 5, "totals", 0, 0) in store.list("state/")
    assert state_key(1, 6, "totals", 0, 0) in store.list("state/")


def test_leavings_of_dead_attempts_go(store: CheckpointStore) -> None:
    """P11: lower tokens, in no manifest."""
    run(store, 2, 1)
    put(store, state_key(1, 3, "totals", 0, 0), b"orphan")
    stage(store, committable(3))
    log = JobLog(store)
    log.append(takeover(2))
    retire(log, store, 1, 2)
    assert store.list("state/") == [state_key(1, 2, "totals", 0, 0)]
    assert store.list("staged/") == [staged_key("out", 1, 2, 0)]


def test_a_fenced_attempt_removes_nothing(store: CheckpointStore) -> None:
    """P11: zombies destroy nothing."""
    log = run(store, 3, 3)
    log.keep_manifests(1)
    log.append(manifest(4))
    JobLog(store).append(takeover(2))
    before = store.list("")
    with pytest.raises(Fenced):
        retire(log, store, 1, 1)
    assert store.list("") == before


def test_an_attempt_overtaken_in_the_middle_removes_nothing_that_its_successor_needs(store: CheckpointStore) -> None:
    """P11: takeover after the fresh read, before the deletes."""
    log = run(store, 3, 2)
    log.append(manifest(4, operators=(put(store, state_key(1, 4, "totals", 0, 0), b"state"),)))
    view = log.read()
    successor = JobLog(store)
    successor.append(takeover(2))
    snapshot = put(store, state_key(2, 5, "totals", 0, 0), b"new")
    successor.append(manifest(5, token=2, operators=(snapshot,), pending=(committable(5, token=2),)))
    stage(store, committable(5, token=2))
    for key in superfluous_entries(store.list("log/"), view.first):
        store.delete(key)
    for key in superfluous_files([*store.list("state/"), *store.list("staged/")], view, (), 1):
        store.delete(key)
    assert verify(store) == []
    assert len(store.list("staged/2-")) == 0
    assert staged_key("out", 2, 5, 0) in store.list("staged/")


def test_savepoints_are_exempt(store: CheckpointStore) -> None:
    """Immutable, exempt from retention."""
    log = run(store, 1, 1)
    newest = log.read().manifest
    assert newest is not None
    create_savepoint(log, newest, "s", {"out": {"0": 1}})
    saved = store.list("savepoints/")
    for epoch in (2, 3, 4):
        log.append(manifest(epoch))
        retire(log, store, 1, 1)
    assert store.list("savepoints/") == saved
    assert verify(store) == []


def test_strangers_files_are_left_alone(store: CheckpointStore) -> None:
    put(store, "state/README", b"?")
    put(store, "staged/out/notes.txt", b"?")
    log = run(store, 3, 1)
    assert {"state/README", "staged/out/notes.txt"} <= set(store.list(""))
    assert log.read().token == 1


def test_a_finished_job_keeps_no_staged_output(store: CheckpointStore) -> None:
    """P7: finish is written when everything is committed."""
    log = run(store, 2, 1)
    log.append(finish(2))
    retire(log, store, 1, 1)
    assert store.list("staged/") == []
    assert len(store.list("state/")) == 1


@pytest.mark.parametrize("name", ["retire.before", "retire.after"])
def test_a_crash_beside_retirement_is_made_good_by_the_next(store: CheckpointStore, name: str) -> None:
    log = run(store, 3, 1)
    log.append(manifest(4))
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            retire(log, store, 1, 1)
    finally:
        disarm()
    retire(log, store, 1, 1)
    assert len(store.list("log/")) == 1
    assert store.list("state/") == store.list("staged/") == []


def test_a_crash_between_two_deletes_leaves_a_sound_log() -> None:
    """P9: entries go oldest first, files after them."""
    for deletes in range(8):
        store = MemoryStore()
        log = run(store, 3, 3)
        log.keep_manifests(1)
        log.append(manifest(4))
        left = itertools.count()
        delete = store.delete

        def dying(key: str, delete=delete, left=left, deletes=deletes) -> None:
            if next(left) == deletes:
                raise RuntimeError
            delete(key)

        store.delete = dying
        with pytest.raises(RuntimeError):
            retire(log, store, 1, 1)
        store.delete = delete
        assert verify(store) == []
        retire(JobLog(store), store, 1, 1)
        assert store.list("state/") == store.list("staged/") == []


def test_a_crash_between_two_deletes_leaves_no_hole_that_a_sleeper_takes_for_the_end() -> None:
    """P9: that is why entries go oldest first."""
    for deletes, slept_after in itertools.product(range(5), range(1, 5)):
        store = MemoryStore()
        zombie = JobLog(store)
        zombie.append(takeover(1))
        for epoch in range(1, slept_after):
            zombie.append(manifest(epoch))
        log = JobLog(store)
        log.append(takeover(2))
        log.keep_manifests(1)
        for epoch in range(5, 9):
            log.append(manifest(epoch, token=2))
        left = itertools.count()
        delete = store.delete

        def dying(key: str, delete=delete, left=left, deletes=deletes) -> None:
            if next(left) == deletes:
                raise RuntimeError
            delete(key)

        store.delete = dying
        with pytest.raises(RuntimeError):
            retire(log, store, 1, 2)
        store.delete = delete
        with pytest.raises(Fenced):
            zombie.append(manifest(slept_after))
        assert [m.epoch for m in JobLog(store).read().manifests()] == [8]


def test_keeping_nothing_is_refused(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="not 1 or more"):
        retire(JobLog(store), store, 0, 1)


TOKENS, EPOCHS = st.integers(1, 3), st.integers(1, 5)
FILES = st.sets(st.tuples(TOKENS, EPOCHS, st.integers(0, 1)), max_size=12)


@given(FILES, FILES, TOKENS, EPOCHS, st.booleans())
def test_no_file_goes_that_is_referred_to_in_flight_or_of_a_higher_token(
    present: set[tuple[int, int, int]],
    referenced: set[tuple[int, int, int]],
    tip_token: int,
    tip_epoch: int,
    staged: bool,
) -> None:
    """P11, as a law, for state and for staged files; and everything else does go."""
    own = 2

    def key(token: int, epoch: int, slot: int) -> str:
        return staged_key("out", token, epoch, slot) if staged else state_key(token, epoch, "totals", slot, 0)

    files = tuple(StateFile(key(*file), "", 0) for file in referenced)
    pending = tuple(committable(epoch, slot, token=token) for token, epoch, slot in referenced)
    token = min(tip_token, own)
    newest = manifest(
        tip_epoch,
        token=token,
        operators=() if staged else (OperatorSnapshot("totals", 0, (0, 128), {}, files),),
        pending=pending if staged else (),
    )
    log = JobLog(MemoryStore())
    log.append(takeover(token))
    log.append(newest)
    doomed = set(superfluous_files(map(key, *zip(*present, strict=True)) if present else [], log.read(), (), own))
    for file in present:
        finished = file[0] < own or (file[0] == own and token == own and file[1] < tip_epoch)
        assert (key(*file) in doomed) == (finished and file not in referenced)


def test_a_view_without_manifests_dooms_only_lower_tokens() -> None:
    """P11."""
    keys = [state_key(token, 1, "totals", 0, 0) for token in (1, 2, 3)]
    assert superfluous_files(keys, LogView(), (), 2) == keys[:1]
