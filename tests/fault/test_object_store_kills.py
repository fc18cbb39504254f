"""Jobs whose checkpoints are in a bucket: killed at every step, moved to another host, and with the server killed."""

from __future__ import annotations

import shutil
import time
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.fault.harness import Job, make_input, random_moments
from tests.fault.test_kills import RECOVERING, RUNNING
from tests.services.s3.fixtures import own_s3, s3  # noqa: F401  fixtures
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.services.s3.gateway import Gateway

pytestmark = pytest.mark.server("s3")

ROWS, RATE = 20_000, 16_000


def job(folder: Path, server: Gateway, *, sink: str = "parquet", shape: str = "tumble", **session: Any) -> Job:
    """Return a job over fresh input, with its checkpoints in a bucket of its own."""
    suffix = ".db" if sink == "sqlite" else ""
    spec = {
        "source": {"kind": "parquet", "pattern": make_input(folder / "in", rows=ROWS)},
        "rate": RATE,
        "sinks": {name: {"kind": sink, "path": str(folder / f"{name}{suffix}")} for name in shape.split("+")},
        "storage": {"endpoint": server.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "r"},
        "session": {
            "data_dir": str(folder / "data"),
            "checkpoints": f"s3://{server.new_bucket()}/checkpoints",
            "checkpoint_interval": "200ms",
            **session,
        },
    }
    return Job(folder, spec)


@pytest.mark.kill
@pytest.mark.parametrize(("step", "sink"), list(product(RUNNING, ["parquet", "sqlite"])))
def test_job_is_exact_after_a_kill_at(tmp_path, s3, step, sink):  # noqa: F811
    killed = job(tmp_path, s3, sink=sink)
    assert killed.run(f"{step}=kill@2").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", RECOVERING)
def test_job_is_exact_after_a_second_kill_during_recovery_at(tmp_path, s3, step):  # noqa: F811
    killed = job(tmp_path, s3, sink="sqlite", shape="rows")
    first = "prepare.after=kill@3" if "abort" in step else "commit.before=kill@3"
    assert killed.run(first).killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(3))
def test_job_goes_on_where_nothing_of_its_host_is_left(tmp_path, s3, seed):  # noqa: F811
    """The sink is a database elsewhere; the folder of the host is lost with every kill."""
    killed = job(tmp_path, s3, sink="sqlite", shape="tumble+rows", memory_budget="1MiB")
    for parallelism, moment in zip((1, 3, 2), random_moments(seed, 3, 1.0), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(kill_after=moment).killed
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
def test_job_rides_out_a_server_that_is_killed_under_it(tmp_path, own_s3):  # noqa: F811
    running = job(tmp_path, own_s3, sink="sqlite", shape="rows", tolerable_failed_checkpoints=1_000)
    with running.process() as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            time.sleep(0.3)  # checkpoints are under way
            own_s3.kill()
            time.sleep(0.3)
            own_s3.start_gateway()
        said, wrong = process.communicate(timeout=90)
    assert process.returncode == 0, wrong
    assert '"finished"' in said
    running.check()


@pytest.mark.fault
def test_zombie_whose_checkpoints_are_in_a_bucket_is_fenced(tmp_path, s3):  # noqa: F811
    import signal

    running = job(tmp_path, s3, sink="sqlite", shape="rows")
    with running.process() as zombie:
        assert zombie.stdout is not None
        zombie.stdout.readline()
        time.sleep(0.6)
        zombie.send_signal(signal.SIGSTOP)
        running.spec["run"] = {"take_over": True}
        running.finish()
        zombie.send_signal(signal.SIGCONT)
        _, wrong = zombie.communicate(timeout=60)
    assert zombie.returncode != 0
    assert "lost its job" in wrong
    running.check()
