"""A user's function that raises or returns something else than it said, and rows without an event time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import JobOver
from krishiv_stream import col
from krishiv_stream._engine.errors import NullEventTime, TaskFailed, WrongFunctionOutput
from tests.fault import child
from tests.fault.child import SCHEMA
from tests.integration.bad_input.support import RATE, ROWS, FileJob, durable, expect

BatchFunction = Callable[[pa.RecordBatch], Any]


@pytest.fixture
def job(tmp_path: Path) -> FileJob:
    """A job over Parquet files."""
    return FileJob(tmp_path)


def totals(job: FileJob, rows: ks.Stream) -> ks.Pipeline:
    """Return what `tests.fault` calls "tumble", over `rows`."""
    windows = rows.key_by("auction").window(ks.tumble("10s"))
    sums = windows.aggregate(name="totals", bids=ks.count(), revenue=ks.sum("price"), top=ks.max("price"))
    return sums.write(child.sink(job.spec()["sinks"]["tumble"]), name="tumble")


def bids(job: FileJob, rate: float | None = None) -> ks.Stream:
    source = child.source(job.spec()["source"])
    return ks.read(source, event_time="date_time", watermark=ks.bounded_delay("2s"), name="bids", max_rate=rate).filter(
        col("price") > 10
    )


def ends_with(job: FileJob, make: Callable[[ks.Stream], ks.Stream], *refusal: Any) -> pytest.ExceptionInfo[Any]:
    """Run the job over `make`'s rows until it fails, with checkpoints before that."""
    with durable(job.data) as session:
        handle = session.start(totals(job, make(bids(job, RATE))), job=job.name)
        with expect(*refusal) as told:
            handle.wait()
        status = handle.status()
        with expect(JobOver, "KS-JOB-OVER", "failed"):
            handle.checkpoint()
    assert status.epoch_completed > 0
    assert (status.state, status.error) == ("failed", str(told.value))
    return told


def resumes_with(job: FileJob, make: Callable[[ks.Stream], ks.Stream]) -> None:
    with durable(job.data) as session:
        result = session.run(totals(job, make(bids(job))), job=job.name)
    assert 0 < result.status.rows_in < ROWS
    job.check()


def from_row(row: int, spoil: BatchFunction) -> BatchFunction:
    """Return a function that gives batches back, but from the one that holds `row` on what `spoil` makes of them."""

    def function(batch: pa.RecordBatch) -> Any:
        return spoil(batch) if pc.max(batch["id"]).as_py() >= row else batch

    return function


def unchanged(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def divide_by_zero(batch: pa.RecordBatch) -> pa.RecordBatch:
    raise ZeroDivisionError(f"no share of {batch.num_rows - batch.num_rows} bids")


def test_function_that_raises_ends_the_job_which_resumes_with_one_that_does_not(job: FileJob) -> None:
    told = ends_with(
        job,
        lambda rows: rows.map_batches(from_row(ROWS // 2, divide_by_zero), schema=SCHEMA),
        *(TaskFailed, "KS-TASK", "ZeroDivisionError: no share of 0 bids", f"{Path(__file__).name}:", "divide_by_zero"),
    )
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    resumes_with(job, lambda rows: rows.map_batches(unchanged, schema=SCHEMA))


def test_row_function_that_raises_ends_the_job_which_resumes_with_one_that_does_not(job: FileJob) -> None:
    def function(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "price": row["price"] // (row["id"] != ROWS // 2)}

    ends_with(
        job,
        lambda rows: rows.map_rows(function, schema=SCHEMA),
        *(TaskFailed, "KS-TASK", "ZeroDivisionError", f"{Path(__file__).name}:", "in function"),
    )
    resumes_with(job, lambda rows: rows.map_rows(lambda row: row, schema=SCHEMA))


WRONG: dict[str, tuple[BatchFunction, str]] = {
    "column missing": (lambda batch: batch.drop_columns(["price"]), "price"),
    "column new": (lambda batch: batch.append_column("more", batch["id"]), "more"),
    "other type": (lambda batch: batch.set_column(2, "price", batch["price"].cast(pa.float64())), "double"),
    "nothing": (lambda batch: None, "NoneType"),
    "pandas-like": (lambda batch: batch.to_pydict(), "dict"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_function_that_returns_something_else_ends_the_job_which_resumes_with_one_that_does_not(
    job: FileJob, kind: str
) -> None:
    spoil, said = WRONG[kind]
    ends_with(
        job,
        lambda rows: rows.map_batches(from_row(ROWS // 3, spoil), schema=SCHEMA),
        *(WrongFunctionOutput, "KS-FUNCTION-OUTPUT", said, "schema="),
    )
    resumes_with(job, lambda rows: rows.map_batches(unchanged, schema=SCHEMA))


WRONG_ROWS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "other type": (lambda row: {**row, "price": "much"}, "price"),
    "column new": (lambda row: {**row, "more": 1}, "more"),
    "no dict": (lambda row: row["price"], "int"),
    "nothing": (lambda row: None, "NoneType"),
}


@pytest.mark.parametrize("kind", WRONG_ROWS)
def test_row_function_that_returns_something_else_is_refused(job: FileJob, kind: str) -> None:
    wrong, said = WRONG_ROWS[kind]
    with (
        durable(job.data) as session,
        expect(WrongFunctionOutput, "KS-FUNCTION-OUTPUT", said, "schema="),
    ):
        session.run(totals(job, bids(job).map_rows(wrong, schema=SCHEMA)), job=job.name)
    with durable(job.data) as session:
        session.run(totals(job, bids(job).map_rows(lambda row: row, schema=SCHEMA)), job=job.name)
    job.check()


# ---------------------------------------------------------------- event time


def without_times(path: Path) -> None:
    """Take the event time of every hundredth row of a CSV file away."""
    lines = path.read_text().splitlines()
    lines[100::100] = [line.rpartition(",")[0] + "," for line in lines[100::100]]
    path.write_text("\n".join(lines) + "\n")


def test_null_event_time_ends_the_job_which_resumes_once_the_input_is_mended(tmp_path: Path) -> None:
    job = FileJob(tmp_path, kind="csv")
    spoilt = job.files[1]
    whole = spoilt.read_text()
    without_times(spoilt)
    ends_with(job, lambda rows: rows, NullEventTime, "KS-EVENT-TIME-NULL", "'date_time'", "filter", "is_not_null")
    spoilt.write_text(whole)
    resumes_with(job, lambda rows: rows)


def test_null_event_time_ends_the_job_which_resumes_with_a_filter_for_it(tmp_path: Path) -> None:
    job = FileJob(tmp_path, kind="csv")
    without_times(job.files[1])
    ends_with(job, lambda rows: rows, NullEventTime, "KS-EVENT-TIME-NULL", "'date_time'", "filter", "is_not_null")
    with durable(job.data) as session:
        result = session.run(totals(job, bids(job).filter(col("date_time").is_not_null())), job=job.name)
    assert 0 < result.status.rows_in < ROWS
    lines = [line for line in job.files[1].read_text().splitlines(keepends=True) if not line.endswith(",\n")]
    job.files[1].write_text("".join(lines))
    job.check()
