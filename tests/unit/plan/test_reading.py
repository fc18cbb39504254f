"""`read` begins a stream and refuses what no stream can begin with."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_stream._plan.nodes import SourceNode


def _source(**columns: pa.DataType) -> ks.Source[Any]:
    return ks.MemorySource(pa.table({name: pa.array([], kind) for name, kind in columns.items()}))


def test_read_keeps_its_options(table: pa.Table) -> None:
    source, letters = ks.MemorySource(table), ks.MemorySink()
    node = ks.read(source, event_time="dateTime", name="bids", max_rate=5, on_bad_row=letters).node
    assert isinstance(node, SourceNode)
    assert (node.source, node.name, node.max_rate, node.on_bad_row) == (source, "bids", 5, letters)
    assert node.watermark is None
    assert node.schema == table.schema


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "+00:00"])
def test_event_time_may_be_any_utc_timestamp(unit: str, zone: str | None) -> None:
    assert ks.read(_source(t=pa.timestamp(unit, zone)), event_time="t").event_time == "t"


def test_event_time_in_another_zone_is_refused_with_a_way_out() -> None:
    with pytest.raises(ks.InvalidEventTime, match="Europe/Berlin") as caught:
        ks.read(_source(t=pa.timestamp("ms", "Europe/Berlin")), event_time="t")
    assert 'timestamp("ms", tz="UTC")' in caught.value.hint


def test_event_time_has_to_be_a_timestamp() -> None:
    with pytest.raises(ks.InvalidEventTime, match="'t' is int64"):
        ks.read(_source(t=pa.int64()), event_time="t")


def test_event_time_has_to_be_a_column(table: pa.Table) -> None:
    with pytest.raises(ks.UnknownColumn, match="dateTime"):
        ks.read(ks.MemorySource(table), event_time="datetime")


def test_a_watermark_needs_event_time(table: pa.Table) -> None:
    with pytest.raises(ks.InvalidArgument, match="needs event time"):
        ks.read(ks.MemorySource(table), watermark=ks.monotonic())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"watermark": "4s"}, "no watermark strategy"),
        ({"max_rate": 0}, "max_rate=0"),
        ({"on_bad_row": "skip"}, "on_bad_row='skip'"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, object], text: str, table: pa.Table) -> None:
    with pytest.raises(ks.InvalidArgument, match=text):
        ks.read(ks.MemorySource(table), event_time="dateTime", **options)  # type: ignore[arg-type]


def test_a_path_is_no_source() -> None:
    with pytest.raises(ks.InvalidArgument, match="is no source"):
        ks.read("bids/*.parquet")  # type: ignore[arg-type]


def test_a_source_with_one_column_twice_is_refused() -> None:
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(ks.DuplicateColumn):
        ks.read(ks.MemorySource(doubled))
