"""Jobs killed with SIGKILL at every named step of the protocol and at random moments: nothing lost, nothing doubled.

Every output is read by duckdb and by polars (SQLite's by sqlite3) and compared with duckdb's answer over the input.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.fault.harness import Job, make_input, random_moments

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000
RATE = 16_000

RUNNING = [
    "barrier.before_emit",
    "prepare.before",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.during",
    "commit.after",
    "retire.before",
    "retire.after",
]
RECOVERING = [
    "takeover.before",
    "takeover.after",
    "recovery.before_commit",
    "recovery.after_commit",
    "recovery.before_abort",
    "recovery.after_abort",
    "recovery.after_restore",
]
SINKS = ["parquet", "ndjson", "sqlite"]


def job(
    folder: Path,
    *,
    sink: str = "parquet",
    shape: str = "tumble",
    source: str = "parquet",
    parallelism: int = 1,
    seed: int = 0,
    **session: Any,
) -> Job:
    """Return a job over fresh input, with one sink per shape named in `shape`."""
    pattern = make_input(folder / "in", rows=ROWS, kind=source, seed=seed)
    suffix = ".db" if sink == "sqlite" else ""
    spec = {
        "source": {"kind": source, "pattern": pattern},
        "rate": RATE,
        "sinks": {name: {"kind": sink, "path": str(folder / f"{name}{suffix}")} for name in shape.split("+")},
        "session": {
            "data_dir": str(folder / "data"),
            "checkpoint_interval": "100ms",
            "parallelism": parallelism,
            **session,
        },
    }
    return Job(folder, spec)


@pytest.mark.kill
@pytest.mark.parametrize(("step", "sink"), list(product(RUNNING, SINKS)))
def test_job_is_exact_after_a_kill_at(tmp_path, step, sink):
    killed = job(tmp_path, sink=sink)
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize(("step", "sink"), list(product(RECOVERING, SINKS)))
def test_job_is_exact_after_a_second_kill_during_recovery_at(tmp_path, step, sink):
    killed = job(tmp_path, sink=sink, shape="rows")
    # Killed between prepare and ack, then again before commit: recovery has something to abort and to commit.
    first = "prepare.after=kill@3" if "abort" in step else "commit.before=kill@3"
    assert killed.run(first).killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize(("step", "sink"), list(product(["finish.before", "finish.after"], SINKS)))
def test_job_is_exact_after_a_kill_while_it_finishes(tmp_path, step, sink):
    killed = job(tmp_path, sink=sink)
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("step", ["savepoint.before", "savepoint.after"])
def test_job_is_exact_after_a_kill_during_a_savepoint(tmp_path, step):
    killed = job(tmp_path)
    killed.spec["savepoint"] = "kept"
    assert killed.run(f"{step}=kill").killed
    del killed.spec["savepoint"]
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(12))
def test_job_is_exact_after_kills_at_random_moments(tmp_path, seed):
    shapes = ["tumble", "hop", "rows", "tumble+rows"]
    killed = job(
        tmp_path,
        sink=SINKS[seed % 3],
        shape=shapes[seed % 4],
        source=["parquet", "csv", "ndjson"][seed // 4],
        seed=seed,
    )
    kills = 0
    for moment, parallelism in zip(random_moments(seed, 3, 0.5), (1, 3, 2), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        kills += killed.run(kill_after=moment).killed
    assert kills == 3
    killed.finish()
    killed.check()
