"""No space left: for checkpoints, for the output, for state; the job resumes exactly once there is some again."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import CheckpointFailed, JobLock, StoreUnwritable
from krishiv_connectors._errors import BadOutputPath, OutputFailed, OutputFull
from krishiv_stream._engine.state.blocks import RocksBlocks
from tests.fault.harness import ROOT, Job
from tests.integration.bad_input.support import RATE, ROWS, FileJob, durable, expect, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_stream._job import JobHandle
    from tests.integration.bad_input.conftest import Disk

pytestmark = pytest.mark.server("tmpfs")

READ_ONLY: dict[str, tuple[type[ks.KrishivError], str]] = {
    "parquet": (BadOutputPath, "KS-OUTPUT-PATH"),
    "ndjson": (BadOutputPath, "KS-OUTPUT-PATH"),
    "sqlite": (OutputFailed, "KS-OUTPUT-IO"),
}


def fill_once_it_runs(handle: JobHandle, disk: Disk) -> None:
    """Let some checkpoints pass, then keep the disk full until the job has ended."""
    while handle.status().epoch_committed < 3:
        handle.checkpoint()
    while not handle.done:
        disk.fill()


# ---------------------------------------------------------------- checkpoints


def test_full_checkpoint_disk_ends_the_job_which_resumes_when_there_is_space(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, data_dir=disk.path / "data", settings={"tolerable_failed_checkpoints": 0})
    with durable(job.data, **job.settings) as session:
        handle = session.start(job.pipeline(RATE), job=job.name)
        fill_once_it_runs(handle, disk)
        with expect(
            ks.TooManyFailedCheckpoints, "KS-CHECKPOINTS-FAILED", "no space left", "free space", "resumes"
        ) as told:
            handle.wait()
    assert str(told.value).count("hint:") == 1
    disk.free()
    assert job.finish().status.rows_in < ROWS


def test_full_disk_under_staged_rows_ends_the_job_which_resumes_when_there_is_space(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, sink="sqlite", shape="rows", data_dir=disk.path / "data")
    with durable(job.data) as session:
        handle = session.start(job.pipeline(RATE), job=job.name)
        fill_once_it_runs(handle, disk)
        with expect(ks.StoreFull, "KS-STORE-FULL", "no space left", "staged", "free space", "resumes"):
            handle.wait()
    disk.free()
    assert job.finish().status.rows_in < ROWS


def test_checkpoint_fails_and_the_job_goes_on_when_the_disk_was_full_for_a_while(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, data_dir=disk.path / "data")
    with durable(job.data, checkpoint_interval=None) as session:
        handle = session.start(job.pipeline(RATE), job=job.name)
        handle.checkpoint()
        disk.fill()
        with expect(CheckpointFailed, "KS-CHECKPOINT-FAILED", "no space left", "goes on") as told:
            while True:
                handle.checkpoint()
        assert isinstance(told.value.__cause__, ks.StoreFull)
        disk.free()
        result = handle.wait()
    assert (result.status.rows_in, result.status.failed_checkpoints) == (ROWS, 1)
    job.check()


def test_full_checkpoint_disk_refuses_the_start_of_a_job(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, data_dir=disk.path / "data")
    job.stop()
    disk.fill()
    with expect(ks.StoreFull, "KS-STORE-FULL", "no space left", "free space"):
        job.run()
    disk.free()
    job.resume()


def test_lock_needs_no_space(disk: Disk) -> None:
    disk.fill()
    with expect(ks.StoreFull, "KS-STORE-FULL", "no space left", "free space"):
        JobLock(disk.path / "job")


def test_job_killed_while_its_checkpoint_disk_is_full_resumes_when_there_is_space(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, data_dir=disk.path / "data")
    killed = Job(tmp_path, job.spec(RATE))
    with _child(killed) as process:
        wait_until(lambda: job.appended > 4, process)
        disk.fill()
        assert process.stderr is not None
        complaint = process.stderr.readline()
        process.kill()
    assert "no space left" in complaint
    assert process.returncode == -signal.SIGKILL
    disk.free()
    killed.spec["rate"] = None
    killed.finish()
    killed.check()


def _child(job: Job) -> subprocess.Popen[str]:
    import json

    path = job.folder / "spec.json"
    path.write_text(json.dumps(job.spec))
    command = [sys.executable, "-m", "tests.fault.child", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ---------------------------------------------------------------- output


@pytest.mark.parametrize("sink", ["parquet", "ndjson", "sqlite"])
@pytest.mark.parametrize("shape", ["rows", "tumble"])
def test_full_output_disk_ends_the_job_which_resumes_when_there_is_space(
    tmp_path: Path, disk: Disk, sink: str, shape: str
) -> None:
    job = FileJob(tmp_path, sink=sink, shape=shape, sink_path=disk.path / "out")
    with durable(job.data) as session:
        handle = session.start(job.pipeline(RATE), job=job.name)
        fill_once_it_runs(handle, disk)
        with expect(OutputFull, "KS-OUTPUT-FULL", str(disk.path), "free space", "resumes"):
            handle.wait()
    disk.free()
    assert job.finish().status.rows_in < ROWS


@pytest.mark.parametrize("sink", ["parquet", "ndjson", "sqlite"])
def test_full_output_disk_refuses_the_start_of_a_job(tmp_path: Path, disk: Disk, sink: str) -> None:
    job = FileJob(tmp_path, sink=sink, sink_path=disk.path / "out")
    disk.fill()
    with expect(OutputFull, "KS-OUTPUT-FULL", str(disk.path), "free space"):
        job.run()
    disk.free()
    job.finish()


# ---------------------------------------------------------------- read-only


def test_read_only_checkpoint_disk_refuses_the_start_of_a_job(tmp_path: Path, disk: Disk) -> None:
    job = FileJob(tmp_path, data_dir=disk.path / "data")
    job.stop()
    disk.allow_writing(False)
    with expect(StoreUnwritable, "KS-STORE-UNWRITABLE", str(disk.path), "data_dir"):
        job.run()
    disk.allow_writing(True)
    job.resume()


@pytest.mark.parametrize("sink", ["parquet", "ndjson", "sqlite"])
def test_read_only_output_disk_refuses_the_start_of_a_job(tmp_path: Path, disk: Disk, sink: str) -> None:
    job = FileJob(tmp_path, sink=sink, sink_path=disk.path / "out")
    job.stop()
    disk.allow_writing(False)
    with expect(*READ_ONLY[sink], str(disk.path), "cannot be written", "this user"):
        job.run()
    disk.allow_writing(True)
    job.resume()


# ---------------------------------------------------------------- state


def test_full_state_disk_is_named(disk: Disk) -> None:
    blocks = RocksBlocks(disk.path / "work", budget=0)
    disk.fill()
    with expect(ks.StoreFull, "KS-STORE-FULL", str(disk.path), "memory_budget", "free space"):
        blocks.put(pa.record_batch({"x": [1]}))
    disk.free()
    assert blocks.get(blocks.put(pa.record_batch({"x": [2]}))).to_pydict() == {"x": [2]}
    blocks.close()
