"""Input files that are missing, damaged, of other columns, or not what they were when the job was stopped."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import krishiv_stream as ks
from krishiv_connectors._errors import (
    FileChanged,
    FileVanished,
    MissingDirectory,
    NoMatchingFiles,
    SchemaChanged,
    UnreadableFile,
)
from krishiv_stream._engine.errors import NewInput, SplitVanished
from tests.fault import child
from tests.fault.child import SCHEMA
from tests.fault.harness import Job, make_input
from tests.integration.bad_input.support import RATE, ROWS, FileJob, durable, expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = ["parquet", "csv", "ndjson"]


@pytest.fixture(params=KINDS)
def job(request: pytest.FixtureRequest, tmp_path: Path) -> FileJob:
    """A job over files of each format."""
    return FileJob(tmp_path, kind=request.param)


@pytest.fixture
def parquet(tmp_path: Path) -> FileJob:
    """A job over Parquet files."""
    return FileJob(tmp_path)


def keep(path: Path) -> Path:
    """Copy `path` aside, with its times."""
    kept = path.parents[1] / "kept" / path.name
    kept.parent.mkdir(exist_ok=True)
    shutil.copy2(path, kept)
    return kept


def read_table(path: Path) -> pa.Table:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path)
        case ".csv":
            options = pa_csv.ConvertOptions(column_types=SCHEMA)
            return pa_csv.read_csv(path, convert_options=options)
        case _:
            times = pl.col("date_time").str.to_datetime(time_unit="us", time_zone="UTC")
            return pl.read_ndjson(path).with_columns(times).to_arrow()


def write_table(table: pa.Table, path: Path) -> None:
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, row_group_size=2_000)
        case ".csv":
            pa_csv.write_csv(table, path)
        case _:
            pl.from_arrow(table).write_ndjson(path)  # type: ignore[union-attr]  # a table gives a frame


def change(path: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite a file with other rows or columns."""
    write_table(edit(read_table(path)), path)


# ---------------------------------------------------------------- missing


def test_missing_directory_is_refused_and_the_job_resumes_when_it_is_back(job: FileJob) -> None:
    job.stop()
    there, away = job.folder / "in", job.folder / "away"
    there.rename(away)
    with expect(MissingDirectory, "KS-INPUT-DIRECTORY", str(there), "create"):
        job.run()
    away.rename(there)
    job.resume()


def test_directory_that_is_missing_from_the_start_is_refused_until_it_is_there(job: FileJob) -> None:
    there, away = job.folder / "in", job.folder / "away"
    there.rename(away)
    with expect(MissingDirectory, "KS-INPUT-DIRECTORY", str(there), "create"):
        job.run()
    away.rename(there)
    assert job.finish().status.rows_in == ROWS


def test_pattern_without_a_file_is_refused(tmp_path: Path) -> None:
    with expect(NoMatchingFiles, "KS-INPUT-NONE", "*.parquet", "follow=True"):
        ks.ParquetSource(tmp_path / "*.parquet").schema()


def test_file_that_is_gone_before_it_was_read_is_refused_until_it_is_back(job: FileJob) -> None:
    job.stop(1)
    unread = job.files[-1]
    kept = keep(unread)
    unread.unlink()
    with expect(SplitVanished, "KS-SPLIT-VANISHED", str(unread), "restore="):
        job.run()
    shutil.copy2(kept, unread)
    job.resume()


def test_file_that_is_gone_half_read_is_refused_until_it_is_back(job: FileJob) -> None:
    half_read = job.stop_inside_a_file()
    kept = keep(half_read)
    half_read.unlink()
    with expect(FileVanished, "KS-FILE-VANISHED", str(half_read), "restore="):
        job.run()
    shutil.copy2(kept, half_read)
    job.resume()


def test_file_that_is_gone_once_it_was_read_is_not_missed(job: FileJob) -> None:
    job.stop(ROWS // 2)
    done = [job.folder / "in" / path.name for path in job.finished_files()]
    assert done
    kept = [(keep(path), path) for path in done]
    for path in done:
        path.unlink()
    assert job.run().status.rows_in == ROWS - job.read
    for aside, path in kept:
        shutil.copy2(aside, path)
    job.check()


# ---------------------------------------------------------------- damaged


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def something_else(path: Path) -> None:
    path.write_text("id,auction\n1,2\n")


def tear_a_hole(path: Path, place: float = 0.3) -> None:
    """Overwrite a fifth of the data with zeros, `place` of the way into the file; the footer stays whole."""
    data = bytearray(path.read_bytes())
    start, length = int(len(data) * place), len(data) // 5
    data[start : start + length] = bytes(length)
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [cut_in_half, empty, something_else, tear_a_hole])
def test_parquet_that_cannot_be_read_is_refused_and_the_job_resumes_once_it_is_mended(
    parquet: FileJob, harm: Callable[[Path], None]
) -> None:
    parquet.stop(1)
    damaged = parquet.files[-1]
    kept = keep(damaged)
    harm(damaged)
    with expect(UnreadableFile, "KS-FILE-UNREADABLE", str(damaged), "mend or replace"):
        parquet.run()
    shutil.copy(kept, damaged)  # with a new time of change: it is a new file
    parquet.finish()


def test_first_parquet_that_cannot_be_read_is_refused_where_its_columns_are_needed(parquet: FileJob) -> None:
    kept = keep(parquet.files[0])
    cut_in_half(parquet.files[0])
    with expect(UnreadableFile, "KS-FILE-UNREADABLE", str(parquet.files[0]), "truncated"):
        parquet.pipeline()
    shutil.copy(kept, parquet.files[0])
    parquet.finish()


def test_job_keeps_its_checkpoints_when_it_comes_to_a_damaged_file(parquet: FileJob) -> None:
    damaged = parquet.files[1]
    kept = keep(damaged)
    tear_a_hole(damaged)
    with durable(parquet.data) as session:
        handle = session.start(parquet.pipeline(RATE), job=parquet.name)
        with expect(UnreadableFile, "KS-FILE-UNREADABLE", str(damaged)):
            handle.wait()
        assert handle.status().epoch_completed > 0
    shutil.copy(kept, damaged)
    assert parquet.finish().status.rows_in < ROWS


def test_job_goes_on_within_a_large_file_that_was_damaged_further_on(tmp_path: Path) -> None:
    rows = 200_000
    pattern = make_input(tmp_path / "in", rows=rows, files=1)
    spec: dict[str, Any] = {
        "source": {"kind": "parquet", "pattern": pattern},
        "sinks": {"tumble": {"kind": "parquet", "path": str(tmp_path / "out")}},
    }
    (path,) = (tmp_path / "in").iterdir()
    kept = keep(path)
    tear_a_hole(path, 0.7)
    with durable(tmp_path / "data") as session:
        handle = session.start(child.pipeline({**spec, "rate": 400_000}), job="job")
        with expect(UnreadableFile, "KS-FILE-UNREADABLE", str(path)):
            handle.wait()
        assert handle.status().epoch_completed > 0
    shutil.copy(kept, path)
    with durable(tmp_path / "data") as session:
        assert 0 < session.run(child.pipeline(spec), job="job").status.rows_in < rows
    Job(tmp_path, spec).check()


@pytest.mark.parametrize(("kind", "text"), [("csv", ""), ("csv", "id,auction,price,date_time\n"), ("ndjson", "\n\n")])
def test_text_file_without_a_record_is_no_rows(tmp_path: Path, kind: str, text: str) -> None:
    job = FileJob(tmp_path, kind=kind)
    job.files[1].with_stem("part-05").write_text(text)
    assert job.finish().status.rows_in == ROWS


# ---------------------------------------------------------------- other columns


def with_price_as_text(table: pa.Table) -> pa.Table:
    return table.set_column(2, "price", pc.cast(table["price"], pa.string()))


def without_price(table: pa.Table) -> pa.Table:
    return table.drop_columns(["price"])


def with_a_new_column(table: pa.Table) -> pa.Table:
    return table.append_column("currency", pa.array(["EUR"] * table.num_rows))


@pytest.mark.parametrize(
    ("edit", "column"), [(with_price_as_text, "price"), (without_price, "price"), (with_a_new_column, "currency")]
)
def test_parquet_with_other_columns_is_refused_and_the_job_resumes_once_it_is_mended(
    parquet: FileJob, edit: Callable[[pa.Table], pa.Table], column: str
) -> None:
    parquet.stop(1)
    other = parquet.files[-1]
    kept = keep(other)
    change(other, edit)
    with expect(SchemaChanged, "KS-FILE-SCHEMA", str(other), repr(column), "rewrite"):
        parquet.run()
    shutil.copy(kept, other)
    parquet.finish()


def test_csv_without_a_column_is_refused_and_the_job_resumes_once_it_is_mended(tmp_path: Path) -> None:
    job = FileJob(tmp_path, kind="csv")
    job.stop(1)
    other = job.files[-1]
    kept = keep(other)
    change(other, without_price)
    with expect(SchemaChanged, "KS-FILE-SCHEMA", str(other), "'price'", "header"):
        job.run()
    shutil.copy(kept, other)
    job.finish()


def test_csv_with_its_columns_in_another_order_is_read_by_their_names(tmp_path: Path) -> None:
    job = FileJob(tmp_path, kind="csv")
    job.stop(1)
    change(job.files[-1], lambda table: table.select(["date_time", "price", "id", "auction"]))
    job.resume()


# ---------------------------------------------------------------- not what they were


def raise_the_first_price(table: pa.Table) -> pa.Table:
    prices = table["price"].to_pylist()
    return table.set_column(2, "price", pa.array([prices[0] + 1, *prices[1:]], pa.int64()))


def an_hour_later(table: pa.Table) -> pa.Table:
    return table.set_column(3, "date_time", pc.add(table["date_time"], timedelta(hours=1)))


def test_file_that_changed_before_the_position_is_refused_until_it_is_as_it_was(job: FileJob) -> None:
    half_read = job.stop_inside_a_file()
    kept = keep(half_read)
    change(half_read, raise_the_first_price)
    with expect(FileChanged, "KS-FILE-CHANGED", str(half_read), "restore="):
        job.run()
    shutil.copy2(kept, half_read)
    job.resume()


def test_file_that_is_replaced_by_a_shorter_one_is_refused(job: FileJob) -> None:
    half_read = job.stop_inside_a_file()
    kept = keep(half_read)
    change(half_read, lambda table: table.slice(0, 10))
    with expect(FileChanged, "KS-FILE-CHANGED", str(half_read)):
        job.run()
    shutil.copy2(kept, half_read)
    job.resume()


def test_file_that_was_only_touched_is_read_on(job: FileJob) -> None:
    os.utime(job.stop_inside_a_file())
    job.resume()


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_text_that_changed_behind_the_position_is_read_on(tmp_path: Path, kind: str) -> None:
    job = FileJob(tmp_path, kind=kind)
    half_read = job.stop_inside_a_file()
    lines = half_read.read_text().splitlines(keepends=True)
    half_read.write_text("".join([*lines[:-1], lines[-2], lines[-2]]))
    job.finish()


def test_file_that_was_replaced_before_it_was_read_is_taken_as_it_is(job: FileJob) -> None:
    job.stop(1)
    change(job.files[-1], raise_the_first_price)
    job.resume()


def test_file_that_was_added_while_the_job_was_stopped_is_read(job: FileJob) -> None:
    job.stop(1)
    last = job.files[-1]
    write_table(an_hour_later(read_table(last)), last.with_stem("part-9"))
    job.finish()


def test_finished_job_refuses_a_new_file_instead_of_passing_over_it(job: FileJob) -> None:
    job.finish()
    new = job.files[-1].with_stem("part-9")
    shutil.copy(job.files[-1], new)
    with expect(NewInput, "KS-NEW-INPUT", str(new), "follow=True", 'restore="none"'):
        job.run()
    new.unlink()
    assert job.finish().status.rows_in == 0


def test_finished_job_gives_its_result_when_its_input_was_removed(tmp_path: Path) -> None:
    job = FileJob(tmp_path, kind="csv")
    job.finish()
    shutil.rmtree(job.folder / "in")
    assert job.run().state == "finished"
