"""Mistakes in a pipeline over files: raised where the user wrote them, with what to write, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_connectors._errors import UnsupportedColumn
from krishiv_stream import col, lit
from tests.fault.child import SCHEMA
from tests.integration.bad_input.support import FileJob, durable, expect

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def job(tmp_path: Path) -> FileJob:
    """A job over Parquet files."""
    return FileJob(tmp_path)


@pytest.fixture
def bids(job: FileJob) -> ks.Stream:
    """Its rows."""
    return ks.read(ks.ParquetSource(job.pattern), event_time="date_time", name="bids")


Mistakes = dict[str, "Callable[[ks.Stream], Any]"]

UNKNOWN: Mistakes = {
    "filter": lambda bids: bids.filter(col("prise") > 1),
    "select": lambda bids: bids.select("id", "prise"),
    "with_columns": lambda bids: bids.with_columns(double=col("prise") * 2),
    "drop": lambda bids: bids.drop("prise"),
    "rename": lambda bids: bids.rename({"prise": "cost"}),
    "key_by": lambda bids: bids.key_by("prise"),
    "aggregate": lambda bids: bids.key_by("auction").window(ks.tumble("10s")).aggregate(top=ks.max("prise")),
    "where": lambda bids: bids.key_by("auction").window(ks.tumble("10s")).aggregate(n=ks.count(where=col("prise") > 1)),
}


@pytest.mark.parametrize("place", UNKNOWN)
def test_unknown_column_is_refused_at_the_users_line_with_the_likely_name(bids: ks.Stream, place: str) -> None:
    with expect(ks.UnknownColumn, "KS-PLAN-COLUMN", "'prise'", 'ks.col("price")') as told:
        UNKNOWN[place](bids)
    assert told.value.location.partition(":")[0].endswith(Path(__file__).name)


def test_unknown_event_time_column_is_refused_with_the_likely_name(job: FileJob) -> None:
    with expect(ks.UnknownColumn, "KS-PLAN-COLUMN", "'datetime'", '"date_time"'):
        ks.read(ks.ParquetSource(job.pattern), event_time="datetime")


WRONG: Mistakes = {
    "comparison": lambda bids: bids.filter(col("price") > col("date_time")),
    "arithmetic": lambda bids: bids.with_columns(later=col("date_time") * lit(2)),
    "condition": lambda bids: bids.filter(col("price") + lit(1)),
    "aggregate": lambda bids: bids.key_by("auction").window(ks.tumble("10s")).aggregate(total=ks.sum("date_time")),
}


@pytest.mark.parametrize("place", WRONG)
def test_wrong_type_is_refused_at_the_users_line(bids: ks.Stream, place: str) -> None:
    with expect(ks.WrongType, "KS-PLAN-TYPE") as told:
        WRONG[place](bids)
    assert told.value.location.partition(":")[0].endswith(Path(__file__).name)


@pytest.mark.parametrize("column", ["price", "auction"])
def test_event_time_that_is_no_timestamp_is_refused(job: FileJob, column: str) -> None:
    with expect(ks.InvalidEventTime, "KS-PLAN-EVENT-TIME-TYPE", column, "int64", "timestamp"):
        ks.read(ks.ParquetSource(job.pattern), event_time=column)


def test_window_without_event_time_is_refused(job: FileJob) -> None:
    rows = ks.read(ks.ParquetSource(job.pattern))
    with expect(ks.NoEventTime, "KS-PLAN-EVENT-TIME", "event_time="):
        rows.key_by("auction").window(ks.tumble("10s"))


def test_watermark_without_event_time_is_refused(job: FileJob) -> None:
    with expect(ks.InvalidArgument, "KS-PLAN-ARGUMENT", "event_time="):
        ks.read(ks.ParquetSource(job.pattern), watermark=ks.bounded_delay("1s"))


def test_sink_that_cannot_store_a_column_is_refused_before_anything_is_written(job: FileJob, bids: ks.Stream) -> None:
    def with_list(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise AssertionError("nothing may run")

    nested = bids.map_batches(with_list, schema=pa.schema([*SCHEMA, pa.field("all", pa.list_(pa.int64()))]))
    with durable(job.data) as session, expect(UnsupportedColumn, "KS-SINK-TYPE", "'all'", "cast"):
        session.run(nested.write(ks.SqliteSink(job.folder / "out.db", "out"), name="out"), job=job.name)
    assert not job.data.exists()
    assert not (job.folder / "out.db").exists()
