"""Keys, windows and aggregates: their columns, and the mistakes that can be made with them."""

from __future__ import annotations

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_stream import col, lit
from krishiv_stream._plan.nodes import WindowNode


def _window(stream: ks.Stream) -> WindowNode:
    node = stream.node
    assert isinstance(node, WindowNode)
    return node


def test_a_windowed_aggregate_gives_keys_bounds_and_aggregates(bids: ks.Stream) -> None:
    totals = (
        bids.key_by("auction", who=ks.functions.upper(col("bidder")))
        .window(ks.tumble("10s"), allowed_lateness="5s")
        .aggregate(n=ks.count(), top=ks.max("price"), mean=ks.mean("extra", where=col("price") > 5), name="totals")
    )
    time = pa.timestamp("us", tz="UTC")
    assert totals.schema == pa.schema(
        [
            pa.field("auction", pa.int64()),
            pa.field("who", pa.string()),
            pa.field("window_start", time, nullable=False),
            pa.field("window_end", time, nullable=False),
            pa.field("n", pa.int64(), nullable=False),
            pa.field("top", pa.int64()),
            pa.field("mean", pa.float64()),
        ]
    )
    assert totals.event_time == "window_start"
    node = _window(totals)
    assert (node.name, node.lateness, node.input_event_time) == ("totals", 5_000_000, "dateTime")
    assert (node.window.size, node.window.every) == (10_000_000, 10_000_000)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_window_bounds_have_the_type_of_the_event_time(unit: str) -> None:
    kind = pa.timestamp(unit)
    stream = ks.read(ks.MemorySource(pa.table({"t": pa.array([], kind)})), event_time="t")
    schema = stream.window(ks.tumble("1m")).aggregate(n=ks.count()).schema
    assert schema.field("window_start").type == schema.field("window_end").type == kind


def test_a_global_window_has_no_keys(bids: ks.Stream) -> None:
    node = _window(bids.window(ks.hop("10s", every="2s")).aggregate(n=ks.count()))
    assert node.keys == ()
    assert node.schema.names == ["window_start", "window_end", "n"]


def test_windows_may_follow_windows(totals: ks.Stream) -> None:
    again = totals.window(ks.tumble("1m")).aggregate(total=ks.sum("revenue"))
    assert again.schema.names == ["window_start", "window_end", "total"]


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (ks.count, pa.int64()),
        (ks.sum, pa.int64()),
        (ks.min, pa.int64()),
        (ks.max, pa.int64()),
        (ks.mean, pa.float64()),
        (ks.stddev, pa.float64()),
        (ks.variance, pa.float64()),
        (ks.count_distinct, pa.int64()),
        (ks.approx_distinct, pa.uint64()),
        (ks.first, pa.int64()),
        (ks.last, pa.int64()),
        (ks.collect_list, pa.list_(pa.int64())),
    ],
)
def test_every_aggregate_has_its_type(bids: ks.Stream, function: object, kind: pa.DataType) -> None:
    aggregate = function("price", where=col("extra") > 0.5)  # type: ignore[operator]
    schema = bids.window(ks.tumble("1s")).aggregate(x=aggregate).schema
    assert schema.field("x").type == kind


def test_strings_from_expressions_are_ordinary_strings(bids: ks.Stream) -> None:
    stream = bids.key_by(kind=lit("all")).window(ks.tumble("1s")).aggregate(x=ks.first(lit("x")))
    assert stream.schema.field("kind").type == stream.schema.field("x").type == pa.string()


def test_keys_are_called_by_alias_or_text(bids: ks.Stream) -> None:
    keyed = bids.key_by(col("price").alias("p"), col("auction") % lit(2))
    assert _window(keyed.window(ks.tumble("1s")).aggregate(n=ks.count())).schema.names[:2] == [
        "p",
        "auction % Int64(2)",
    ]


def test_float_keys_are_made_equal_where_they_compare_equal(bids: ks.Stream) -> None:
    node = _window(bids.key_by("extra").window(ks.tumble("1s")).aggregate(n=ks.count()))
    ((name, expression),) = node.keys
    assert name == "extra"
    assert "nanvl" in str(expression)
    assert node.schema.field("extra").type == pa.float64()


def test_key_by_needs_keys_that_exist(bids: ks.Stream) -> None:
    with pytest.raises(ks.UnknownColumn, match="auktion"):
        bids.key_by("auktion")
    with pytest.raises(ks.InvalidArgument, match="needs a key"):
        bids.key_by()
    with pytest.raises(ks.DuplicateColumn):
        bids.key_by("auction", auction="price")


def test_a_window_without_event_time_says_how_to_get_one(table: pa.Table) -> None:
    stream = ks.read(ks.MemorySource(table))
    with pytest.raises(ks.NoEventTime) as caught:
        stream.key_by("auction").window(ks.tumble("10s"))
    assert "ks.read(..., event_time=" in caught.value.hint


def test_a_window_says_where_event_time_was_lost(bids: ks.Stream) -> None:
    lost = bids.drop("dateTime").filter(col("price") > 1)
    with pytest.raises(ks.NoEventTime, match=r"'dateTime' was dropped or recomputed at .*test_keyed\.py:"):
        lost.window(ks.tumble("10s"))


def test_a_window_finer_than_the_event_time_is_refused() -> None:
    stream = ks.read(ks.MemorySource(pa.table({"t": pa.array([], pa.timestamp("s"))})), event_time="t")
    with pytest.raises(ks.InvalidWindow, match="finer than the event time"):
        stream.window(ks.tumble("500ms"))
    with pytest.raises(ks.InvalidWindow, match="finer than the event time"):
        stream.window(ks.tumble("2s"), allowed_lateness="1500ms")
    stream.window(ks.tumble("2s"), allowed_lateness="1s")


def test_aggregates_have_to_be_aggregates(bids: ks.Stream) -> None:
    windowed = bids.window(ks.tumble("1s"))
    with pytest.raises(ks.InvalidArgument, match="is no aggregate"):
        windowed.aggregate(n=col("price"))  # type: ignore[arg-type]
    with pytest.raises(ks.InvalidArgument, match="computes nothing"):
        windowed.aggregate()
    with pytest.raises(ks.InvalidArgument, match="names the operator"):
        windowed.aggregate(name=ks.count())  # type: ignore[arg-type]
    with pytest.raises(ks.InvalidArgument, match="neither a column name"):
        windowed.aggregate(n=ks.sum(None))  # type: ignore[arg-type]


def test_aggregates_are_checked_against_the_columns(bids: ks.Stream) -> None:
    windowed = bids.window(ks.tumble("1s"))
    with pytest.raises(ks.WrongType, match="bidder is string"):
        windowed.aggregate(n=ks.sum("bidder"))
    with pytest.raises(ks.UnknownColumn, match="prise"):
        windowed.aggregate(n=ks.sum("prise"))
    with pytest.raises(ks.WrongType, match="filter needs true or false"):
        windowed.aggregate(n=ks.count(where="price"))


@pytest.mark.parametrize("name", ["auction", "window_start", "window_end"])
def test_an_aggregate_cannot_take_the_name_of_a_key_or_bound(bids: ks.Stream, name: str) -> None:
    with pytest.raises(ks.DuplicateColumn, match=name):
        bids.key_by("auction").window(ks.tumble("1s")).aggregate(**{name: ks.count()})  # type: ignore[arg-type]


def test_aggregates_refuse_a_stream_of_changes(bids: ks.Stream) -> None:
    changes = bids.with_columns(_op=lit("+I"))
    with pytest.raises(ks.ChangelogInput):
        changes.window(ks.tumble("1s")).aggregate(n=ks.count())


def test_window_takes_windows_only(bids: ks.Stream) -> None:
    with pytest.raises(ks.InvalidArgument, match="is no window"):
        bids.window("10s")  # type: ignore[arg-type]


def test_windows_need_sizes_above_zero_and_no_gaps() -> None:
    with pytest.raises(ks.InvalidWindow):
        ks.tumble("0s")
    with pytest.raises(ks.InvalidWindow, match="gaps"):
        ks.hop("1s", every="2s")


def test_mistakes_point_at_the_line_that_made_them(bids: ks.Stream) -> None:
    with pytest.raises(ks.PipelineMistake) as caught:
        bids.window(ks.tumble("1s")).aggregate(n=ks.sum("bidder"))
    assert "test_keyed.py:" in caught.value.location
