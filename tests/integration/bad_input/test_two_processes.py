"""A second process on the same job and data_dir: refused while the first lives; by leave it takes over, for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import krishiv_stream as ks
from tests.fault.harness import ROOT, read_output
from tests.integration.bad_input.support import RATE, FileJob, expect, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., "First"]


class First:
    """A process that runs a job, slowly."""

    def __init__(self, job: FileJob, failpoints: str) -> None:
        path = job.folder / "spec.json"
        path.write_text(json.dumps(job.spec(RATE / 2)))
        command = [sys.executable, "-m", "tests.fault.child", str(path)]
        environ = {**os.environ, "KRISHIV_FAILPOINTS": failpoints}
        self._job = job
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for_checkpoints(self) -> None:
        """Return when it has completed some."""
        wait_until(lambda: self._job.appended > 4, self.process)

    def wait_until_it_hangs(self) -> None:
        """Return when it has stopped itself at a failpoint."""
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert found is not None
        assert found.si_code == os.CLD_STOPPED

    def wake(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its exit code and what it complained of."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a job in a process of its own, and wait until it has checkpoints, or hangs if it is to."""
    started: list[First] = []

    def launch(job: FileJob, hang_at: str = "") -> First:
        first = First(job, f"{hang_at}=stop@4" if hang_at else "")
        started.append(first)
        if hang_at:
            first.wait_until_it_hangs()
        else:
            first.wait_for_checkpoints()
        return first

    yield launch
    for first in started:
        first.process.kill()
        first.process.communicate()


def stored(job: FileJob) -> dict[str, bytes]:
    """Return what a later attempt goes by: every entry of the log and every state file."""
    places = (job.directory / "log", job.directory / "state")
    return {str(path): path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


def test_second_process_is_refused_while_the_first_lives_which_is_not_disturbed(tmp_path: Path, start: Start) -> None:
    job = FileJob(tmp_path)
    first = start(job)
    with expect(ks.JobLocked, "KS-JOB-LOCKED", f"process with id {first.process.pid}", "take_over=True"):
        job.run()
    assert first.end() == (0, "")
    job.check()


def test_job_is_not_started_twice_in_one_process(tmp_path: Path) -> None:
    job = FileJob(tmp_path)
    with job.started() as handle:
        with expect(ks.JobLocked, "KS-JOB-LOCKED", f"process with id {os.getpid()}"):
            job.run()
        assert handle.wait().state == "finished"
    job.check()


@pytest.mark.parametrize(
    ("sink", "step"),
    [
        ("parquet", "prepare.after"),
        ("parquet", "commit.before"),
        ("ndjson", "manifest.before"),
        ("sqlite", "commit.before"),
    ],
)
def test_process_that_hung_is_fenced_when_it_wakes_and_changes_nothing(
    tmp_path: Path, start: Start, sink: str, step: str
) -> None:
    job = FileJob(tmp_path, sink=sink, shape="rows")
    first = start(job, hang_at=step)
    job.finish(take_over=True)
    before = stored(job), read_output(job.spec()["sinks"]["rows"])
    first.wake()
    code, errors = first.end()
    assert code == 1
    assert "KS-FENCED" in errors
    assert "nothing is lost" in errors
    assert (stored(job), read_output(job.spec()["sinks"]["rows"])) == before
    job.check()


def test_process_that_lives_is_fenced_when_another_takes_over(tmp_path: Path, start: Start) -> None:
    job = FileJob(tmp_path)
    first = start(job)
    job.finish(take_over=True)
    code, errors = first.end()
    assert (code, "KS-FENCED" in errors) == (1, True)
    job.check()


def test_process_that_was_taken_over_from_does_not_remove_the_state_on_disk_of_the_other(
    tmp_path: Path, start: Start
) -> None:
    job = FileJob(tmp_path, settings={"memory_budget": "1KB", "state": "rocksdb"})
    first = start(job, hang_at="ack.before")
    with job.started(take_over=True) as handle:
        handle.checkpoint()
        first.wake()
        assert first.end()[0] == 1
        assert handle.wait().state == "finished"
    job.check()
