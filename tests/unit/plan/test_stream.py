"""Each method of a stream gives a new one with the columns it says, and refuses what cannot be."""

from __future__ import annotations

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_stream import col, lit
from krishiv_stream._plan.nodes import MapRowsNode, ProjectNode


def test_streams_are_immutable(bids: ks.Stream) -> None:
    before = bids.schema
    bids.select("price")
    assert bids.schema == before
    with pytest.raises(AttributeError):
        bids.other = 1  # type: ignore[attr-defined]


def test_filter_keeps_columns_and_event_time(bids: ks.Stream) -> None:
    kept = bids.filter(col("price") > lit(10))
    assert kept.schema == bids.schema
    assert kept.event_time == "dateTime"


def test_filter_takes_python_values_and_boolean_columns(bids: ks.Stream) -> None:
    bids.filter(col("bidder") == "ann")
    bids.select(flag=col("price") > 10).filter("flag")


def test_filter_refuses_what_is_not_boolean(bids: ks.Stream) -> None:
    with pytest.raises(ks.WrongType, match="price is int64"):
        bids.filter("price")


def test_filter_refuses_window_functions(bids: ks.Stream) -> None:
    with pytest.raises(ks.NotRowWise, match="looks at other rows"):
        bids.filter(ks.functions.row_number() > lit(1))


def test_select_takes_names_expressions_and_keywords_in_order(bids: ks.Stream) -> None:
    chosen = bids.select(
        "price", col("bidder").alias("who"), col("auction"), euros=col("price") * lit(0.908), at="dateTime"
    )
    assert chosen.schema == pa.schema(
        [
            ("price", pa.int64()),
            ("who", pa.string()),
            ("auction", pa.int64()),
            ("euros", pa.float64()),
            ("at", pa.timestamp("us", tz="UTC")),
        ]
    )


def test_select_of_nothing_is_refused(bids: ks.Stream) -> None:
    with pytest.raises(ks.InvalidArgument, match="no column is left"):
        bids.select()


def test_select_refuses_one_name_twice(bids: ks.Stream) -> None:
    with pytest.raises(ks.DuplicateColumn, match="'price'"):
        bids.select("price", price=col("auction"))


def test_select_refuses_other_values(bids: ks.Stream) -> None:
    with pytest.raises(ks.InvalidArgument, match="neither a column name nor an expression"):
        bids.select(5)  # type: ignore[arg-type]


def test_with_columns_replaces_in_place_and_appends(bids: ks.Stream) -> None:
    more = bids.with_columns(price=col("price") * lit(0.5), twice=col("price") * lit(2))
    assert more.schema.names == ["auction", "price", "bidder", "dateTime", "extra", "twice"]
    assert more.schema.field("price").type == pa.float64()
    assert more.schema.field("twice").type == pa.int64()


def test_with_columns_refuses_one_name_twice(bids: ks.Stream) -> None:
    with pytest.raises(ks.DuplicateColumn):
        bids.with_columns(col("price").alias("x"), x=col("auction"))


def test_drop_leaves_the_rest_and_knows_its_columns(bids: ks.Stream) -> None:
    assert bids.drop("extra", "bidder").schema.names == ["auction", "price", "dateTime"]
    with pytest.raises(ks.UnknownColumn, match=r"did you mean ks\.col\(\"extra\"\)"):
        bids.drop("extras")


def test_rename_keeps_order_and_types(bids: ks.Stream) -> None:
    renamed = bids.rename({"price": "auction", "auction": "price"})
    assert renamed.schema.names == ["price", "auction", "bidder", "dateTime", "extra"]
    with pytest.raises(ks.DuplicateColumn):
        bids.rename({"price": "auction"})
    with pytest.raises(ks.UnknownColumn):
        bids.rename({"prize": "x"})


def test_event_time_follows_its_column_through_renames(bids: ks.Stream) -> None:
    assert bids.rename({"dateTime": "at"}).event_time == "at"
    assert bids.select(at="dateTime").event_time == "at"
    assert bids.select("dateTime", at="dateTime").event_time == "dateTime"
    assert bids.with_columns(price=col("price") + lit(1)).event_time == "dateTime"


def test_event_time_is_lost_when_dropped_or_computed_anew(bids: ks.Stream) -> None:
    assert bids.drop("dateTime").event_time is None
    assert bids.with_columns(dateTime=ks.functions.date_trunc("second", col("dateTime"))).event_time is None


def test_map_batches_gives_the_columns_it_declares(bids: ks.Stream) -> None:
    assert bids.map_batches(lambda batch: batch).schema == bids.schema
    schema = pa.schema([("x", pa.int64())])
    mapped = bids.map_batches(lambda batch: batch, schema=schema)
    assert mapped.schema == schema
    assert mapped.event_time is None


def test_row_functions_are_marked_flat_and_deterministic(bids: ks.Stream) -> None:
    node = bids.flat_map_rows(lambda row: [row, row], deterministic=True).node
    assert isinstance(node, MapRowsNode)
    assert node.flat
    assert node.deterministic
    assert not bids.map_rows(lambda row: row).node.deterministic  # type: ignore[attr-defined]


def test_functions_and_schemas_are_checked(bids: ks.Stream) -> None:
    with pytest.raises(ks.InvalidArgument, match="cannot be called"):
        bids.map_rows("upper")  # type: ignore[arg-type]
    with pytest.raises(ks.InvalidArgument, match="is no schema"):
        bids.map_rows(lambda row: row, schema={"x": "int64"})  # type: ignore[arg-type]


def test_union_gives_rows_of_equal_columns(bids: ks.Stream) -> None:
    both = bids.union(bids.filter(col("price") > lit(1)), bids)
    assert both.schema == bids.schema
    assert both.event_time == "dateTime"
    assert len(both.node.inputs) == 3


def test_union_says_how_columns_differ(bids: ks.Stream) -> None:
    with pytest.raises(ks.SchemaMismatch, match="extra is missing"):
        bids.union(bids.drop("extra"))
    with pytest.raises(ks.SchemaMismatch, match="price is double, not int64"):
        bids.union(bids.with_columns(price=col("price") * lit(0.5)))
    with pytest.raises(ks.SchemaMismatch, match="their order is price, auction, not auction, price"):
        bids.select("auction", "price").union(bids.select("price", "auction"))


def test_union_refuses_different_event_times(bids: ks.Stream) -> None:
    plain = bids.with_columns(dateTime=col("dateTime") + lit(pa.scalar(0, pa.duration("us"))))
    with pytest.raises(ks.SchemaMismatch, match="'dateTime' and None"):
        bids.union(plain)


def test_union_makes_a_column_nullable_if_it_is_in_any(bids: ks.Stream) -> None:
    strict = bids.select("price", one=lit(1))
    loose = bids.select("price", one=col("auction"))
    both = strict.union(loose)
    assert both.schema.field("one").nullable
    assert {type(node) for node in both.node.inputs} == {ProjectNode}
    assert all(node.schema == both.schema for node in both.node.inputs)


def test_union_takes_streams_only(bids: ks.Stream, table: pa.Table) -> None:
    with pytest.raises(ks.InvalidArgument, match="is no stream"):
        bids.union(table)


def test_side_output_is_there_after_a_windowed_aggregate_only(bids: ks.Stream, totals: ks.Stream) -> None:
    late = totals.side_output("late")
    assert late.schema == bids.schema
    assert late.event_time == "dateTime"
    with pytest.raises(ks.InvalidArgument, match="no side output 'late'"):
        bids.side_output("late")
    with pytest.raises(ks.InvalidArgument, match="no side output 'early'"):
        totals.side_output("early")


def test_write_refuses_what_is_no_sink_and_names_that_are_no_names(bids: ks.Stream) -> None:
    with pytest.raises(ks.InvalidArgument, match="is no sink"):
        bids.write("out")  # type: ignore[arg-type]
    with pytest.raises(ks.InvalidName, match="'my sink'"):
        bids.write(ks.MemorySink(), name="my sink")


def test_write_takes_over_what_the_sink_says_of_itself(bids: ks.Stream) -> None:
    assert bids.write(ks.PrintSink()).sinks[0].diagnostic
    assert not bids.write(ks.MemorySink()).sinks[0].diagnostic
    assert bids.write(ks.MemorySink(), diagnostic=True).sinks[0].diagnostic


def test_nodes_know_the_line_they_were_written_at(bids: ks.Stream) -> None:
    assert "test_stream.py:" in bids.filter(col("price") > lit(1)).node.location


def test_repr_shows_columns_and_types(bids: ks.Stream) -> None:
    assert repr(bids.select("price", "bidder")) == "Stream(price: int64, bidder: string)"
