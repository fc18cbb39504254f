"""What the sinks say themselves: marks of a lost data_dir, epochs newer than the checkpoint, output that is gone."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import arm, disarm
from krishiv_connectors._errors import BadOutputPath, StagingElsewhere, TableMismatch
from tests.fault import child
from tests.fault.harness import expected_rows, read_output
from tests.integration.bad_input.support import RATE, ROWS, FileJob, durable, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.bad_input.conftest import Disk

SINKS = ["parquet", "ndjson", "sqlite"]
FILES = ["parquet", "ndjson"]


@pytest.fixture(params=SINKS)
def job(request: pytest.FixtureRequest, tmp_path: Path) -> FileJob:
    """A job into each kind of sink, stopped on the way with a savepoint called "early"."""
    job = FileJob(tmp_path, sink=request.param, shape="rows")
    job.stop(savepoint="early")
    return job


@pytest.fixture
def disarmed() -> Iterator[None]:
    """No failpoint stays armed."""
    yield
    disarm()


def written(job: FileJob) -> Counter[tuple[Any, ...]]:
    """Return what the output holds, as every foreign reader sees it."""
    first, *others = (Counter(rows) for rows in read_output(job.spec()["sinks"]["rows"]).values())
    assert all(other == first for other in others)
    return first


def expected(job: FileJob) -> Counter[tuple[Any, ...]]:
    return Counter(expected_rows(job.spec()["source"], "rows"))


def check_doubled(job: FileJob, before: Counter[tuple[Any, ...]], result: ks.JobResult) -> None:
    """Everything is there, what was there `before` twice, and the result says so."""
    assert before
    assert written(job) == expected(job) + before
    assert result.state == "finished"
    (overlap,) = result.details["overlap"]
    assert overlap.startswith("sink 'rows'")
    assert "holds epoch" in overlap
    assert "for that overlap the level is at_least_once" in str(result.guarantee)


# ---------------------------------------------------------------- another lineage


def lose_the_data_dir(job: FileJob) -> dict[str, str]:
    shutil.rmtree(job.data)
    return {}


def ask_for_none(job: FileJob) -> dict[str, str]:
    return {"restore": "none"}


ANEW = [lose_the_data_dir, ask_for_none]


@pytest.mark.parametrize("begin", ANEW)
def test_job_that_begins_anew_is_refused_while_its_output_is_there(
    job: FileJob, begin: Callable[[FileJob], dict[str, str]]
) -> None:
    kept = shutil.copytree(job.data, job.folder / "kept")
    before = written(job)
    options = begin(job)
    with expect(ks.ForeignMarks, "KS-FOREIGN-MARKS", "'rows'", "data_dir", 'on_sink_ahead="duplicate"'):
        job.run(**options)
    assert written(job) == before
    shutil.rmtree(job.data)
    shutil.copytree(kept, job.data)
    job.resume()


@pytest.mark.parametrize("begin", ANEW)
def test_job_that_begins_anew_doubles_what_is_there_by_leave_and_says_so(
    job: FileJob, begin: Callable[[FileJob], dict[str, str]]
) -> None:
    before = written(job)
    result = job.run(**begin(job), on_sink_ahead="duplicate")
    assert result.status.rows_in == ROWS
    check_doubled(job, before, result)


@pytest.mark.parametrize("begin", ANEW)
def test_job_that_begins_anew_is_exact_when_its_output_was_moved_away(
    job: FileJob, begin: Callable[[FileJob], dict[str, str]]
) -> None:
    options = begin(job)
    for path in job.folder.glob(f"{job.output.name}*"):
        path.rename(job.folder / f"old-{path.name}")
    assert job.finish(**options).status.rows_in == ROWS


# ---------------------------------------------------------------- ahead


def finish(job: FileJob) -> None:
    job.resume()


def stop_again(job: FileJob) -> None:
    job.stop(ROWS // 8)


@pytest.mark.parametrize("later", [stop_again, finish])
def test_older_savepoint_is_refused_and_the_newer_state_stays(job: FileJob, later: Callable[[FileJob], None]) -> None:
    later(job)
    before = written(job)
    with expect(ks.SinkAhead, "KS-SINK-AHEAD", "'rows'", "epoch", '"rewind"', '"duplicate"'):
        job.run(restore="early")
    assert written(job) == before
    job.finish()


@pytest.mark.parametrize("later", [stop_again, finish])
def test_older_savepoint_is_restored_with_the_sink_rewound(job: FileJob, later: Callable[[FileJob], None]) -> None:
    early = job.read
    later(job)
    if job.sink == "sqlite":
        with expect(ks.SinkAhead, "KS-SINK-AHEAD", "'rows'", '"duplicate"'):
            job.run(restore="early", on_sink_ahead="rewind")
        job.finish()
        return
    assert job.finish(restore="early", on_sink_ahead="rewind").status.rows_in == ROWS - early


@pytest.mark.parametrize("later", [stop_again, finish])
def test_older_savepoint_doubles_the_overlap_by_leave_and_says_so(
    job: FileJob, later: Callable[[FileJob], None]
) -> None:
    at_savepoint, early = written(job), job.read
    later(job)
    overlap = written(job) - at_savepoint
    result = job.run(restore="early", on_sink_ahead="duplicate")
    assert result.status.rows_in == ROWS - early
    check_doubled(job, overlap, result)


# ---------------------------------------------------------------- behind


def test_output_that_is_gone_is_missed_and_the_job_resumes_when_it_is_back(job: FileJob) -> None:
    away = job.output.rename(job.folder / "away")
    with expect(ks.SinkBehind, "KS-SINK-BEHIND", "'rows'", "restore"):
        job.run()
    shutil.rmtree(job.output) if job.output.is_dir() else job.output.unlink()
    away.rename(job.output)
    job.resume()


@pytest.mark.usefixtures("disarmed")
@pytest.mark.parametrize("sink", FILES)
def test_staged_files_that_are_gone_are_missed_and_the_job_resumes_when_they_are_back(
    tmp_path: Path, sink: str
) -> None:
    job = FileJob(tmp_path, sink=sink, shape="rows")
    arm("commit.before", "raise", at=3)
    with durable(job.data) as session, pytest.raises(Exception, match=r"commit\.before"):
        session.run(job.pipeline(RATE), job=job.name)
    disarm()
    (staging,) = tmp_path.glob(".out.staging-*")
    away = staging.rename(tmp_path / "away")
    with expect(ks.CommitFailed, "KS-COMMIT-FAILED", "'rows'", "neither staged nor published", "run the job again"):
        job.run()
    shutil.rmtree(staging, ignore_errors=True)
    away.rename(staging)
    assert job.finish().status.rows_in < ROWS


# ---------------------------------------------------------------- places that will not do


@pytest.mark.server("tmpfs")
@pytest.mark.parametrize("sink", FILES)
def test_output_that_is_a_mount_point_is_refused_and_a_folder_in_it_is_fine(
    tmp_path: Path, disk: Disk, sink: str
) -> None:
    job = FileJob(tmp_path, sink=sink, sink_path=disk.path)
    with expect(StagingElsewhere, "KS-STAGING", "staging=", "mount point"):
        job.run()
    job.output = disk.path / "out"
    job.finish()


@pytest.mark.server("tmpfs")
def test_staging_on_another_file_system_is_refused(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, shape="rows")
    rows = ks.read(child.source(job.spec()["source"]), name="bids")
    elsewhere = rows.write(ks.ParquetSink(job.output, staging=disk.path), name="rows")
    with durable(job.data) as session, expect(StagingElsewhere, "KS-STAGING", str(disk.path), "staging="):
        session.run(elsewhere, job=job.name)
    job.finish()


@pytest.mark.parametrize("sink", SINKS)
def test_output_below_a_file_is_refused_before_anything_is_stored(tmp_path: Path, sink: str) -> None:
    (tmp_path / "file").write_text("")
    job = FileJob(tmp_path, sink=sink, sink_path=tmp_path / "file" / "out")
    with expect(BadOutputPath, "KS-OUTPUT-PATH", str(tmp_path / "file"), "director"):
        job.run()
    assert not job.data.exists()


def test_table_with_other_columns_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    job = FileJob(tmp_path, sink="sqlite")
    with closing(sqlite3.connect(job.output)) as database:
        database.execute("create table out (something integer)")
    with expect(TableMismatch, "KS-TABLE", "auction"):
        job.run()
    assert not job.data.exists()
    job.output.unlink()
    job.finish()


def test_database_that_another_program_writes_to_is_waited_for(tmp_path: Path) -> None:
    job = FileJob(tmp_path, sink="sqlite", shape="rows")
    job.stop()
    pipeline = child.pipeline(job.spec(RATE))
    pipeline.sinks[0].sink._busy_timeout = 0.05
    with durable(job.data) as session, closing(sqlite3.connect(job.output, isolation_level=None)) as other:
        handle = session.start(pipeline, job=job.name)
        handle.checkpoint()
        other.execute("begin immediate")
        while handle.status().epoch_completed < handle.status().epoch_committed + 2:
            assert not handle.done
        other.execute("rollback")
        assert handle.wait().state == "finished"
    job.check()
