"""The seam between sync and async: every method gives the same answer both ways, also inside a running event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import SavepointExists
from krishiv_stream._engine.errors import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = 4_000
TABLE = pa.table(
    {
        "key": [row % 5 for row in range(ROWS)],
        "value": list(range(ROWS)),
        "at": pa.array([row * 10_000 for row in range(ROWS)], pa.timestamp("us", tz="UTC")),
    }
)
WAYS = ["sync", "async", "sync inside a loop"]


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Call a method of a session or a handle in one of the ways."""

    def sync(target: Any, method: str, *args: Any, **options: Any) -> Any:
        return getattr(target, method)(*args, **options)

    def awaited(target: Any, method: str, *args: Any, **options: Any) -> Any:
        return asyncio.run(getattr(target, f"{method}_async")(*args, **options))

    def inside(target: Any, method: str, *args: Any, **options: Any) -> Any:
        async def call() -> Any:
            return getattr(target, method)(*args, **options)

        return asyncio.run(call())

    return dict(zip(WAYS, (sync, awaited, inside), strict=True))[request.param]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[ks.Session]:
    """A durable session."""
    with ks.Session(profile="single-node-durable", data_dir=tmp_path, checkpoint_interval="50ms") as session:
        yield session


@pytest.fixture
def sink() -> ks.MemorySink:
    """Where the totals go."""
    return ks.MemorySink()


@pytest.fixture
def pipeline(sink: ks.MemorySink) -> ks.Pipeline:
    """Totals per key and ten seconds."""
    return totals(sink)


@pytest.fixture
def slow(sink: ks.MemorySink) -> ks.Pipeline:
    """The same, for several seconds."""
    return totals(sink, rate=1_000)


def totals(sink: ks.Sink, rate: float | None = None) -> ks.Pipeline:
    rows = ks.read(ks.MemorySource(TABLE), event_time="at", name="rows", max_rate=rate)
    sums = rows.key_by("key").window(ks.tumble("10s")).aggregate(name="sums", total=ks.sum("value"))
    return sums.write(sink, name="totals")


def check(sink: ks.MemorySink) -> None:
    assert sink.table().num_rows == 5 * 4
    assert sum(sink.table()["total"].to_pylist()) == sum(range(ROWS))


# What a test below covers; every method that has an async twin is there.
COVERED = {
    ks.Session: {"explain", "guarantee", "run", "start", "accept_plan", "collect_batch_sql"},
    ks.JobHandle: {"wait", "checkpoint", "savepoint", "stop", "cancel"},
}


@pytest.mark.parametrize("kind", COVERED)
def test_every_async_method_has_a_sync_one_and_is_covered_here(kind: type) -> None:
    twins = {name.removesuffix("_async") for name in dir(kind) if name.endswith("_async") and name[0] != "_"}
    assert twins == COVERED[kind]
    assert all(callable(getattr(kind, name)) for name in twins)


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("method", ["explain", "guarantee"])
def test_questions_about_a_pipeline_get_the_same_answer(
    ask: Callable[..., Any], session: ks.Session, pipeline: ks.Pipeline, method: str
) -> None:
    expected = {"explain": "MemorySource", "guarantee": "best_effort"}[method]
    answer = ask(session, method, pipeline)
    assert expected in str(answer)
    assert str(answer) == str(getattr(session, method)(pipeline))


def test_run_runs_to_the_end(
    ask: Callable[..., Any], session: ks.Session, pipeline: ks.Pipeline, sink: ks.MemorySink
) -> None:
    result = ask(session, "run", pipeline, job="job")
    assert (result.state, result.status.rows_in, result.job) == ("finished", ROWS, "job")
    check(sink)


@pytest.mark.parametrize("method", ["start", "accept_plan"])
def test_started_job_is_waited_for(
    ask: Callable[..., Any], session: ks.Session, pipeline: ks.Pipeline, sink: ks.MemorySink, method: str
) -> None:
    handle = ask(session, method, pipeline, job="job")
    assert isinstance(handle, ks.JobHandle)
    assert ask(handle, "wait").state == "finished"
    check(sink)


def test_running_job_takes_checkpoints_and_savepoints_and_stops(
    ask: Callable[..., Any], session: ks.Session, slow: ks.Pipeline, sink: ks.MemorySink
) -> None:
    handle = ask(session, "start", slow, job="job")
    assert ask(handle, "checkpoint") >= 1
    assert ask(handle, "savepoint", "kept") == "kept"
    with pytest.raises(SavepointExists):
        ask(handle, "savepoint", "kept")
    with pytest.raises(TimeoutError):
        ask(handle, "wait", 0.01)
    assert ask(handle, "stop").state == "stopped"
    assert ask(session, "run", totals(sink), job="job").state == "finished"
    check(sink)


def test_cancelled_job_ends_at_once(ask: Callable[..., Any], session: ks.Session, slow: ks.Pipeline) -> None:
    handle = ask(session, "start", slow, job="job")
    ask(handle, "checkpoint")
    assert ask(handle, "cancel") is None
    assert ask(handle, "wait").state == "cancelled"


def test_batch_query_gives_its_rows(ask: Callable[..., Any], session: ks.Session) -> None:
    session.register("rows", TABLE)
    query = "select key, sum(value) as total from rows group by key order by key"
    assert ask(session, "collect_batch_sql", query).to_pydict() == {
        "key": [0, 1, 2, 3, 4],
        "total": [sum(range(key, ROWS, 5)) for key in range(5)],
    }


# ---------------------------------------------------------------- errors


def test_refusals_are_the_same(ask: Callable[..., Any], session: ks.Session, pipeline: ks.Pipeline) -> None:
    for method in ("run", "start", "accept_plan"):
        with pytest.raises(ks.GuaranteeError, match="exactly_once") as told:
            ask(session, method, pipeline, job="job", require="exactly_once")
        assert told.value.report == session.guarantee(pipeline)
    with pytest.raises(ks.PlanError, match="nowhere"):
        ask(session, "collect_batch_sql", "select * from nowhere")


def test_failure_of_a_job_is_the_same(ask: Callable[..., Any], session: ks.Session, sink: ks.MemorySink) -> None:
    def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise ValueError("the user's own mistake")

    failing = ks.read(ks.MemorySource(TABLE)).map_batches(fail, schema=TABLE.schema).write(sink, name="out")
    with pytest.raises(TaskFailed, match="the user's own mistake"):
        ask(session, "run", failing, job="job")
    handle = ask(session, "start", failing, job="again")
    with pytest.raises(TaskFailed, match="the user's own mistake"):
        ask(handle, "wait")


# ---------------------------------------------------------------- the loop stays free


async def longest_pause(done: asyncio.Task[Any]) -> tuple[float, int]:
    """Return the longest time for which the loop did nothing else until `done`, and how often it got its turn."""
    longest, turns, before = 0.0, 0, time.monotonic()
    while not done.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        longest, turns, before = max(longest, now - before), turns + 1, now
    return longest, turns


def test_loop_stays_free_during_a_batch_query(session: ks.Session) -> None:
    session.register("rows", pa.table({"x": pa.array(range(20_000), pa.int64())}))

    async def query() -> tuple[float, float, int, Any]:
        began = time.monotonic()
        text = "select sum((a.x * b.x) % 7) as total from rows a cross join rows b"
        running = asyncio.create_task(session.collect_batch_sql_async(text))
        longest, turns = await longest_pause(running)
        return time.monotonic() - began, longest, turns, await running

    took, longest, turns, answer = asyncio.run(query())
    assert answer.num_rows == 1
    assert longest < took / 2
    assert turns > 5


def test_loop_stays_free_while_jobs_run_side_by_side(session: ks.Session) -> None:
    sinks = [ks.MemorySink(), ks.MemorySink()]

    async def both() -> tuple[float, float, int]:
        began = time.monotonic()
        runs = [session.run_async(totals(sink, rate=8_000), job=f"job-{n}") for n, sink in enumerate(sinks)]
        running = asyncio.create_task(asyncio.wait([asyncio.create_task(run) for run in runs]))
        longest, turns = await longest_pause(running)
        return time.monotonic() - began, longest, turns

    took, longest, turns = asyncio.run(both())
    assert longest < took / 2
    assert turns > 5
    for sink in sinks:
        check(sink)
