"""Delta tables written by jobs that are killed, stopped and rivalled: read by polars, nothing lost, nothing doubled."""

from __future__ import annotations

import signal
import threading
import time
from itertools import product
from typing import TYPE_CHECKING

import deltalake
import pyarrow as pa
import pytest

from tests.fault.harness import Job, make_input, random_moments
from tests.fault.test_kills import RECOVERING, RUNNING
from tests.services.s3.fixtures import own_s3, s3  # noqa: F401  fixtures
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.delta import warm_up

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.services.s3.gateway import Gateway

ROWS, RATE = 20_000, 16_000
MODES: dict[str, dict[str, Any]] = {
    "append": {},
    "partitioned": {"partition_by": "auction"},
    "upsert": {"mode": "upsert", "keys": ["auction", "window_start"]},
}

warm_up()


def job(
    folder: Path, *, mode: str = "append", shape: str = "tumble", server: Gateway | None = None, **session: Any
) -> Job:
    """Return a job over fresh input into a table per shape, on the disk or in a bucket."""
    place: dict[str, Any] = {"options": MODES[mode]}
    root = str(folder)
    if server is not None:
        root = f"s3://{server.new_bucket()}"
        access = {
            "endpoint": server.endpoint,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "region": "us-east-1",
        }
        place |= {"storage": access, "client": server.options()}
    spec = {
        "source": {"kind": "parquet", "pattern": make_input(folder / "in", rows=ROWS)},
        "rate": RATE,
        "sinks": {name: {"kind": "delta", "path": f"{root}/{name}", **place} for name in shape.split("+")},
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "150ms", **session},
    }
    return Job(folder, spec)


@pytest.mark.kill
@pytest.mark.parametrize(("step", "mode"), list(product(RUNNING, ["append", "upsert"])))
def test_job_is_exact_after_a_kill_at(tmp_path, step, mode):
    killed = job(tmp_path, mode=mode)
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("step", RECOVERING)
def test_job_is_exact_after_a_second_kill_during_recovery_at(tmp_path, step):
    killed = job(tmp_path, shape="rows")
    first = "prepare.after=kill@3" if "abort" in step else "commit.before=kill@3"
    assert killed.run(first).killed
    assert killed.run(f"{step}=kill").killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(3))
def test_what_waits_is_committed_at_another_parallelism(tmp_path, seed):
    killed = job(tmp_path, mode="partitioned", shape="tumble+rows")
    killed.spec["rate"] = RATE // 4  # it takes longer than the three moments together
    for parallelism, moment in zip((1, 3, 2), random_moments(seed, 3, 1.0), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run("commit.before=kill@4" if seed else "", kill_after=moment).killed
    killed.finish()
    killed.check()


@pytest.mark.server("s3")
@pytest.mark.kill
@pytest.mark.parametrize("step", ["prepare.after", "manifest.after", "commit.during", "commit.after", "commit.before"])
def test_table_in_a_bucket_is_exact_after_a_kill_at(tmp_path, s3, step):  # noqa: F811
    killed = job(tmp_path, server=s3)
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.server("s3")
@pytest.mark.kill(kills=2)
def test_table_in_a_bucket_is_exact_when_the_server_is_killed_under_the_job(tmp_path, own_s3):  # noqa: F811
    running = job(tmp_path, shape="rows", server=own_s3, tolerable_failed_checkpoints=1_000, restart_attempts=20)
    with running.process() as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            time.sleep(0.3)  # commits are under way
            own_s3.kill()
            time.sleep(0.3)
            own_s3.start_gateway()
        said, wrong = process.communicate(timeout=90)
    assert process.returncode == 0, wrong
    assert '"finished"' in said
    running.check()


@pytest.mark.fault
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_zombie_changes_nothing(tmp_path, mode):
    running = job(tmp_path, mode=mode)
    with running.process() as zombie:
        assert zombie.stdout is not None
        zombie.stdout.readline()
        time.sleep(0.6)
        zombie.send_signal(signal.SIGSTOP)
        running.spec["run"] = {"take_over": True}
        running.finish()
        zombie.send_signal(signal.SIGCONT)
        zombie.communicate(timeout=60)
    assert zombie.returncode != 0
    running.check()


@pytest.mark.kill
@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_another_writer_and_compaction_at_the_same_time_change_nothing(tmp_path, mode):
    """A foreign writer appends and compacts all the time; what it wrote is taken out before the comparison."""
    killed = job(tmp_path, mode=mode)
    table, over = str(tmp_path / "tumble"), threading.Event()
    foreign: list[int] = []

    def interfere() -> None:
        while not over.wait(0.05):
            try:
                known = deltalake.DeltaTable(table)
            except deltalake.exceptions.TableNotFoundError:
                continue
            number = -1 - len(foreign)
            rows = pa.Table.from_pylist([{"auction": number}], schema=pa.schema(known.schema().to_arrow()))
            deltalake.write_deltalake(table, rows, mode="append")
            foreign.append(number)
            if len(foreign) % 5 == 0:
                try:
                    deltalake.DeltaTable(table).optimize.compact()
                except deltalake.exceptions.CommitFailedError:
                    continue  # the job was faster

    rival = threading.Thread(target=interfere)
    rival.start()
    try:
        assert killed.run("commit.during=kill@4").killed
        killed.finish()
    finally:
        over.set()
        rival.join()
    written = deltalake.DeltaTable(table).to_pyarrow_table().column("auction").to_pylist()
    assert sorted(n for n in written if n < 0) == sorted(foreign)
    assert foreign
    deltalake.DeltaTable(table).delete("auction < 0")
    killed.check()


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("seed", range(3))
def test_source_goes_on_exactly_where_it_was(tmp_path, seed):
    """The table is made of the input in several versions; the output is compared with the input's files."""
    killed = job(tmp_path, shape="rows")
    pattern = killed.spec["source"]["pattern"]
    import duckdb

    rows = duckdb.sql(f"select * from read_parquet('{pattern}')").to_arrow_table()
    for start in range(0, rows.num_rows, 4_000):
        deltalake.write_deltalake(str(tmp_path / "table"), rows.slice(start, 4_000), mode="append")
    killed.spec["answer"] = killed.spec["source"]
    killed.spec["source"] = {"kind": "delta", "path": str(tmp_path / "table")}
    for moment in random_moments(seed, 2, 0.4):
        assert killed.run(kill_after=moment).killed
    killed.finish()
    killed.check()
