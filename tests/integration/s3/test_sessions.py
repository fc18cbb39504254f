"""Sessions that keep their checkpoints in a bucket."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import CheckpointFailed, StoreRefused, StoreUnavailable
from krishiv_connectors import SentinelSource
from krishiv_stream._cli import main
from tests.integration.jobs import read, rows, source, wait_until, windows
from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.s3.gateway import Gateway

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(60)]

ROWS = pa.table({"id": range(100)})


def storage(server: Gateway) -> ks.S3:
    return ks.S3(endpoint=server.endpoint, access_key=ACCESS_KEY, secret_key=ks.Secret(SECRET_KEY), region="r")


@pytest.fixture
def session(s3: Gateway, tmp_path: Path) -> Iterator[ks.Session]:
    options = {"profile": "single-node-durable", "data_dir": tmp_path / "data"}
    with ks.Session(checkpoints=f"s3://{s3.new_bucket()}/ckpt/", storage=storage(s3), **options) as made:
        yield made


def pipeline(folder: Path) -> ks.Pipeline:
    return ks.read(ks.MemorySource(ROWS), name="in").write(ks.SqliteSink(folder / "out.db", "out"), name="out")


def test_job_in_a_bucket_survives_its_host_as_far_as_checkpoints_go(session: ks.Session, tmp_path: Path) -> None:
    said = str(session.guarantee(pipeline(tmp_path)))
    assert "ObjectStore" in said
    assert "checkpoints are durable, published atomically and fenced" in said
    assert session.run(pipeline(tmp_path), job="j").status.rows_in == 100


def test_nothing_of_the_checkpoints_is_on_this_host(session: ks.Session, tmp_path: Path) -> None:
    session.run(pipeline(tmp_path), job="j")
    kept = [path.relative_to(tmp_path) for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path for path in kept if path.name != "lock"] == []


def test_second_process_is_refused_on_the_same_host(session: ks.Session, tmp_path: Path) -> None:
    waiting = ks.read(SentinelSource([ROWS.to_batches()[0]], schema=ROWS.schema, bounded=False), name="in")
    with session.start(waiting.write(ks.MemorySink(), name="out"), job="j") as handle:
        handle.checkpoint()
        with pytest.raises(ks.JobLocked):
            session.run(waiting.write(ks.MemorySink(), name="out"), job="j")
        handle.cancel()


def test_command_line_finds_the_checkpoints(
    session: ks.Session,
    tmp_path: Path,
    s3: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    session.run(pipeline(tmp_path), job="first")
    session.run(ks.read(ks.MemorySource(ROWS), name="in").write(ks.MemorySink(), name="out"), job="second")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    place = ["--checkpoints", session.settings.checkpoints, "--storage", f"{s3.endpoint}?region=r"]
    assert main(["checkpoints", "ls", "--json", *place]) == 0
    assert [each["job"] for each in json.loads(capsys.readouterr().out)] == ["first", "second"]
    assert main(["checkpoints", "verify", "first", *place]) == 0
    assert "sound" in capsys.readouterr().out
    assert main(["doctor", "--json", *place]) == 0
    verdicts = {each["check"]: each["verdict"] for each in json.loads(capsys.readouterr().out)}
    assert verdicts["bucket"] == "ok"
    assert main(["checkpoints", "show", "third", *place]) != 0
    assert "first, second" in capsys.readouterr().err


def test_outage_fails_the_checkpoint_that_it_meets_and_nothing_else(own_s3: Gateway, tmp_path: Path) -> None:
    bids = read(source([rows(range(5), keys=20)], bounded=False))
    with started(own_s3, windows(bids).write(ks.ParquetSink(tmp_path / "out"), name="out"), tmp_path) as handle:
        wait_until(lambda: handle.status().rows_in == 100)
        own_s3.kill()
        with pytest.raises(CheckpointFailed):  # its state could not be uploaded
            handle.checkpoint()
        own_s3.start_gateway()
        assert handle.checkpoint() > 1
        assert handle.status().restarts == 0
        handle.stop()


def test_outage_fails_a_checkpoint_of_staged_output_whose_rows_are_in_the_next(own_s3: Gateway, tmp_path: Path) -> None:
    bids = read(source([rows(range(5), keys=20)], bounded=False))
    sink = ks.SqliteSink(tmp_path / "out.db", "out")
    with started(own_s3, bids.write(sink, name="out"), tmp_path) as handle:
        wait_until(lambda: handle.status().rows_in == 100)
        own_s3.kill()
        with pytest.raises(CheckpointFailed):  # the output could not be staged
            handle.checkpoint()
        own_s3.start_gateway()
        assert handle.checkpoint() > 1
        assert handle.status().restarts == 0
        handle.stop()
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT key) FROM out").fetchone() == (100, 20)


def test_entry_of_the_log_that_may_have_been_written_is_written_once_the_server_is_back(
    own_s3: Gateway, tmp_path: Path
) -> None:
    nothing = read(source([], bounded=False))
    with (
        started(own_s3, nothing.write(ks.ParquetSink(tmp_path / "out"), name="out"), tmp_path) as handle,
        ThreadPoolExecutor() as pool,
    ):
        first = handle.checkpoint()
        own_s3.kill()
        waiting = pool.submit(handle.checkpoint)
        with pytest.raises(TimeoutError):
            waiting.result(2)
        assert handle.status().state == "running"
        own_s3.start_gateway()
        assert waiting.result(30) > first
        assert handle.status().restarts == 0
        handle.stop()


@contextmanager
def started(server: Gateway, pipeline: ks.Pipeline, folder: Path) -> Iterator[ks.JobHandle]:
    """Give a running job whose checkpoints are taken on demand."""
    place = {"checkpoints": f"s3://{server.new_bucket()}", "storage": storage(server), "data_dir": folder / "data"}
    with (
        ks.Session(profile="single-node-durable", checkpoint_interval=None, **place) as session,
        session.start(pipeline, job="j") as handle,
    ):
        yield handle


@pytest.mark.parametrize("wrong", [{"secret_key": "canary-77"}, {"endpoint": "http://127.0.0.1:1"}])
def test_bucket_that_cannot_be_opened_is_refused_before_anything_starts(
    s3: Gateway, tmp_path: Path, wrong: dict[str, str]
) -> None:
    own = {"endpoint": s3.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "region": "r", **wrong}
    session = ks.Session(checkpoints="s3://no-such-bucket/a", storage=ks.S3(**own), data_dir=tmp_path)
    with pytest.raises((StoreRefused, StoreUnavailable)) as raised:
        session.run(pipeline(tmp_path))
    assert "canary" not in str(raised.value) + repr(session.settings)
    assert raised.value.hint
