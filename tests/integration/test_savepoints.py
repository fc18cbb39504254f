"""Savepoints: immutable, restorable in another job, at another parallelism, in another state backend, many times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import krishiv_stream as ks

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 30_000


def table() -> pa.Table:
    numbers = np.random.default_rng(1)
    return pa.table(
        {
            "key": numbers.integers(0, 40, ROWS),
            "value": numbers.integers(0, 100, ROWS),
            "moment": pa.array(np.arange(ROWS) * 2_000).cast(pa.timestamp("us", tz="UTC")),
        }
    )


def pipeline(sink: ks.Sink, *, rate: float | None = None, name: str = "totals") -> ks.Pipeline:
    rows = ks.read(
        ks.MemorySource(table()), event_time="moment", watermark=ks.bounded_delay("1s"), name="rows", max_rate=rate
    )
    windows = rows.key_by("key").window(ks.hop("10s", "5s"))
    totals = windows.aggregate(name=name, total=ks.sum("value"), n=ks.count())
    return totals.write(sink, name="out")


def session(folder: Path, **options: Any) -> ks.Session:
    return ks.Session(profile="single-node-durable", data_dir=folder, checkpoint_interval="50ms", **options)


def rows(output: pa.Table) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in output.to_pylist())


@pytest.fixture(scope="module")
def expected() -> list[tuple[Any, ...]]:
    sink = ks.MemorySink()
    with ks.Session() as plain:
        plain.run(pipeline(sink))
    return rows(sink.table())


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Path, ks.MemorySink]:
    """A job that was stopped half-way with a savepoint called "half"."""
    sink = ks.MemorySink()
    with session(tmp_path) as running, running.start(pipeline(sink, rate=20_000), job="first") as handle:
        while handle.status().rows_in < ROWS // 3:
            handle.checkpoint()
        handle.stop(savepoint="half")
    assert sink.table().num_rows > 0
    return tmp_path, sink


def test_stopped_job_goes_on_where_it_was(stopped, expected):
    folder, sink = stopped
    with session(folder) as again:
        assert again.run(pipeline(sink), job="first").state == "finished"
    assert rows(sink.table()) == expected


@pytest.mark.parametrize(("parallelism", "state"), [(1, "memory"), (3, "rocksdb"), (2, "memory")])
def test_savepoint_starts_another_job_at_another_parallelism_and_backend(stopped, expected, parallelism, state):
    folder, before = stopped
    location = str(folder / "jobs" / "first" / "savepoints" / "half")
    for fork in ("second", "third"):
        sink = ks.MemorySink()
        with session(folder, parallelism=parallelism, state=state) as other:
            result = other.run(pipeline(sink), job=fork, restore=location)
        assert result.state == "finished"
        assert rows(before.table()) + rows(sink.table()) != []
        assert sorted(rows(before.table()) + rows(sink.table())) == expected


def test_savepoint_of_a_named_operator_restores_under_a_new_name_with_a_map(stopped, expected):
    folder, before = stopped
    location = str(folder / "jobs" / "first" / "savepoints" / "half")
    sink = ks.MemorySink()
    with session(folder) as other:
        with pytest.raises(ks.OtherTopology, match="totals"):
            other.run(pipeline(sink, name="sums"), job="second", restore=location)
        other.run(pipeline(sink, name="sums"), job="third", restore=location, state_map={"totals": "sums"})
    assert sorted(rows(before.table()) + rows(sink.table())) == expected


def test_older_savepoint_is_refused_while_the_sink_holds_newer_epochs(stopped, expected):
    folder, sink = stopped
    with session(folder) as again:
        again.run(pipeline(sink), job="first")
        with pytest.raises(ks.SinkAhead, match="epoch"):
            again.run(pipeline(sink), job="first", restore="half")
    assert rows(sink.table()) == expected


def test_finished_job_returns_its_result_again_and_does_nothing(stopped, expected):
    folder, sink = stopped
    with session(folder) as again:
        again.run(pipeline(sink), job="first")
        assert again.run(pipeline(sink), job="first").state == "finished"
    assert rows(sink.table()) == expected


def test_drained_job_closes_its_windows_and_is_finished_for_good(tmp_path):
    sink = ks.MemorySink()
    with session(tmp_path) as running, running.start(pipeline(sink, rate=20_000), job="first") as handle:
        while handle.status().rows_in < ROWS // 3:
            handle.checkpoint()
        assert handle.stop(drain=True).state == "finished"
        read = handle.status().rows_in
    assert sum(row["n"] for row in sink.table().to_pylist()) == 2 * read
