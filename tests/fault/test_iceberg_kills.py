"""Iceberg tables written by jobs that are killed, stopped and rivalled: nothing lost, nothing doubled.

Read by polars with its planner in Rust, in a bucket by `read_bucket`, and by pyiceberg in another process.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, ValidationException

from tests.fault.harness import ROOT, Job, make_input, random_moments
from tests.fault.test_kills import RECOVERING, RUNNING
from tests.services.s3.fixtures import own_s3, s3  # noqa: F401  fixtures
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.iceberg import catalog_of, read_table, table_of, warm_up

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from tests.services.s3.gateway import Gateway

ROWS, RATE = 20_000, 16_000
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "partitioned": {"partition_by": "auction"},
    "by time": {"partition_by": "hour(window_start)"},
}

warm_up()


def job(
    folder: Path, *, mode: str = "plain", shape: str = "tumble", server: Gateway | None = None, **session: Any
) -> Job:
    """Return a job over fresh input into a table per shape, on the disk or in a bucket."""
    catalog, place = catalog_of(folder), {}
    if server is not None:
        access = {
            "s3.endpoint": server.endpoint,
            "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY,
            "s3.region": "us-east-1",
        }
        catalog = catalog_of(folder, f"s3://{server.new_bucket()}/warehouse", **access)
        place = {"client": server.options()}
    spec = {
        "source": {"kind": "parquet", "pattern": make_input(folder / "in", rows=ROWS)},
        "rate": RATE,
        "sinks": {
            name: {"kind": "iceberg", "catalog": catalog, "table": f"shop.{name}", "options": MODES[mode], **place}
            for name in shape.split("+")
        },
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "150ms", **session},
    }
    return Job(folder, spec)


@pytest.mark.kill
@pytest.mark.parametrize(("step", "mode"), [*product(RUNNING, ["plain"]), *product(RUNNING[4:9], ["partitioned"])])
def test_job_is_exact_after_a_kill_at(tmp_path, step, mode):
    killed = job(tmp_path, mode=mode)
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("moment", [4, 5, 6])
def test_job_is_exact_after_a_kill_at_each_step_of_a_commit(tmp_path, moment):
    """An epoch passes it three times: before its files are looked at, between them and the catalog, behind it."""
    killed = job(tmp_path, shape="rows")
    assert killed.run(f"commit.during=kill@{moment}").killed
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize(
    ("name", "number"), [("-m0.avro", 3), ("snap-", 3), (".metadata.json", 1), (".metadata.json", 4)]
)
def test_job_is_exact_after_a_kill_behind_a_file_of_a_commit(tmp_path, name, number):
    """The file is written and nothing points at it yet: also of the commit that makes the table."""
    killed = job(tmp_path, shape="rows")
    catalog = killed.spec["sinks"]["rows"]["catalog"]
    killing = {"py-io-impl": "tests.support.iceberg_io.KillingIO", "kill.name": name, "kill.number": str(number)}
    killed.spec["sinks"]["rows"]["catalog"] = {**catalog, **killing}
    assert killed.run().killed
    killed.spec["sinks"]["rows"]["catalog"] = catalog
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.parametrize("step", ["prepare.after", "manifest.after"])
def test_what_was_prepared_and_not_committed_is_not_seen(tmp_path, step):
    killed = job(tmp_path, shape="rows")
    assert killed.run(f"{step}=kill@1").killed
    found = read_table(killed.spec["sinks"]["rows"]["catalog"], "shop.rows")
    assert found.height == 0
    assert list((tmp_path / "warehouse").rglob("*.parquet")), "files are there"
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


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("mode", ["plain", "partitioned"])
@pytest.mark.parametrize("step", ["commit.before", "commit.during"])
def test_what_waits_is_committed_at_another_parallelism(tmp_path, mode, step):
    """Both kills leave an epoch in the manifest that the table does not have; the next run has other slots."""
    killed = job(tmp_path, mode=mode, shape="tumble+rows")
    for parallelism in (1, 3):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(f"{step}=kill@4").killed
    killed.spec["session"]["parallelism"] = 2
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("seed", range(3))
def test_job_is_exact_after_kills_at_random_at_one_parallelism_and_another(tmp_path, seed):
    killed = job(tmp_path, mode="partitioned", shape="tumble+rows")
    for parallelism, moment in zip((1, 3, 2), random_moments(seed, 3, 1.0), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(kill_after=moment).killed
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
def test_table_by_hours_is_exact_after_kills_at_random(tmp_path):
    killed = job(tmp_path, mode="by time")
    for moment in random_moments(7, 3, 0.8):
        assert killed.run(kill_after=moment).killed
    killed.finish()
    killed.check()


@pytest.fixture
def plain_uploads(monkeypatch):
    """Have Arrow send uploads with their length: Ceph refuses those that end in a checksum."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")


@pytest.mark.server("s3")
@pytest.mark.usefixtures("plain_uploads")
@pytest.mark.kill
@pytest.mark.parametrize("step", ["prepare.after", "manifest.after", "commit.during", "commit.after", "commit.before"])
def test_table_in_a_bucket_is_exact_after_a_kill_at(tmp_path, s3, step):  # noqa: F811
    killed = job(tmp_path, server=s3)
    assert killed.run(f"{step}=kill@3").killed
    killed.finish()
    killed.check()


@pytest.mark.server("s3")
@pytest.mark.usefixtures("plain_uploads")
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
def test_zombie_changes_nothing(tmp_path):
    running = job(tmp_path)
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


@pytest.mark.fault
@pytest.mark.parametrize("step", ["commit.before", "commit.during"])
def test_zombie_that_stopped_in_a_commit_adds_nothing_when_it_wakes(tmp_path, step):
    running = job(tmp_path, shape="rows")
    with running.process(f"{step}=stop@2") as zombie:
        assert zombie.stdout is not None
        zombie.stdout.readline()
        _wait_stopped(zombie.pid)
        running.spec["run"] = {"take_over": True}
        running.finish()
        zombie.send_signal(signal.SIGCONT)
        zombie.communicate(timeout=60)
    assert zombie.returncode != 0
    running.check()


def _wait_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "T":
                return
        time.sleep(0.02)
    raise AssertionError("the process did not stop")


@pytest.mark.kill
def test_another_writer_and_compaction_at_the_same_time_change_nothing(tmp_path):
    """A foreign writer appends, rewrites and expires all the time; its rows are taken out before the comparison."""
    killed = job(tmp_path)
    catalog, over = catalog_of(tmp_path), threading.Event()
    foreign: list[int] = []

    def interfere() -> None:
        while not over.wait(0.05):
            number = -1 - len(foreign)
            try:
                with table_of(catalog, "shop.tumble") as table:
                    table.append(
                        pa.Table.from_pylist([{"auction": number}], schema=pa.schema([("auction", pa.int64())]))
                    )
                    foreign.append(number)
                    if len(foreign) % 5 == 0:
                        table.overwrite(table.scan().to_arrow())
                        old = [snapshot.snapshot_id for snapshot in table.snapshots()][:-1]
                        table.maintenance.expire_snapshots().by_ids(old).commit()
            except (NoSuchTableError, CommitFailedException, ValidationException, ValueError):
                continue  # not made yet, or the job was faster

    rival = threading.Thread(target=interfere)
    rival.start()
    try:
        assert killed.run("commit.during=kill@8").killed
        killed.finish()
    finally:
        over.set()
        rival.join()
    written = read_table(catalog, "shop.tumble").get_column("auction").to_list()
    assert sorted(number for number in written if number < 0) == sorted(foreign)
    assert foreign
    with table_of(catalog, "shop.tumble") as table:
        table.delete("auction < 0")
    killed.check()


@pytest.mark.fault
def test_two_committers_that_race_over_fifty_epochs_add_each_once(tmp_path):
    """Both commit what was prepared once, as a zombie and its successor do; a third process appends its own rows."""
    catalog = catalog_of(tmp_path)
    list(_outputs([_rival(tmp_path, "prepare")]))
    foreign = _rival(tmp_path, "foreign")
    rivals = [_rival(tmp_path, "commit"), _rival(tmp_path, "commit")]
    counts = [json.loads(said) for said in _outputs(rivals)]
    (tmp_path / "over").touch()
    (added,) = [json.loads(said) for said in _outputs([foreign])]
    assert sum(count["done"] for count in counts) == 50
    assert sum(count["done"] + count["already_done"] for count in counts) == 100
    found = read_table(catalog, "shop.orders").get_column("id").to_list()
    own = sorted(number for number in found if number >= 0)
    assert own == [epoch * 10 + row for epoch in range(1, 51) if epoch % 5 for row in range(3)]
    assert len(found) - len(own) == added > 0


def _rival(folder: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.iceberg_rival", str(folder), what]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _outputs(processes: list[subprocess.Popen[str]]) -> Generator[str]:
    for process in processes:
        said, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        yield said


@pytest.mark.kill(kills=2)
@pytest.mark.parametrize("seed", range(3))
def test_source_goes_on_exactly_where_it_was(tmp_path, seed):
    """The table is made of the input in several snapshots; the output is compared with the input's files."""
    killed = job(tmp_path, shape="rows")
    rows = duckdb.sql(f"select * from read_parquet('{killed.spec['source']['pattern']}')").to_arrow_table()
    catalog = catalog_of(tmp_path)
    with load_catalog("default", **catalog) as opened:
        opened.create_namespace("in")
        table = opened.create_table("in.bids", schema=rows.schema)
        for start in range(0, rows.num_rows, 4_000):
            table.append(rows.slice(start, 4_000))
    killed.spec["answer"] = killed.spec["source"]
    killed.spec["source"] = {"kind": "iceberg", "catalog": catalog, "table": "in.bids"}
    for moment in random_moments(seed, 2, 0.4):
        assert killed.run(kill_after=moment).killed
    killed.finish()
    killed.check()
