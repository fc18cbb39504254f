"""Jobs into a bucket, killed with SIGKILL: nothing lost, nothing doubled, and readers of manifests see whole epochs.

The output is read by polars and by duckdb over all Parquet objects, and by a reader of our manifests that is not ours;
all is compared with duckdb's answer over the input.
"""

from __future__ import annotations

import pytest

from tests.fault.harness import random_moments
from tests.fault.objects_jobs import COMMIT_STEPS, objects_job, within_commit
from tests.fault.test_postgres_kills import RECOVERING, STEPS

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(180)]


@pytest.mark.kill
@pytest.mark.parametrize("step", STEPS)
def test_job_into_a_bucket_is_exact_after_a_kill_at(tmp_path, s3, step):
    killed = objects_job(tmp_path, s3, shape="tumble")
    assert killed.run(f"{step}=kill@{1 if step.startswith('finish') else 3}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", RECOVERING)
def test_job_into_a_bucket_is_exact_after_a_second_kill_during_recovery_at(tmp_path, s3, step):
    killed = objects_job(tmp_path, s3)
    # Killed between prepare and ack, then again before commit: recovery has something to abort and to commit.
    assert killed.run("prepare.after=kill@3" if "abort" in step else "commit.before=kill@3").killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_job_into_a_bucket_is_exact_after_kills_within_commit(tmp_path, s3, step):
    killed = objects_job(tmp_path, s3, rate=8_000)
    watcher = killed.watcher()
    for nth in (3, 4, 5):
        assert killed.run(f"commit.during=kill@{within_commit(step, nth)}").killed
    killed.finish()
    killed.check()
    killed.check_seen(watcher)


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(6))
def test_job_into_a_bucket_is_exact_after_kills_at_random_moments_and_parallelisms(tmp_path, s3, seed):
    shape = ["rows", "tumble"][seed % 2]
    options = {"partition_by": "auction"} if seed % 3 == 2 else {}
    killed = objects_job(tmp_path, s3, shape=shape, seed=seed, options=options)
    kills = 0
    for moment, parallelism in zip(random_moments(seed, 3, 0.5), (1, 3, 2), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        kills += killed.run(kill_after=moment).killed
    assert kills == 3
    killed.finish()
    killed.check()
