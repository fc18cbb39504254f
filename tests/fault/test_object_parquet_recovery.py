"""What a killed job left to be committed into a bucket: at other parallelisms, over several epochs, by two at once."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.fault.kafka_jobs import errors_of, wait_until_stopped
from tests.fault.objects_jobs import COMMIT_STEPS, ObjectsJob, left_to_commit, objects_job, within_commit
from tests.integration.jobs import wait_until
from tests.support.s3_proxy import S3Proxy, is_completion, is_manifest, is_part

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.services.s3.gateway import Gateway

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(180)]

PARALLELISMS = [(1, 3, 2), (3, 1, 2)]


def die_at(killed: ObjectsJob, parallelisms: Iterable[int], failpoints: str) -> None:
    """Have the job die once at each of these parallelisms, each time with something left to be committed."""
    for parallelism in parallelisms:
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(failpoints).killed
        assert left_to_commit(killed)


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
@pytest.mark.parametrize("step", ["commit.before=kill@3", f"commit.during=kill@{within_commit('first', 4)}"])
def test_what_waits_is_committed_at_another_parallelism(
    tmp_path: Path, s3: Gateway, step: str, parallelisms: tuple[int, ...]
) -> None:
    killed = objects_job(tmp_path, s3, rate=8_000)
    watcher = killed.watcher()
    die_at(killed, parallelisms, step)
    killed.finish()
    killed.check()
    killed.check_seen(watcher)


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", PARALLELISMS, ids=str)
def test_several_epochs_that_wait_are_committed_in_their_order(
    tmp_path: Path, s3: Gateway, parallelisms: tuple[int, ...]
) -> None:
    """A commit hangs while barriers go on; the job dies with what has piled up behind it."""
    killed = objects_job(tmp_path, s3, max_pending_epochs=5, rate=8_000)
    for parallelism in parallelisms:
        die_at(killed, [parallelism], "commit.before=sleep:30@2;manifest.after=kill@5")
        assert max(len(epochs) for epochs in left_to_commit(killed).values()) >= 3
    killed.finish()
    killed.check()


@pytest.mark.fault
def test_of_two_processes_that_write_at_the_same_time_one_goes_on(tmp_path: Path, s3: Gateway) -> None:
    """The first is alive and writes when the second takes over."""
    job = objects_job(tmp_path, s3, rate=2_000)
    with job.process() as first, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: any(int(entry.stem) > 5 for entry in job.log.glob("*.json")))
        job.spec["run"] = {"take_over": True}
        finished = pool.submit(job.finish)
        errors = errors_of(first)
        assert first.returncode != 0
        finished.result(60)
    assert "KS-FENCED" in errors, errors
    job.check()


# --- zombies


def replace_and_wake(frozen: ObjectsJob, process: subprocess.Popen[str]) -> str:
    """Let another process finish the job, then wake the one that is stopped; returns what it printed to stderr."""
    frozen.spec["run"] = {"take_over": True}
    frozen.finish()
    contents = frozen.contents()
    os.kill(process.pid, signal.SIGCONT)
    errors = errors_of(process)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert frozen.contents() == contents
    frozen.check()
    return errors


@pytest.mark.fault
@pytest.mark.parametrize(
    "step",
    [
        "prepare.after@3",
        "manifest.before@3",
        "commit.before@3",
        *(f"commit.during@{within_commit(step)}" for step in COMMIT_STEPS),
        "commit.after@2",
    ],
)
def test_a_zombie_changes_nothing_after_it_was_stopped_at(tmp_path: Path, s3: Gateway, step: str) -> None:
    frozen = objects_job(tmp_path, s3)
    name, _, at = step.partition("@")
    with frozen.process(f"{name}=stop@{at}") as process:
        wait_until_stopped(process)
        errors = replace_and_wake(frozen, process)
    # Its successor aborts what it uploads: it may hear of that first.
    assert "KS-FENCED" in errors or "KS-S3-UPLOAD-ABORTED" in errors, errors


# --- the server


@pytest.mark.kill
def test_job_is_exact_when_the_server_is_killed_under_it(tmp_path: Path, own_s3: Gateway) -> None:
    """A commit waits for the server and goes on; what a slot cannot upload is written again, by a restart."""
    job = objects_job(tmp_path, own_s3, rate=4_000, restart_attempts=20)
    # The server dies with the thread that started it: that is this one.
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(job.finish)
        wait_until(lambda: any(int(entry.stem) > 5 for entry in job.log.glob("*.json")))
        own_s3.kill()
        assert not finished.done()
        own_s3.start_gateway()
        finished.result(60)
    job.check()


@pytest.mark.kill
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_job_is_exact_when_the_server_is_killed_within_a_commit(tmp_path: Path, own_s3: Gateway, step: str) -> None:
    job = objects_job(tmp_path, own_s3, rate=4_000, restart_attempts=20)
    with ThreadPoolExecutor(1) as pool, job.process(f"commit.during=stop@{within_commit(step, 4)}") as process:
        wait_until_stopped(process)
        own_s3.restart()
        os.kill(process.pid, signal.SIGCONT)
        _, errors = pool.submit(process.communicate, timeout=60).result(70)
        assert process.returncode == 0, errors
    job.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", ["first", "completed"])
def test_a_job_and_its_server_killed_within_a_commit(tmp_path: Path, own_s3: Gateway, step: str) -> None:
    job = objects_job(tmp_path, own_s3, restart_attempts=0)
    with job.process(f"commit.during=stop@{within_commit(step, 4)}") as process:
        wait_until_stopped(process)
        own_s3.kill()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert left_to_commit(job)
    own_s3.start_gateway()
    job.finish()
    job.check()


# --- outcomes that are not known


@pytest.mark.fault
@pytest.mark.parametrize("forward", [False, True], ids=["request", "answer"])
@pytest.mark.parametrize("wanted", [is_completion, is_manifest, is_part], ids=["completion", "manifest", "part"])
def test_job_is_exact_when_requests_or_their_answers_are_lost(
    tmp_path: Path, s3: Gateway, wanted: Callable[[str, str], bool], forward: bool
) -> None:
    with S3Proxy(s3.endpoint, wanted, forward=forward) as proxy:
        job = objects_job(tmp_path, s3, endpoint=proxy.endpoint, rate=8_000, restart_attempts=0)
        job.finish()
        assert proxy.lost >= 2
    job.check()
