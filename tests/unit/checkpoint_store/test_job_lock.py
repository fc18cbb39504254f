"""P10: an flock held for life refuses the newcomer, unless it is told to take over."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import JobLock, JobLocked, StoreUnwritable

if TYPE_CHECKING:
    from pathlib import Path

_HOLDER = """
import sys
from krishiv_checkpoint import JobLock
lock = JobLock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_job_lock_refuses_a_second_holder_and_names_the_first(tmp_path: Path) -> None:
    """P10."""
    with JobLock(tmp_path / "job"), pytest.raises(JobLocked, match=f"process with id {os.getpid()} ") as caught:
        JobLock(tmp_path / "job")
    assert caught.value.fields["pid"] == os.getpid()


def test_job_lock_is_free_again_when_released(tmp_path: Path) -> None:
    with JobLock(tmp_path):
        pass
    lock = JobLock(tmp_path)
    lock.release()
    lock.release()
    assert not lock.held


def test_job_lock_lets_a_take_over_pass_without_the_lock(tmp_path: Path) -> None:
    """P10: then the token in the log alone protects."""
    with JobLock(tmp_path) as first, JobLock(tmp_path, take_over=True) as second:
        assert (first.held, second.held) == (True, False)


def test_job_lock_is_taken_by_a_take_over_when_nobody_has_it(tmp_path: Path) -> None:
    with JobLock(tmp_path, take_over=True) as lock:
        assert lock.held
        with pytest.raises(JobLocked):
            JobLock(tmp_path)


def test_job_lock_is_freed_by_the_death_of_its_process(tmp_path: Path) -> None:
    """P10: held for life, not longer."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(JobLocked, match=f"id {process.pid} "):
            JobLock(tmp_path)
        process.kill()
    JobLock(tmp_path).release()


def test_job_lock_says_what_to_do_when_the_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="data_dir"):
        JobLock(tmp_path / "file" / "job")
