"""A checkpoint directory that cannot be used: of another pipeline or version, damaged; and what may be done then."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import JobOver, SavepointExists, SavepointMissing, StoreUnwritable
from krishiv_checkpoint._sealed import seal, unseal
from tests.fault import child
from tests.integration.bad_input.support import ROWS, FileJob, durable, expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> FileJob:
    """A job over Parquet files that was stopped on the way, with a savepoint called "half"."""
    job = FileJob(tmp_path)
    job.stop(savepoint="half")
    return job


@pytest.fixture
def kept(job: FileJob) -> Path:
    """A copy of what it stored, to put back."""
    return shutil.copytree(job.data, job.folder / "kept")


def put_back(job: FileJob, kept: Path) -> None:
    shutil.rmtree(job.data)
    shutil.copytree(kept, job.data)


def flip(path: Path, place: float) -> None:
    """Flip one bit at `place`, 0 to 1, of a file."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * place), len(data) - 1)] ^= 0x10
    path.write_bytes(data)


def newest_manifest(job: FileJob) -> Path:
    return next(path for path in reversed(job.log) if b'"type":"manifest"' in path.read_bytes())


def state_file(job: FileJob) -> Path:
    """Return a state file that the newest manifest refers to."""
    return next(job.directory / file.key for snapshot in job.manifest().operators for file in snapshot.files)


# ---------------------------------------------------------------- of another pipeline, of another version


def other_pipeline(job: FileJob) -> ks.Pipeline:
    rows = ks.read(ks.ParquetSource(job.pattern), event_time="date_time", name="offers")
    counts = rows.key_by("price").window(ks.tumble("5s")).aggregate(name="counts", n=ks.count())
    return counts.write(ks.ParquetSink(job.output), name="tumble")


def test_checkpoint_of_another_topology_is_refused_and_stays_usable(job: FileJob) -> None:
    refused = expect(ks.OtherTopology, "KS-TOPOLOGY", "'bids'", "'offers'", "state_map", "drop_state")
    with durable(job.data) as session, refused as told:
        session.run(other_pipeline(job), job=job.name)
    assert "bids" in told.value.fields["operators"]
    job.resume()


def test_checkpoint_of_other_key_groups_is_refused_and_stays_usable(job: FileJob) -> None:
    job.settings = {"max_key_groups": 64}
    with expect(ks.OtherTopology, "KS-TOPOLOGY", "128 key groups", "64"):
        job.run()
    job.settings = {}
    job.resume()


@pytest.mark.parametrize("where", ["envelope", "entry"])
def test_checkpoint_of_a_future_version_is_refused_and_stays_usable(job: FileJob, kept: Path, where: str) -> None:
    newest = newest_manifest(job)
    document = msgspec.json.decode(unseal("", newest.read_bytes()).document)
    (document if where == "envelope" else document["entry"])["format"] = 99
    newest.write_bytes(seal(msgspec.json.encode(document))[0])
    with expect(ks.FutureFormat, "KS-FORMAT-FUTURE", "99", newest.stem, "version"):
        job.run()
    put_back(job, kept)
    job.resume()


# ---------------------------------------------------------------- damaged


@pytest.mark.parametrize("place", [0.0, 0.3, 0.999])
def test_manifest_with_a_flipped_bit_is_refused_and_nothing_is_written(job: FileJob, kept: Path, place: float) -> None:
    damaged = newest_manifest(job)
    flip(damaged, place)
    before = [path.name for path in job.log]
    with expect(ks.CorruptManifest, "KS-MANIFEST-CORRUPT", damaged.stem, "savepoint", 'restore="none"'):
        job.run()
    assert [path.name for path in job.log] == before
    put_back(job, kept)
    job.resume()


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def spoil(path: Path) -> None:
    flip(path, 0.6)


@pytest.mark.parametrize(("harm", "said"), [(spoil, "differs"), (cut, "bytes"), (remove, "missing")])
def test_state_file_that_is_damaged_is_refused_and_the_job_resumes_once_it_is_back(
    job: FileJob, kept: Path, harm: Callable[[Path], None], said: str
) -> None:
    damaged = state_file(job)
    harm(damaged)
    with expect(ks.CorruptState, "KS-STATE-CORRUPT", damaged.name, said, "savepoint", 'restore="none"'):
        job.run()
    put_back(job, kept)
    job.resume()


def test_damaged_manifest_is_got_round_by_a_savepoint(job: FileJob) -> None:
    flip(newest_manifest(job), 0.5)
    job.resume(restore="half")


def test_damaged_manifest_is_got_round_by_beginning_anew_with_the_output_moved_away(job: FileJob) -> None:
    flip(newest_manifest(job), 0.5)
    with expect(ks.ForeignMarks, "KS-FOREIGN-MARKS", "on_sink_ahead"):
        job.run(restore="none")
    shutil.move(job.output, job.folder / "old")
    assert job.finish(restore="none").status.rows_in == ROWS


def test_damaged_savepoint_is_refused_and_the_log_goes_on(job: FileJob) -> None:
    flip(job.directory / "savepoints" / "half" / "savepoint.json", 0.5)
    with expect(ks.CorruptManifest, "KS-MANIFEST-CORRUPT", "half"):
        job.run(restore="half")
    job.resume()


def test_savepoint_that_is_not_there_is_refused_with_the_ones_that_are(job: FileJob) -> None:
    with expect(SavepointMissing, "KS-SAVEPOINT-MISSING", "third", "half"):
        job.run(restore="third")
    job.resume()


def test_log_that_lost_its_newest_manifest_is_refused_because_the_sink_is_ahead(job: FileJob, kept: Path) -> None:
    newest = newest_manifest(job)
    for path in job.log:
        if path.name >= newest.name:
            path.unlink()
    with expect(ks.SinkAhead, "KS-SINK-AHEAD", "epoch", "rewind"):
        job.run()
    put_back(job, kept)
    job.resume()


# ---------------------------------------------------------------- no directory at all


def test_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    job = FileJob(tmp_path, data_dir=tmp_path / "file")
    with expect(StoreUnwritable, "KS-STORE-UNWRITABLE", str(tmp_path / "file"), "data_dir"):
        job.run()
    assert not job.output.exists()


# ---------------------------------------------------------------- finished


def test_finished_job_does_not_pass_for_another_pipeline(tmp_path: Path) -> None:
    job = FileJob(tmp_path)
    job.finish()
    with (
        durable(job.data) as session,
        expect(ks.OtherTopology, "KS-TOPOLOGY", "finished", "'window-1'", 'restore="none"', "job name"),
    ):
        session.run(other_pipeline(job), job=job.name)
    assert job.finish().status.rows_in == 0


def test_finished_job_does_not_pass_for_one_with_another_sink(tmp_path: Path) -> None:
    job = FileJob(tmp_path, shape="rows")
    job.finish()
    spec = job.spec()
    spec["sinks"]["tumble"] = {"kind": "parquet", "path": str(tmp_path / "totals")}
    with (
        durable(job.data) as session,
        expect(ks.OtherTopology, "KS-TOPOLOGY", "finished", "'tumble' is new", "job name"),
    ):
        session.run(child.pipeline(spec), job=job.name)
    assert not (tmp_path / "totals").exists()


# ---------------------------------------------------------------- no savepoint


def test_savepoint_that_cannot_be_written_is_reported_and_the_job_goes_on(tmp_path: Path) -> None:
    job = FileJob(tmp_path)
    (tmp_path / "file").write_text("")
    with job.started() as handle:
        handle.savepoint("taken")
        with expect(SavepointExists, "KS-SAVEPOINT-EXISTS", "'taken'"):
            handle.savepoint("taken")
        with expect(StoreUnwritable, "KS-STORE-UNWRITABLE", str(tmp_path / "file")):
            handle.savepoint(str(tmp_path / "file" / "place"))
        assert handle.wait().status.rows_in == ROWS
    job.check()


def test_stop_whose_savepoint_cannot_be_written_says_so_and_the_job_resumes(tmp_path: Path) -> None:
    job = FileJob(tmp_path)
    (tmp_path / "file").write_text("")
    with job.started() as handle:
        handle.checkpoint()
        with expect(ks.ConfigurationError, "KS-CONFIG", "'a/b'"):
            handle.stop(savepoint="a/b")
        assert handle.status().state == "running"
        with expect(StoreUnwritable, "KS-STORE-UNWRITABLE", str(tmp_path / "file")):
            handle.stop(savepoint=str(tmp_path / "file" / "place"))
        assert handle.status().state == "stopped"
        with expect(JobOver, "KS-JOB-OVER", "'late'"):
            handle.stop(savepoint="late")
        job.read = handle.status().rows_in
    job.resume()
