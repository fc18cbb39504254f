"""Pipelines hold written streams, share what they share, and refuse names that would collide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import krishiv_stream as ks
from krishiv_stream import col
from krishiv_stream._plan.dead_letters import DEAD_LETTER_SCHEMA
from krishiv_stream._plan.nodes import Node, SideOutputNode, SinkNode, SourceNode, WindowNode

if TYPE_CHECKING:
    import pyarrow as pa


def _of(pipeline: ks.Pipeline, kind: type[Node]) -> list[Node]:
    return [node for node in pipeline.nodes if isinstance(node, kind)]


def test_nodes_come_inputs_first_and_each_once(bids: ks.Stream, totals: ks.Stream) -> None:
    pipeline = ks.Pipeline.of(
        totals.write(ks.MemorySink()), totals.side_output("late").write(ks.MemorySink()), bids.write(ks.MemorySink())
    )
    nodes = pipeline.nodes
    assert len(set(nodes)) == len(nodes)
    for node in nodes:
        assert all(nodes.index(upstream) < nodes.index(node) for upstream in node.inputs)
    assert len(_of(pipeline, SourceNode)) == len(_of(pipeline, WindowNode)) == 1
    assert pipeline.sources == tuple(_of(pipeline, SourceNode))
    assert set(pipeline.sinks) == set(_of(pipeline, SinkNode))


def test_the_same_written_stream_twice_is_one_sink(bids: ks.Stream) -> None:
    written = bids.write(ks.MemorySink(), name="out")
    assert len(ks.Pipeline.of(written, written).sinks) == 1


def test_a_pipeline_is_called_as_told_or_by_its_sinks(bids: ks.Stream) -> None:
    named, unnamed = bids.write(ks.MemorySink(), name="raw"), bids.write(ks.MemorySink())
    assert named.name == "raw"
    assert unnamed.name == "pipeline"
    assert ks.Pipeline.of(named, unnamed, bids.write(ks.PrintSink(), name="print")).name == "raw-print"
    assert ks.Pipeline.of(named, unnamed, name="job").name == "job"
    with pytest.raises(ks.InvalidName):
        ks.Pipeline.of(named, name="a/b")


def test_two_parts_of_one_name_are_refused_with_both_lines(bids: ks.Stream) -> None:
    first, second = bids.write(ks.MemorySink(), name="out"), bids.write(ks.MemorySink(), name="out")
    with pytest.raises(ks.DuplicateName, match="'out'") as caught:
        ks.Pipeline.of(first, second)
    assert str(caught.value).count("test_pipeline.py:") == 3
    with pytest.raises(ks.DuplicateName, match="'bids'"):
        bids.write(ks.MemorySink(), name="bids")


def test_a_pipeline_without_sinks_is_refused() -> None:
    with pytest.raises(ks.InvalidArgument, match="without a sink"):
        ks.Pipeline.of()


def test_dead_letters_get_a_sink_of_their_own_once(table: pa.Table) -> None:
    letters = ks.MemorySink()
    bids = ks.read(ks.MemorySource(table), name="bids", on_bad_row=letters)
    pipeline = ks.Pipeline.of(bids.write(ks.MemorySink()), bids.select("price").write(ks.MemorySink()))
    sinks = [node for node in pipeline.sinks if node.sink is letters]
    assert [node.name for node in sinks] == ["bids.dead-letters"]
    (side,) = _of(pipeline, SideOutputNode)
    assert side.inputs == pipeline.sources
    assert side.schema == sinks[0].schema == DEAD_LETTER_SCHEMA
    again = ks.Pipeline(pipeline.sinks)
    assert len(again.sinks) == 3


def test_a_notebook_gets_a_picture_with_every_node_and_no_markup_from_names(bids: ks.Stream) -> None:
    pipeline = bids.filter(col("bidder") == "<script>").write(ks.MemorySink(), name="out")
    picture = pipeline._repr_html_()
    assert picture.startswith("<svg")
    assert picture.count("<rect") == len(pipeline.nodes)
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture
