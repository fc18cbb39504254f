"""Delta tables written by several at once, and through a network that loses answers: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pytest

from krishiv_checkpoint import Committable
from tests.fault.delta_racer import SCHEMA, opened
from tests.fault.harness import ROOT
from tests.fault.kafka_jobs import wait_until_stopped
from tests.fault.test_delta_kills import job
from tests.services.s3.fixtures import own_s3, s3  # noqa: F401  fixtures
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.delta import ask_table, read_table, warm_up
from tests.support.http_proxy import AnswerLoser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tests.fault.harness import Job
    from tests.services.s3.gateway import Gateway

warm_up()

pytestmark = pytest.mark.timeout(180)

MODES = pytest.mark.parametrize("mode", ["append", "upsert"])
STEPS = ("looked", "committed")
"""After the table was looked at, and after the log entry is there."""
PASSES = {"upsert": ("staged", *STEPS, "applied")}
"""The passes of ``commit.during`` in one commit, where they are more."""


def within_commit(step: str, mode: str = "append", nth: int = 3) -> int:
    """Return the how-manieth pass of ``commit.during`` is `step` of the `nth` commit."""
    passes = PASSES.get(mode, STEPS)
    return (nth - 1) * len(passes) + passes.index(step) + 1


def pending(killed: Job) -> dict[int, list[int]]:
    """Return, by slot, the epochs of which the newest manifest does not say that they are applied."""
    log = Path(killed.spec["session"]["data_dir"]) / "jobs" / "job" / "log"
    entries = [json.loads(path.read_bytes())["entry"] for path in sorted(log.glob("*.json"))]
    newest: dict[str, Any] = [entry for entry in entries if entry["type"] == "manifest"][-1]
    epochs: dict[int, list[int]] = {}
    for each in newest["pending"]:
        epochs.setdefault(each["slot"], []).append(each["epoch"])
    return epochs


# --- the same epochs committed by two processes at the same time


def prepared(spec: dict[str, Any], epochs: int) -> list[str]:
    """Stage `epochs` epochs of ten rows, as one writer, and return their committables as JSON."""
    opened(spec, None, 1).close()  # makes the table
    writer, found = opened(spec, 0, 1), list[str]()
    for epoch in range(1, epochs + 1):
        ids = range(epoch * 10, epoch * 10 + 10)
        writer.write(pa.RecordBatch.from_pydict({"id": list(ids), "name": [f"n{n}" for n in ids]}, schema=SCHEMA))
        committable = Committable("s", 0, epoch, 1, epoch - 1, writer.prepare(epoch))
        found.append(msgspec.json.encode(committable).decode())
    writer.close()
    return found


def race(folder: Path, spec: dict[str, Any], racers: int) -> list[dict[str, int]]:
    """Have processes commit the same epochs, all beginning at the same time; return how often which outcome came."""
    with ExitStack() as stack:
        processes: list[subprocess.Popen[str]] = []
        for number in range(racers):
            path = folder / f"racer-{number}.json"
            path.write_text(json.dumps({**spec, "token": number + 2}))
            command = [sys.executable, "-m", "tests.fault.delta_racer", str(path)]
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outcomes: list[dict[str, int]] = []
        for process in processes:
            said, wrong = process.communicate(timeout=120)
            assert process.returncode == 0, wrong
            outcomes.append(json.loads(said))
    return outcomes


@pytest.mark.fault
@MODES
def test_racing_committers_commit_each_epoch_once(tmp_path, mode):
    options = {"mode": "upsert", "keys": ["id"]} if mode == "upsert" else {}
    spec = {"uri": str(tmp_path / "table"), "options": options, "store": str(tmp_path / "store")}
    check_race(tmp_path, spec, 3, 20)


@pytest.mark.fault
@pytest.mark.server("s3")
def test_racing_committers_of_a_bucket_commit_each_epoch_once(tmp_path, s3):  # noqa: F811
    """That the log refuses one of two entries of the same version is the storage's conditional put."""
    storage = {"endpoint": s3.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "us-east-1"}
    uri = f"s3://{s3.new_bucket()}/table"
    spec = {"uri": uri, "options": {}, "store": str(tmp_path / "store"), "storage": storage}
    check_race(tmp_path, spec, 3, 20, s3.options())


def check_race(folder: Path, spec: dict[str, Any], racers: int, epochs: int, client: Any = None) -> None:
    spec["committables"] = prepared(spec, epochs)
    outcomes = race(folder, spec, racers)
    assert sum(each.get("DONE", 0) for each in outcomes) == epochs, outcomes
    assert sum(each.get("ALREADY_DONE", 0) for each in outcomes) == (racers - 1) * epochs, outcomes
    found = sorted(read_table(spec["uri"], client).get_column("id").to_list())
    assert found == list(range(10, epochs * 10 + 10))


# --- a zombie within its commit


@pytest.mark.kill
@MODES
@pytest.mark.parametrize("step", STEPS)
def test_zombie_frozen_within_a_commit_changes_nothing(tmp_path, mode, step):
    """Frozen with the table looked at or the entry written; woken when its successor has finished the job."""
    frozen = job(tmp_path, mode=mode, restart_attempts=0)
    with frozen.process(f"commit.during=stop@{within_commit(step, mode)}") as zombie:
        wait_until_stopped(zombie)
        frozen.spec["run"] = {"take_over": True}
        assert frozen.run("commit.during=kill@3").killed
        frozen.finish()
        zombie.send_signal(signal.SIGCONT)
        zombie.communicate(timeout=60)
    assert zombie.returncode not in (0, -signal.SIGKILL)
    frozen.check()


# --- other parallelisms


@pytest.mark.kill(kills=3)
@pytest.mark.parametrize("parallelisms", [(1, 3, 2), (3, 1, 2)], ids=str)
@pytest.mark.parametrize("mode", ["append", "partitioned", "upsert"])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_commit_left_is_finished_at_another_parallelism(tmp_path, mode, step, parallelisms):
    killed = job(tmp_path, mode=mode, shape="tumble")
    killed.spec["rate"] = 8_000
    for parallelism in parallelisms:
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(f"commit.during=kill@{within_commit(step, mode)}").killed
        assert pending(killed)
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@MODES
def test_several_epochs_that_wait_are_committed_in_their_order(tmp_path, mode):
    """A commit hangs while barriers go on; the job dies with what has piled up behind it."""
    killed = job(tmp_path, mode=mode, shape="rows" if mode == "append" else "tumble", max_pending_epochs=5)
    killed.spec["rate"] = 8_000
    for parallelism in (1, 3, 2):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run("commit.before=sleep:30@2;manifest.after=kill@5").killed
        assert max(len(epochs) for epochs in pending(killed).values()) >= 3
    killed.finish()
    killed.check()


# --- buckets


@pytest.fixture
def loser(s3: Gateway) -> Iterator[AnswerLoser]:  # noqa: F811
    """A proxy before the S3 server that loses answers."""
    with AnswerLoser(int(s3.endpoint.rpartition(":")[2])) as proxy:
        yield proxy


def through(made: Job, proxy: AnswerLoser) -> Job:
    """Have the job write through the proxy."""
    for sink in made.spec["sinks"].values():
        sink["storage"]["endpoint"] = proxy.endpoint
    return made


def newest(made: Job, client: dict[str, str]) -> int:
    """Return the version of the job's table, as another client sees it."""
    (sink,) = made.spec["sinks"].values()
    return int(ask_table(sink["path"], client, "print(table.version())"))


@pytest.mark.fault
@pytest.mark.server("s3")
@pytest.mark.parametrize("version", [1, 3])
@pytest.mark.parametrize("refusing", [False, True], ids=["heard-at-once", "not-heard-for-a-while"])
@MODES
def test_commit_whose_answer_is_lost_is_made_once(tmp_path, s3, loser, mode, version, refusing):  # noqa: F811
    """The log's entry is there and nobody knows: the request that is sent again is refused, or does not get through."""
    running = through(job(tmp_path, mode=mode, server=s3, restart_attempts=0), loser)
    loser.lose("PUT", f"_delta_log/{version:020d}.json", then_refuse=refusing)
    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(running.finish)
        assert loser.lost.wait(60)
        if refusing:
            assert newest(running, s3.options()) >= version
            loser.resume()
        finished.result(90)
    running.check()


@pytest.mark.kill
@pytest.mark.server("s3")
@pytest.mark.parametrize("version", [1, 2, 4])
@MODES
def test_job_killed_before_it_hears_that_its_commit_is_made(tmp_path, s3, loser, mode, version):  # noqa: F811
    killed = through(job(tmp_path, mode=mode, server=s3), loser)
    loser.lose("PUT", f"_delta_log/{version:020d}.json", then_refuse=True)
    with killed.process() as process:
        assert loser.lost.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert newest(killed, s3.options()) >= version
    assert pending(killed)
    loser.resume()
    killed.finish()
    killed.check()


@pytest.mark.kill
@pytest.mark.server("s3")
@MODES
@pytest.mark.parametrize("step", STEPS)
def test_server_killed_within_a_commit(tmp_path, own_s3, mode, step):  # noqa: F811
    running = job(tmp_path, mode=mode, server=own_s3, restart_attempts=0)
    running.spec["rate"] = 8_000
    with running.process(f"commit.during=stop@{within_commit(step, mode)}") as process:
        wait_until_stopped(process)
        own_s3.kill()
        process.send_signal(signal.SIGCONT)
        own_s3.start_gateway()
        _, wrong = process.communicate(timeout=90)
        assert process.returncode == 0, wrong
    running.check()


@pytest.mark.kill(kills=2)
@pytest.mark.server("s3")
@pytest.mark.parametrize("step", STEPS)
def test_job_and_server_killed_within_a_commit(tmp_path, own_s3, step):  # noqa: F811
    killed = job(tmp_path, server=own_s3, shape="rows")
    with killed.process(f"commit.during=stop@{within_commit(step)}") as process:
        wait_until_stopped(process)
        own_s3.kill()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    own_s3.start_gateway()
    assert pending(killed)
    killed.finish()
    killed.check()


@pytest.mark.kill(kills=3)
@pytest.mark.server("s3")
def test_table_in_a_bucket_is_finished_at_another_parallelism(tmp_path, s3):  # noqa: F811
    killed = job(tmp_path, mode="partitioned", server=s3)
    killed.spec["rate"] = 8_000
    for parallelism, step in zip((1, 3, 2), ("looked", "committed", "looked"), strict=True):
        killed.spec["session"]["parallelism"] = parallelism
        assert killed.run(f"commit.during=kill@{within_commit(step)}").killed
    killed.finish()
    killed.check()


FOREIGN = """
import json, sys, deltalake, pyarrow
uri, options = sys.argv[1], json.loads(sys.argv[2])
print("ready", flush=True)
written = 0
while True:
    table = deltalake.DeltaTable(uri, storage_options=options)
    schema = pyarrow.schema(table.schema().to_arrow())
    rows = pyarrow.Table.from_pylist([{"auction": -1 - written}], schema=schema)
    deltalake.write_deltalake(table, rows, mode="append")
    written += 1
    print(written, flush=True)
    if not sys.stdin.readline():
        break
"""
"""Another writer: appends a row, says so, and waits for a line."""
PAUSES = {"append": 0.0, "upsert": 0.5}
"""Seconds between its commits. A merge reads the whole table: it needs a moment in which nobody else commits."""
MOST = {"append": 10_000, "upsert": 20}
"""Its commits. Each adds a file that a merge has to read: beside a writer without an end, merges only get slower."""


@pytest.mark.kill
@pytest.mark.server("s3")
@MODES
def test_another_process_that_writes_to_the_bucket_loses_nothing_either(tmp_path, s3, mode):  # noqa: F811
    killed = job(tmp_path, mode=mode, server=s3)
    (sink,) = killed.spec["sinks"].values()
    assert killed.run("commit.after=kill@2").killed
    command = [sys.executable, "-c", FOREIGN, sink["path"], json.dumps(s3.options())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as foreign:
        assert foreign.stdout is not None
        assert foreign.stdin is not None
        assert foreign.stdout.readline() == "ready\n"
        over, written = threading.Event(), [0]

        def keep_writing() -> None:
            assert foreign.stdout is not None
            assert foreign.stdin is not None
            while line := foreign.stdout.readline():
                written[0] = int(line)
                if over.wait(PAUSES[mode]) or written[0] == MOST[mode]:
                    break
                foreign.stdin.write("\n")
                foreign.stdin.flush()

        writing = threading.Thread(target=keep_writing)
        writing.start()
        try:
            killed.finish()
        finally:
            over.set()
            writing.join()
            foreign.stdin.close()
    table = read_table(sink["path"], s3.options())
    assert sorted(n for n in table.get_column("auction").to_list() if n < 0) == list(range(-written[0], 0))
    assert written[0] > 3
    ask_table(sink["path"], s3.options(), "table.delete('auction < 0')")
    killed.check()
