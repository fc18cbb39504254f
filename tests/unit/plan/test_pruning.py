"""What is read and computed is what is used, and every node says truly which columns its batches have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import krishiv_stream as ks
from krishiv_stream import col, lit
from krishiv_stream._expressions.compiled import compile_steps
from krishiv_stream._plan.identity import required_columns
from krishiv_stream._plan.nodes import FilterNode, Node, ProjectNode, SideOutputNode, UnionNode, WindowNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


def _columns(pipeline: ks.Pipeline) -> tuple[str, ...]:
    (columns,) = required_columns(pipeline).values()
    return columns


def _only(pipeline: ks.Pipeline, kind: type[Node]) -> Node:
    (node,) = (node for node in pipeline.nodes if isinstance(node, kind))
    return node


def _write(stream: ks.Stream) -> ks.Pipeline:
    return stream.write(ks.MemorySink())


def test_a_projection_reads_what_it_gives_and_the_event_time_of_the_watermark(bids: ks.Stream) -> None:
    assert _columns(_write(bids.select("price", "auction"))) == ("auction", "price", "dateTime")


def test_the_event_time_is_not_read_when_nothing_uses_it(table: pa.Table) -> None:
    bids = ks.read(ks.MemorySource(table), event_time="dateTime")
    assert _columns(_write(bids.select("price", "auction"))) == ("auction", "price")
    assert "dateTime" in _columns(_write(bids.select("dateTime").window(ks.tumble("1s")).aggregate(n=ks.count())))


def test_a_filter_reads_its_columns_too(bids: ks.Stream) -> None:
    assert "extra" in _columns(_write(bids.filter(col("extra") > lit(0.0)).select("price")))


def test_a_window_reads_keys_arguments_conditions_and_time(bids: ks.Stream) -> None:
    totals = bids.key_by("auction").window(ks.tumble("1s")).aggregate(n=ks.sum("price", where=col("extra") > 0.0))
    assert _columns(_write(totals)) == ("auction", "price", "dateTime", "extra")


def test_an_ordered_aggregate_reads_every_column(bids: ks.Stream) -> None:
    assert _columns(_write(bids.window(ks.tumble("1s")).aggregate(n=ks.first("price")))) == tuple(bids.schema.names)


def test_functions_read_every_column(bids: ks.Stream) -> None:
    pipeline = _write(bids.map_batches(lambda batch: batch).select("price"))
    assert _columns(pipeline) == tuple(bids.schema.names)


def test_columns_that_nothing_uses_are_not_computed(bids: ks.Stream) -> None:
    wide = bids.with_columns(x=ks.functions.md5(col("bidder")), y=col("price") * lit(2))
    pipeline = _write(wide.key_by("auction").window(ks.tumble("1s")).aggregate(n=ks.sum("y")))
    project = _only(pipeline, ProjectNode)
    assert project.schema.names == ["auction", "dateTime", "y"]
    assert project.event_time == "dateTime"
    assert _columns(pipeline) == ("auction", "price", "dateTime")


def test_one_column_is_read_when_rows_are_only_counted(table: pa.Table) -> None:
    bids = ks.read(ks.MemorySource(table))
    assert _columns(_write(bids.select(one=lit(1)))) == ("auction",)


def test_late_rows_have_the_columns_that_enter_the_window(bids: ks.Stream) -> None:
    totals = bids.select("auction", "price", "dateTime", "bidder").window(ks.tumble("1s")).aggregate(n=ks.count())
    late = totals.side_output("late").select("bidder")
    pipeline = ks.Pipeline.of(_write(totals), _write(late))
    side = _only(pipeline, SideOutputNode)
    assert side.schema.names == _only(pipeline, WindowNode).inputs[0].schema.names == ["dateTime", "bidder"]
    assert _columns(pipeline) == ("bidder", "dateTime")


def test_the_branches_of_a_union_are_brought_to_the_same_columns(table: pa.Table) -> None:
    first, second = (ks.read(ks.MemorySource(table), event_time="dateTime") for _ in range(2))
    both = first.filter(col("extra") > lit(0.0)).union(second)
    pipeline = _write(both.select("price"))
    union = _only(pipeline, UnionNode)
    assert union.schema.names == ["price"]
    assert [node.schema.names for node in union.inputs if isinstance(node, ProjectNode)] == [["price"]]
    assert list(required_columns(pipeline).values()) == [("price", "extra"), ("price",)]


def test_shared_streams_stay_shared(bids: ks.Stream) -> None:
    kept = bids.filter(col("price") > 1)
    pipeline = ks.Pipeline.of(_write(kept.select("price")), _write(kept.select("bidder")))
    assert isinstance(_only(pipeline, FilterNode), FilterNode)
    assert _columns(pipeline) == ("price", "bidder", "dateTime")


def test_a_plan_without_unused_columns_keeps_its_nodes(bids: ks.Stream) -> None:
    stream = bids.filter(col("price") > 1)
    assert stream.node in _write(stream).nodes


def test_pruning_twice_changes_nothing(bids: ks.Stream) -> None:
    once = _write(bids.with_columns(x=col("price") * lit(2)).filter(col("extra") > 0.0).select("x"))
    assert ks.Pipeline(once.sinks).nodes == once.nodes


def _results(node: Node, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Give what a plan of stateless steps over one source makes of `batch`, each step by itself."""
    if not node.inputs:
        yield batch
        return
    for upstream in node.inputs:
        for part in _results(upstream, batch):
            yield from (
                compile_steps([node], part.schema).apply(part) if isinstance(node, FilterNode | ProjectNode) else [part]
            )


def test_a_pruned_plan_gives_the_same_rows_and_the_columns_it_states(bids: ks.Stream, table: pa.Table) -> None:
    doubled = bids.with_columns(x=col("price") * lit(2), unused=ks.functions.md5(col("bidder")))
    stream = doubled.filter(col("extra") > lit(1.0)).union(doubled).select("x", "bidder")
    (sink,) = _write(stream).sinks
    (whole,) = table.to_batches()
    expected = [row for part in _results(stream.node, whole) for row in part.to_pylist()]
    parts = list(_results(sink, whole.select(["price", "bidder", "dateTime", "extra"])))
    assert [row for part in parts for row in part.to_pylist()] == expected
    assert {tuple(part.schema.names) for part in parts} == {("x", "bidder")}
