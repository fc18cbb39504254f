"""A table, its marks or the folder of the job are gone: that is said, and nothing comes twice in silence."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import ForeignMarks, SinkBehind
from krishiv_connectors import SentinelSource
from krishiv_connectors.postgres._errors import TableMissing
from tests.integration.postgres.tables import query

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server("postgres")

SCHEMA = pa.schema([("id", pa.int64())])


def run(database: str, folder: Path, *, stop: bool = False, **options: Any) -> None:
    """Run a job over two rows; with `stop`, up to a pause behind the first, once that is committed."""
    pause = SentinelSource.Pause()
    source = SentinelSource([{"id": 1}, pause, {"id": 2}], schema=SCHEMA)
    pipeline = ks.read(source, name="rows").write(ks.PostgresSink(database, "out"), name="out")
    session = ks.Session(
        profile="single-node-durable",
        data_dir=folder,
        checkpoint_interval="50ms",
        allow_uncertified=True,
        restart_attempts=0,
    )
    with session.start(pipeline, job="shop", **options) as job:
        if stop:
            assert pause.wait_until_reached(20)
            for _ in range(3):  # a manifest says which epochs before it are in
                job.checkpoint()
            job.stop()
        else:
            pause.release()
        job.wait()


def ids(database: str) -> list[int]:
    return [row[0] for row in query(database, "SELECT id FROM out ORDER BY id")]


def test_a_job_that_was_stopped_goes_on_behind_its_marks(database: str, tmp_path: Path) -> None:
    run(database, tmp_path, stop=True)
    assert ids(database) == [1]
    run(database, tmp_path)
    assert ids(database) == [1, 2]


def test_a_job_whose_marks_were_lost_is_refused(database: str, tmp_path: Path) -> None:
    run(database, tmp_path, stop=True)
    query(database, "DROP TABLE _krishiv_marks")
    with pytest.raises(SinkBehind):
        run(database, tmp_path)
    assert ids(database) == [1]


def test_a_job_whose_table_was_lost_is_refused_until_somebody_makes_it(database: str, tmp_path: Path) -> None:
    run(database, tmp_path, stop=True)
    query(database, "DROP TABLE out")
    with pytest.raises(TableMissing, match=r"public\.out is gone") as caught:
        run(database, tmp_path)
    assert "make it anew" in caught.value.hint
    query(database, "CREATE TABLE out (id bigint)")
    run(database, tmp_path)
    assert ids(database) == [2]


def test_a_job_whose_folder_was_lost_is_refused(database: str, tmp_path: Path) -> None:
    run(database, tmp_path / "data", stop=True)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(ForeignMarks):
        run(database, tmp_path / "data")
    assert ids(database) == [1]
    run(database, tmp_path / "data", on_sink_ahead="duplicate")
    assert ids(database) == [1, 1, 2]
