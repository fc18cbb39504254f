"""What the disk has when a call returns, what it has when the disk is full, and what dead writers leave."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import FilesystemStore, KeyExists, KeyMissing, StoreFull, StoreUnwritable

if TYPE_CHECKING:
    from collections.abc import Callable

_DYING_WRITER = """
import os, sys
from krishiv_checkpoint import FilesystemStore
with FilesystemStore(sys.argv[1]).writer("state/1-1/a.arrow") as writer:
    writer.write(b"x" * 4_000_000)
    os._exit(1)
"""


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_opening_a_store_makes_nothing_before_the_first_write(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path / "job")
    assert store.list("") == []
    assert not (tmp_path / "job").exists()


def test_create_forces_file_then_link_then_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: write-temp, fsync, conditional publish, fsync of the directory: in this order."""
    store = FilesystemStore(tmp_path)
    store.create("log/first", b"makes the directories")
    steps: list[str] = []
    sync, link = os.fsync, os.link

    def record_sync(descriptor: int) -> None:
        steps.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).parent.name}")
        sync(descriptor)

    def record_link(source: Path, target: Path) -> None:
        steps.append(f"link {target.name}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "link", record_link)
    store.create("log/second", b"x")
    assert steps == ["fsync .tmp", "link second", f"fsync {tmp_path.name}"]


def test_new_directories_are_forced_to_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12: a file in a directory that a power cut forgets is lost."""
    synced: set[Path] = set()
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with FilesystemStore(tmp_path / "jobs" / "a").writer("state/1-1/a.arrow") as writer:
        writer.finish()
    job = tmp_path / "jobs" / "a"
    assert {tmp_path, tmp_path / "jobs", job, job / "state", job / "state" / "1-1"} <= synced


def test_published_files_leave_no_temporary_names(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.create("log/a", b"1")
    with pytest.raises(KeyExists):
        store.create("log/a", b"2")
    with store.writer("state/1-1/a") as writer:
        writer.finish()
    assert files(tmp_path) == ["log/a", "state/1-1/a"]


def test_delete_removes_an_emptied_directory_but_no_other(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    for key in ("state/1-1/a", "state/1-1/b", "state/1-2/a"):
        store.create(key, b"")
    store.delete("state/1-1/a")
    assert (tmp_path / "state" / "1-1").is_dir()
    store.delete("state/1-1/b")
    assert not (tmp_path / "state" / "1-1").exists()
    assert (tmp_path / "state" / "1-2").is_dir()


def test_create_makes_its_directory_again_when_a_delete_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FilesystemStore(tmp_path)
    link = os.link
    taken = iter([True])

    def link_late(source: Path, target: Path) -> None:
        if next(taken, False):
            target.parent.rmdir()
        link(source, target)

    monkeypatch.setattr(os, "link", link_late)
    store.create("state/1-1/a", b"x")
    assert store.list("") == ["state/1-1/a"]


def test_the_lock_file_and_temporaries_are_no_keys(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    (tmp_path / "lock").write_text("1")
    assert store.list("") == []
    with pytest.raises(ValueError, match="the store's own"):
        store.create("lock", b"")
    with pytest.raises(ValueError, match="the store's own"):
        store.get(".tmp/x")


def test_large_blobs_are_mapped_and_outlive_their_deletion(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.create("state/1-1/a", b"y" * 300_000)
    before = set(os.listdir("/proc/self/fd"))
    data = store.get("state/1-1/a")
    assert set(os.listdir("/proc/self/fd")) == before
    store.delete("state/1-1/a")
    assert bytes(data) == b"y" * 300_000
    assert data.readonly


def test_get_of_a_directory_is_a_missing_key(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    store.create("state/1-1/a", b"")
    for key in ("state/1-1", "state/1-1/a/b"):
        with pytest.raises(KeyMissing):
            store.get(key)


# --- dead writers


def test_opening_removes_what_a_dead_writer_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _DYING_WRITER, str(tmp_path)], check=False)
    assert len(files(tmp_path)) == 1
    FilesystemStore(tmp_path)
    assert files(tmp_path) == []


def test_opening_leaves_what_a_living_writer_holds(tmp_path: Path) -> None:
    """P11: a newcomer must not destroy what another process is writing."""
    with FilesystemStore(tmp_path).writer("state/1-1/a") as writer:
        writer.write(b"abc")
        FilesystemStore(tmp_path)
        writer.finish()
    assert files(tmp_path) == ["state/1-1/a"]


def test_writing_starts_over_when_a_newcomer_removed_the_file_before_it_was_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FilesystemStore(tmp_path)
    lock = fcntl.flock
    newcomer = iter([True])

    def lock_late(descriptor: int, operation: int) -> None:
        if next(newcomer, False):
            for path in (tmp_path / ".tmp").iterdir():
                path.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    store.create("log/a", b"x")
    assert files(tmp_path) == ["log/a"]


# --- a full disk


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "link", "open"])
def test_create_publishes_nothing_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store = FilesystemStore(tmp_path)
    store.create("log/a", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(code))
        with pytest.raises(StoreFull) as caught:
            store.create("log/b", b"x")
    assert "free space" in caught.value.hint
    assert files(tmp_path) == ["log/a"]
    store.create("log/b", b"x")


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_writer_leaves_nothing_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = FilesystemStore(tmp_path)
    store.create("log/a", b"x")

    def write() -> None:
        with store.writer("state/1-1/a") as writer, monkeypatch.context() as patch:
            writer.write(b"y" * 3_000_000)
            patch.setattr(os, call, failing(errno.ENOSPC))
            writer.finish()

    with pytest.raises(StoreFull):
        write()
    assert files(tmp_path) == ["log/a"]


def test_error_after_the_link_is_not_taken_for_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: once others may have seen the entry, its writer must not conclude that it is not there."""
    store = FilesystemStore(tmp_path)
    store.create("log/a", b"x")
    sync = os.fsync

    def fail_on_directories(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
            raise OSError(errno.ENOSPC, "full")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_on_directories)
    with pytest.raises(OSError, match="full") as caught:
        store.create("log/b", b"x")
    assert not isinstance(caught.value, StoreFull)
    assert store.list("log/") == ["log/a", "log/b"]


@pytest.mark.server("tmpfs")
def test_writing_to_a_really_full_disk_leaves_nothing_and_works_again_later(small_disk: Path) -> None:
    """A tmpfs of one megabyte: the kernel's own ENOSPC, wherever it strikes."""
    store = FilesystemStore(small_disk / "job")
    store.create("log/a", b"x")

    def write_too_much() -> None:
        with store.writer("state/1-1/a") as writer:
            for _ in range(64):
                writer.write(b"y" * 100_000)
            writer.finish()

    with pytest.raises(StoreFull):
        write_too_much()
    assert files(small_disk) == ["job/log/a"]
    with pytest.raises(StoreFull):
        store.create("log/b", b"y" * 2_000_000)
    with store.writer("state/1-1/a") as writer:
        writer.write(b"y" * 100_000)
        writer.finish()
    assert files(small_disk) == ["job/log/a", "job/state/1-1/a"]


# --- places that may not be written to


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_writing_without_permission_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    store = FilesystemStore(tmp_path)
    store.create("log/a", b"x")
    monkeypatch.setattr(os, "open", failing(code))
    with pytest.raises(StoreUnwritable, match="another data_dir"):
        store.create("log/b", b"x")


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="file"):
        FilesystemStore(tmp_path / "file").create("log/a", b"x")
    (tmp_path / "log").write_text("")
    with pytest.raises(StoreUnwritable, match="log"):
        FilesystemStore(tmp_path).create("log/a", b"x")


def test_other_errors_of_the_disk_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FilesystemStore(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        store.create("log/b", b"x")
