"""P16, P1, P15: savepoints are complete in themselves, hold nothing to commit, and restore anywhere."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    CorruptManifest,
    CorruptState,
    FailpointError,
    Fenced,
    FilesystemStore,
    FutureFormat,
    JobLog,
    KeyMissing,
    MemoryStore,
    SavepointExists,
    SavepointMissing,
    SavepointUnsettled,
    StoreFull,
    create_savepoint,
    delete_savepoint,
    list_savepoints,
    load_savepoint,
    retire,
)
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_checkpoint._sealed import seal
from krishiv_guarantees import ConfigurationError
from tests.unit.checkpoint_store.support import (
    DONE,
    Sinks,
    Wrapped,
    applied_through,
    begin,
    committable,
    job_with_savepoint,
    manifest,
    overwrite,
    put,
    state_of,
    takeover,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- creating


def test_a_savepoint_holds_its_own_copies_and_nothing_to_commit(store: CheckpointStore) -> None:
    """P16: complete only when its epoch is committed in all sinks."""
    job_with_savepoint(store)
    store.delete("state/1-2/totals-0-0.arrow")
    savepoint = load_savepoint(store, "before-upgrade")
    assert savepoint.manifest.pending == ()
    assert savepoint.manifest.committed_through == DONE
    assert state_of(savepoint.store, savepoint.manifest.operators) == [b"state of epoch 2"]
    assert [s.operator for s in savepoint.manifest.operators] == ["totals", "bids"]


def test_a_savepoint_is_noted_in_the_log(store: CheckpointStore) -> None:
    """P9: savepoints are entries."""
    job_with_savepoint(store)
    entry = JobLog(store).read().records[-1].entry
    assert (entry.epoch, entry.location, entry.token) == (2, "before-upgrade", 1)


@pytest.mark.parametrize("applied", [{}, {"out": {}}, {"out": {"0": 1}}, {"out": {"1": 9}}, {"other": {"0": 9}}])
def test_a_savepoint_of_uncommitted_epochs_is_refused(store: CheckpointStore, applied: dict) -> None:
    """P16: two jobs that start from it would both commit them."""
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(2, pending=(committable(2),))
    log.append(written)
    with pytest.raises(SavepointUnsettled, match="slot 0 has not applied epoch 2"):
        create_savepoint(log, written, "s", applied)
    assert list_savepoints(store) == []


def test_what_was_committed_after_its_epoch_is_not_in_a_savepoint(store: CheckpointStore) -> None:
    """P15: else a restore would take epochs for its own that it is going to write again."""
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(2, pending=(committable(1), committable(2)))
    log.append(written)
    savepoint = create_savepoint(log, written, "s", {"out": {"0": 5}})
    assert savepoint.manifest.committed_through == {"out": {"0": 2}}


def test_a_savepoint_is_never_overwritten(store: CheckpointStore) -> None:
    """Immutable."""
    job_with_savepoint(store)
    saved = store.list("savepoints/")
    log = JobLog(store)
    later = manifest(3, operators=(put(store, "state/1-3/a.arrow", b"later"),))
    log.append(later)
    with pytest.raises(SavepointExists):
        create_savepoint(log, later, "before-upgrade", DONE)
    assert store.list("savepoints/") == saved


def test_two_attempts_that_save_under_one_name_do_not_mix(store: CheckpointStore) -> None:
    """P11: the loser's files carry its own token; the winner's savepoint stays whole."""
    job_with_savepoint(MemoryStore())
    log = JobLog(store)
    log.append(takeover(1))
    mine = manifest(2, operators=(put(store, "state/1-2/a.arrow", b"mine"),))
    log.append(mine)
    other = JobLog(store)
    other.read()
    other.append(takeover(2))
    theirs = manifest(3, token=2, operators=(put(store, "state/2-3/a.arrow", b"theirs"),))
    other.append(theirs)
    create_savepoint(other, theirs, "s", {})
    with pytest.raises((Fenced, SavepointExists)):
        create_savepoint(log, mine, "s", {})
    assert state_of(load_savepoint(store, "s").store, load_savepoint(store, "s").manifest.operators) == [b"theirs"]


def test_a_zombie_does_not_write_over_the_files_of_a_finished_savepoint(store: CheckpointStore) -> None:
    """P11: it looked before its successor saved under the same name, and copies after."""
    wrapped = Wrapped(store)
    zombie = JobLog(wrapped)
    zombie.append(takeover(1))
    mine = manifest(2, operators=(put(store, "state/1-2/a.arrow", b"mine"),))
    zombie.append(mine)

    def successor_saves() -> None:
        log = JobLog(store)
        log.append(takeover(2))
        theirs = manifest(3, token=2, operators=(put(store, "state/2-3/a.arrow", b"theirs"),))
        log.append(theirs)
        create_savepoint(log, theirs, "s", {})

    writer = store.writer

    def writer_late(key: str, *, final: bool = False):
        successor_saves()
        return writer(key, final=final)

    wrapped.writer = writer_late
    with pytest.raises(SavepointExists):
        create_savepoint(zombie, mine, "s", {})
    savepoint = load_savepoint(store, "s")
    assert state_of(savepoint.store, savepoint.manifest.operators) == [b"theirs"]


def test_a_fenced_attempt_makes_no_savepoint(store: CheckpointStore) -> None:
    """P9."""
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(1)
    log.append(written)
    JobLog(store).append(takeover(2))
    with pytest.raises(Fenced):
        create_savepoint(log, written, "s", {})
    assert list_savepoints(store) == []


def test_a_damaged_state_file_makes_no_savepoint(store: CheckpointStore) -> None:
    """P12: copying proves the digest."""
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(1, operators=(put(store, "state/1-1/a", b"good"), put(store, "state/1-1/b", b"also good")))
    log.append(written)
    overwrite(store, "state/1-1/b", b"also evil")
    with pytest.raises(CorruptState):
        create_savepoint(log, written, "s", {})
    assert store.list("savepoints/") == []


def test_a_retired_epoch_makes_no_savepoint(store: CheckpointStore) -> None:
    log = JobLog(store)
    log.append(takeover(1))
    old = manifest(1)
    log.append(old)
    log.keep_manifests(1)
    log.append(manifest(2))
    with pytest.raises(KeyMissing, match="epoch 1 is retired"):
        create_savepoint(log, old, "s", {})


def test_retirement_leaves_alone_what_a_savepoint_is_being_made_of(store: CheckpointStore) -> None:
    """The job goes on, and retires, while a savepoint is copied."""
    wrapped = Wrapped(store)
    log = JobLog(wrapped)
    log.append(takeover(1))
    written = manifest(1, operators=(put(store, "state/1-1/a", b"one"), put(store, "state/1-1/b", b"two")))
    log.append(written)

    def job_goes_on() -> None:
        for epoch in (2, 3):
            log.append(manifest(epoch))
            retire(log, store, 1, 1)

    copies: list[str] = []
    writer = store.writer

    def writer_between(key: str, *, final: bool = False):
        copies.append(key)
        if len(copies) == 2:
            job_goes_on()
        return writer(key, final=final)

    wrapped.writer = writer_between
    savepoint = create_savepoint(log, written, "s", {})
    assert state_of(savepoint.store, savepoint.manifest.operators) == [b"one", b"two"]
    retire(log, store, 1, 1)
    assert store.list("state/") == []
    assert list_savepoints(store)[0].manifest == savepoint.manifest


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "relative/dir"])
def test_a_savepoint_needs_a_plain_name_or_an_absolute_directory(store: CheckpointStore, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a savepoint"):
        load_savepoint(store, name)


def test_a_savepoint_may_lie_in_a_directory_of_the_users(store: CheckpointStore, tmp_path: Path) -> None:
    job_with_savepoint(store, str(tmp_path / "elsewhere"))
    savepoint = load_savepoint(MemoryStore(), str(tmp_path / "elsewhere"))
    assert state_of(savepoint.store, savepoint.manifest.operators) == [b"state of epoch 2"]
    assert list_savepoints(store) == []


def test_a_savepoint_may_be_moved_as_a_whole(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "job")
    job_with_savepoint(store)
    shutil.move(tmp_path / "job" / "savepoints" / "before-upgrade", tmp_path / "moved")
    savepoint = load_savepoint(MemoryStore(), str(tmp_path / "moved"))
    assert state_of(savepoint.store, savepoint.manifest.operators) == [b"state of epoch 2"]


@pytest.mark.parametrize("name", ["savepoint.before", "savepoint.after"])
def test_a_crash_beside_a_savepoint_leaves_the_job_as_it_was(store: CheckpointStore, name: str) -> None:
    arm(name, "raise")
    try:
        with pytest.raises(FailpointError):
            job_with_savepoint(store)
    finally:
        disarm()
    assert len(list_savepoints(store)) == (name == "savepoint.after")
    attempt = begin(store, Sinks({"out": applied_through(1)}))
    assert attempt.committed_through == {"out": {"0": 2}}
    assert state_of(store, attempt.operators) == [b"state of epoch 2"]


def test_files_of_an_incomplete_savepoint_are_no_savepoint(store: CheckpointStore) -> None:
    """Published last: a folder without its document does not exist."""
    put(store, "savepoints/half/1-2/0.arrow", b"x")
    assert list_savepoints(store) == []
    with pytest.raises(SavepointMissing):
        load_savepoint(store, "half")


def test_a_full_disk_leaves_no_half_savepoint(store: CheckpointStore) -> None:
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(1, operators=(put(store, "state/1-1/a", b"one"), put(store, "state/1-1/b", b"two")))
    log.append(written)
    wrapped = Wrapped(store)
    copies: list[str] = []
    writer = store.writer

    def full(key: str, *, final: bool = False):
        copies.append(key)
        if len(copies) == 2:
            raise StoreFull("no space left")
        return writer(key, final=final)

    wrapped.writer = full
    log.store = wrapped
    with pytest.raises(StoreFull):
        create_savepoint(log, written, "s", {})
    assert store.list("savepoints/") == []


# --- finding and reading


def test_a_missing_savepoint_is_named_with_those_that_are_there(store: CheckpointStore) -> None:
    job_with_savepoint(store)
    with pytest.raises(SavepointMissing) as caught:
        load_savepoint(store, "before-uprgade")
    assert "before-upgrade" in caught.value.hint
    with pytest.raises(SavepointMissing):
        load_savepoint(store, "/nowhere/at/all")


def test_every_byte_of_a_savepoint_is_protected() -> None:
    """P12."""
    store = MemoryStore()
    job_with_savepoint(store)
    key = "savepoints/before-upgrade/savepoint.json"
    sound = bytes(store.get(key))
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1
        store.replace(key, bytes(damaged))
        with pytest.raises(CorruptManifest):
            load_savepoint(store, "before-upgrade")


def test_a_savepoint_of_a_newer_version_is_refused(store: CheckpointStore) -> None:
    store.create("savepoints/s/savepoint.json", seal(b'{"format":2,"more":true}')[0])
    with pytest.raises(FutureFormat):
        load_savepoint(store, "s")
    overwrite(store, "savepoints/s/savepoint.json", seal(b'{"format":1}')[0])
    with pytest.raises(CorruptManifest):
        load_savepoint(store, "s")


def test_deleting_a_savepoint_removes_all_of_it_and_nothing_else(store: CheckpointStore) -> None:
    job_with_savepoint(store)
    create_savepoint(JobLog(store), JobLog(store).read().manifest, "other", DONE)
    delete_savepoint(store, "before-upgrade")
    assert [s.location for s in list_savepoints(store)] == ["other"]
    assert all(key.startswith("savepoints/other/") for key in store.list("savepoints/"))
    assert store.list("state/") == ["state/1-2/totals-0-0.arrow"]
