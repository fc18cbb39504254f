"""What is special about sinks that publish directories of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest

from krishiv_checkpoint import CommitStatus
from krishiv_connectors import JsonSink, ParquetSink
from krishiv_connectors._errors import BadOutputPath, OutputFailed, OutputFull, StagingElsewhere
from krishiv_connectors.files import _staging
from krishiv_connectors.files._durable import HashedFile, make_directories
from krishiv_connectors.files._names import EpochName, StagedName
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch, rows_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

SINKS = [pytest.param(ParquetSink, id="parquet"), pytest.param(JsonSink, id="json")]
FileSinkClass = type[ParquetSink] | type[JsonSink]


@pytest.fixture(params=SINKS)
def sink_class(request: pytest.FixtureRequest) -> FileSinkClass:
    """Each file sink."""
    return request.param


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The output directory."""
    return tmp_path / "out"


def place(sink: ParquetSink | JsonSink) -> Target:
    return Target(sink=lambda: sink, rows=list, lose=lambda committable: None)


def staging_of(root: Path) -> Path:
    return root.parent / f".{root.name}.staging-{LINEAGE}" / "orders"


def published(root: Path) -> list[int]:
    return sorted(name.epoch for name in map(EpochName.parse, os.listdir(root)) if name is not None)


def duckdb_count(pattern: str) -> int:
    with duckdb.connect() as connection:
        try:
            (count,) = connection.execute(f"SELECT count(*) FROM '{pattern}'").fetchall()[0]
        except duckdb.IOException:  # no file at all
            return 0
    return count


def test_file_sink_shows_committed_rows_only_when_readers_glob_while_epochs_are_staged(
    sink_class: FileSinkClass, root: Path
) -> None:
    suffix = sink_class.extension
    scan = pl.scan_parquet if sink_class is ParquetSink else pl.scan_ndjson
    with Attempt(place(sink_class(root))) as attempt:
        committed, visible = [], 0
        for epoch in range(1, 6):
            attempt.write(0, epoch * 10)
            committables = [attempt.stage(0, epoch, epoch * 10 + 1), attempt.stage(1, epoch, epoch * 10 + 2)]
            attempt.write(1, epoch * 10 + 3)
            assert duckdb_count(f"{root}/**/*{suffix}") == visible
            attempt.commit(*committables)
            committed += committables
            visible = 3 * epoch + epoch - 1
            assert duckdb_count(f"{root}/**/*{suffix}") == visible
            assert scan(f"{root}/**/*{suffix}").collect().height == visible


def test_committable_lists_files_with_their_size_and_digest(sink_class: FileSinkClass, root: Path) -> None:
    with Attempt(place(sink_class(root))) as attempt:
        committable = attempt.stage(3, 7, 1, 2)
        payload = json.loads(committable.payload)
        (file,) = payload["files"]
        content = (staging_of(root) / "1-7-3" / file["path"]).read_bytes()
        assert payload["staging"] == str(staging_of(root))
        assert file == {
            "path": f"part-3-0{sink_class.extension}",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def test_commit_publishes_only_listed_files_when_strangers_lie_beside_them(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        slot = staging_of(root) / "1-1-0"
        build = staging_of(root) / "1-1-build"
        (slot / "part-0-9.parquet").write_bytes(b"stranger")
        build.mkdir()
        (build / "part-0-8.parquet").write_bytes(b"stranger")
        attempt.commit(committable)
        assert [path.name for path in root.rglob("part-*")] == ["part-0-0.parquet"]
        assert not slot.exists()


def test_commit_fails_when_the_target_holds_something_else(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        target = root / str(EpochName(1, LINEAGE, "orders", "shop"))
        target.mkdir()
        (target / "part-0-0.parquet").write_bytes(b"other")
        (outcome,) = attempt.outcomes(committable)
        assert outcome.status is CommitStatus.FAILED
        assert "part-0-0.parquet has 5 bytes" in outcome.reason
        assert (staging_of(root) / "1-1-0" / "part-0-0.parquet").is_file()


def test_commit_fails_when_the_target_holds_one_file_more(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        attempt.commit(committable)
        (next(root.iterdir()) / "extra").write_bytes(b"")
        (outcome,) = attempt.outcomes(committable)
        assert outcome.status is CommitStatus.FAILED
        assert "extra is not listed" in outcome.reason


def test_commit_fails_when_two_slots_list_the_same_file(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        (outcome,) = attempt.outcomes(committable, committable)
        assert outcome.status is CommitStatus.FAILED


def test_commit_of_an_old_epoch_is_already_done_when_its_directory_was_removed_by_the_user(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        first, second = attempt.stage(0, 1, 1), attempt.stage(0, 2, 2)
        attempt.commit(first)
        attempt.commit(second)
        oldest = min(root.iterdir())
        (oldest / "part-0-0.parquet").unlink()
        oldest.rmdir()
        assert attempt.commit(first) == [CommitStatus.ALREADY_DONE]
        assert published(root) == [2]


def test_empty_epochs_do_not_pile_up_when_newer_ones_are_published(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        for epoch in (1, 2, 3):
            attempt.commit(attempt.stage(0, epoch))
            assert published(root) == [epoch]
        attempt.commit(attempt.stage(0, 4, 1))
        attempt.commit(attempt.stage(0, 5))
        assert published(root) == [4, 5]
    with Attempt(place(ParquetSink(root)), token=2) as fresh:
        fresh.commit(fresh.stage(0, 6))
        assert published(root) == [4, 6]
        assert fresh.committer.last_applied(LINEAGE, 0) == 6


def test_names_of_the_longest_job_and_sink_fit_into_a_directory_entry(root: Path) -> None:
    with Attempt(place(ParquetSink(root)), job="j" * 100, sink_id="s" * 100) as attempt:
        attempt.commit(attempt.stage(0, 999_999_999_999, 1))
        assert published(root) == [999_999_999_999]


@pytest.mark.parametrize("name", [EpochName(7, LINEAGE, "a-b", "c.d"), EpochName(10**13, LINEAGE, "s", "j")])
def test_epoch_name_survives_its_text(name: EpochName) -> None:
    assert EpochName.parse(str(name)) == name


@pytest.mark.parametrize("name", [StagedName(3, 0, 1), StagedName(3, 9, 12), StagedName(3, 9, None)])
def test_staged_name_survives_its_text(name: StagedName) -> None:
    assert StagedName.parse(str(name)) == name


@pytest.mark.parametrize("name", ["", "day=3", "epoch-7", "epoch-000000000007~x~s~j", "_SUCCESS"])
def test_epoch_name_is_none_when_a_directory_is_not_ours(name: str) -> None:
    assert EpochName.parse(name) is None


def test_two_sinks_share_a_directory_when_their_ids_differ(root: Path) -> None:
    sink = ParquetSink(root)
    with Attempt(place(sink)) as one, Attempt(place(sink), sink_id="refunds") as two:
        one.commit(one.stage(0, 1, 1))
        two.commit(two.stage(0, 2, 2))
        assert one.committer.last_applied(LINEAGE, 0) == 1
        assert two.committer.last_applied(LINEAGE, 0) == 2
        assert duckdb_count(f"{root}/*/*.parquet") == 2


def test_list_prepared_names_what_a_dead_writer_never_prepared(root: Path) -> None:
    with Attempt(place(ParquetSink(root, row_group_rows=1))) as dead:
        dead.write(2, 1)
        with Attempt(place(ParquetSink(root)), token=2) as fresh:
            (leftover,) = fresh.committer.list_prepared(LINEAGE)
            assert (leftover.token, leftover.epoch, leftover.slot) == (1, 0, 2)
            fresh.committer.abort([leftover])
            assert os.listdir(staging_of(root)) == []


def test_close_removes_what_was_not_prepared(sink_class: FileSinkClass, root: Path) -> None:
    sink = sink_class(root)
    sink.piece_rows = 1
    with Attempt(place(sink)) as attempt:
        attempt.write(0, 1)
        assert os.listdir(staging_of(root)) == ["1-open-0"]
        attempt.writer(0).close()
        assert os.listdir(staging_of(root)) == []


def test_abort_reaches_files_that_were_moved_to_a_half_built_epoch(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as dead:
        dead.stage(0, 1, 1)
        dead.stage(1, 1, 2)
        build = staging_of(root) / "1-1-build"
        build.mkdir()
        (staging_of(root) / "1-1-0" / "part-0-0.parquet").rename(build / "part-0-0.parquet")
        with Attempt(place(ParquetSink(root)), token=2) as fresh:
            prepared = fresh.committer.list_prepared(LINEAGE)
            assert {(p.token, p.epoch, p.slot) for p in prepared} == {(1, 1, 0), (1, 1, 1)}
            fresh.committer.abort(prepared)
            assert os.listdir(staging_of(root)) == []


def test_staging_directory_is_gone_when_everything_is_committed_and_closed(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    assert [path.name for path in root.parent.iterdir()] == ["out"]


def test_rows_are_written_when_another_committer_removes_the_empty_staging_directory_just_then(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging, real, removed = staging_of(root), Path.mkdir, []

    def mkdir(path: Path, *args: object, **options: object) -> None:
        if path.parent == staging and staging.is_dir() and not removed:
            removed.append(path)
            staging.rmdir()
            staging.parent.rmdir()
        real(path, *args, **options)  # type: ignore[arg-type]

    with Attempt(place(ParquetSink(root))) as attempt:
        monkeypatch.setattr(Path, "mkdir", mkdir)
        attempt.commit(attempt.stage(0, 1, 1))
    assert len(removed) == 1
    assert published(root) == [1]


def test_directories_are_made_when_someone_removes_the_empty_ones_all_the_time(tmp_path: Path) -> None:
    wanted, done = tmp_path / "a" / "b", threading.Event()

    def remove() -> None:
        while not done.is_set():
            for directory in (wanted, wanted.parent):
                with suppress(OSError):
                    directory.rmdir()
            done.wait(0.001)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(100):
            make_directories(wanted / "c")
            (wanted / "c").rmdir()
    finally:
        done.set()
        remover.join()


def test_open_refuses_a_staging_directory_on_another_file_system(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _staging.device_of
    monkeypatch.setattr(_staging, "device_of", lambda path: -1 if path == root else real(path))
    with pytest.raises(StagingElsewhere, match="staging="), Attempt(place(ParquetSink(root, staging=tmp_path / "s"))):
        pass


def test_commit_refuses_when_a_bind_mount_hid_that_the_file_systems_differ(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        monkeypatch.setattr(Path, "rename", rename)
        with pytest.raises(StagingElsewhere, match="staging="):
            attempt.commit(committable)


@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_sink_refuses_a_staging_directory_inside_the_output(root: Path, inside: str) -> None:
    with pytest.raises(BadOutputPath, match="inside the output"):
        ParquetSink(root, staging=root / inside)


def test_sink_refuses_an_output_that_is_no_local_path() -> None:
    with pytest.raises(BadOutputPath, match="not a local path"):
        ParquetSink("gs://bucket/out")


def test_check_refuses_an_output_that_is_a_file(sink_class: FileSinkClass, root: Path) -> None:
    root.write_text("mine")
    with pytest.raises(BadOutputPath, match="not a directory"):
        sink_class(root).check(SCHEMA)


def test_staging_elsewhere_on_the_same_file_system_works(root: Path, tmp_path: Path) -> None:
    sink = ParquetSink(root, staging=tmp_path / "elsewhere")
    with Attempt(place(sink)) as attempt:
        committable = attempt.stage(0, 1, 1)
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []
        attempt.commit(committable)
    assert duckdb_count(f"{root}/*/*.parquet") == 1


def test_writer_stays_failed_when_a_prepare_ran_out_of_space(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Attempt(place(ParquetSink(root))) as attempt:
        attempt.write(0, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OutputFull):
                attempt.prepare(0, 1)
        with pytest.raises(OutputFull):
            attempt.write(0, 2)
        with pytest.raises(OutputFull):
            attempt.prepare(0, 2)
    with Attempt(place(ParquetSink(root)), token=2) as fresh:
        fresh.commit(fresh.stage(0, 2, 1, 2))
        assert duckdb_count(f"{root}/*/*.parquet") == 2


def test_writer_stays_failed_when_the_disk_fills_up_in_the_middle_of_a_file(
    sink_class: FileSinkClass, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def write(file: HashedFile, data: Buffer) -> int:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    def write_rows(attempt: Attempt) -> None:
        for row in range(10):
            attempt.write(0, row)

    real = HashedFile.write
    monkeypatch.setattr(HashedFile, "write", write)
    sink = sink_class(root)
    sink.piece_rows = 1
    with Attempt(place(sink)) as attempt:
        with pytest.raises(OutputFull, match="no space left"):
            write_rows(attempt)
        with pytest.raises(OutputFull):
            attempt.prepare(0, 1)


def test_write_names_the_output_when_the_staging_directory_is_gone(root: Path) -> None:
    with Attempt(place(ParquetSink(root, row_group_rows=1))) as attempt:
        attempt.writer(0)
        os.rmdir(staging_of(root))
        staging_of(root).write_text("a file in the way")
        with pytest.raises(OutputFailed):
            attempt.write(0, 1)


def test_commit_is_tried_later_when_the_file_system_has_passing_trouble(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble(source: Path, target: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with Attempt(place(ParquetSink(root))) as attempt:
        committable = attempt.stage(0, 1, 1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", trouble)
            assert attempt.commit(committable) == [CommitStatus.RETRY_LATER]
        assert attempt.commit(committable) == [CommitStatus.DONE]
        assert duckdb_count(f"{root}/*/*.parquet") == 1


def test_prepare_and_commit_force_files_and_names_to_the_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    staging = staging_of(root)
    with Attempt(place(ParquetSink(root, partition_by="name"))) as attempt:
        monkeypatch.setattr(os, "fsync", record)
        committable = attempt.stage(0, 1, 1)
        folder = staging / "1-open-0"
        assert synced[-4:] == [str(path) for path in _prepared_order(folder, staging)]
        synced.clear()
        attempt.commit(committable)
        build = staging / "1-1-build"
        assert synced[-4:] == [str(build / "name=n1"), str(build), str(root), str(staging)]


def _prepared_order(folder: Path, staging: Path) -> list[Path]:
    return [folder / "name=n1" / "part-0-0.parquet", folder / "name=n1", folder, staging]


def test_last_applied_forces_a_rename_to_the_disk_that_a_dead_committer_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    with Attempt(place(ParquetSink(root))) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
        attempt.committer.last_applied(LINEAGE, 0)
        assert synced == [str(root)]


def test_rewind_finishes_what_an_interrupted_one_began(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: Path, target: Path) -> None:
        if len(published(root)) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    rename = os.rename
    with Attempt(place(ParquetSink(root))) as attempt:
        for epoch in (1, 2, 3):
            attempt.commit(attempt.stage(0, epoch, epoch))
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", interrupt)
            with pytest.raises(KeyboardInterrupt):
                attempt.committer.rewind(LINEAGE, 1)
        assert published(root) == [1, 2]
        assert attempt.committer.rewind(LINEAGE, 1)
        assert published(root) == [1]
        assert os.listdir(staging_of(root)) == []


def test_a_committer_writes_no_rows_and_a_closed_sink_does_nothing(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        with pytest.raises(ValueError, match="committer"):
            attempt.committer.write(batch(1))
        writer = attempt.writer(0)
    with pytest.raises(ValueError, match="not open"):
        writer.write(batch(1))


def test_rows_keep_their_order_within_a_slot(root: Path) -> None:
    with Attempt(place(ParquetSink(root))) as attempt:
        attempt.write(0, 3, 1)
        attempt.write(0, 2)
        attempt.commit(attempt.prepare(0, 1))
    assert [row[0] for row in pl.read_parquet(f"{root}/*/*.parquet").rows()] == [3, 1, 2]
    assert sorted(pl.read_parquet(f"{root}/*/*.parquet").rows()) == rows_of(1, 2, 3)
