"""Operators keep their ids, and checkpoints their pipelines, across edits that do not touch state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import krishiv_stream as ks
from krishiv_stream import col, lit
from krishiv_stream._plan.identity import fingerprint, operator_ids
from krishiv_stream._plan.nodes import SinkNode, SourceNode, WindowNode

if TYPE_CHECKING:
    import pyarrow as pa


def _source(table: pa.Table, name: str | None = None) -> ks.Stream:
    return ks.read(ks.MemorySource(table), event_time="dateTime", name=name)


def _totals(bids: ks.Stream, name: str | None = None, size: str = "10s") -> ks.Stream:
    return bids.key_by("auction").window(ks.tumble(size)).aggregate(n=ks.sum("price"), name=name)


def test_user_names_are_ids_and_the_rest_are_kind_and_number(table: pa.Table) -> None:
    bids = _source(table, "bids").filter(col("price") > 1)
    pipeline = ks.Pipeline.of(
        _totals(bids, "totals").write(ks.MemorySink(), name="out"),
        _totals(bids, size="5s").write(ks.MemorySink()),
        bids.write(ks.MemorySink()),
    )
    ids = operator_ids(pipeline)
    assert len(set(ids.values())) == len(pipeline.nodes)
    assert [ids[node] for node in pipeline.nodes if isinstance(node, SourceNode)] == ["bids"]
    assert [ids[node] for node in pipeline.nodes if isinstance(node, WindowNode)] == ["totals", "window-1"]
    assert [ids[node] for node in pipeline.sinks] == ["out", "sink-1", "sink-2"]


def test_a_derived_id_never_takes_a_user_name(table: pa.Table) -> None:
    bids = _source(table)
    pipeline = ks.Pipeline.of(bids.write(ks.MemorySink(), name="sink-1"), bids.write(ks.MemorySink()))
    assert [operator_ids(pipeline)[node] for node in pipeline.sinks] == ["sink-1", "sink-2"]


def test_the_same_program_gives_the_same_fingerprint(table: pa.Table) -> None:
    first, second = (_totals(_source(table)).write(ks.MemorySink()) for _ in range(2))
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(first, 64).max_key_groups == 64


def test_the_fingerprint_holds_stateful_operators_and_how_they_are_joined(table: pa.Table) -> None:
    totals = _totals(_source(table, "bids").filter(col("price") > 1), "totals")
    late = totals.side_output("late").select("price")
    pipeline = ks.Pipeline.of(totals.write(ks.MemorySink(), name="out"), late.write(ks.MemorySink(), name="late"))
    operators = fingerprint(pipeline).operators
    assert [(each.id, each.kind, each.named, each.inputs) for each in operators] == [
        ("bids", "source", True, ()),
        ("totals", "window", True, ("bids",)),
        ("out", "sink", True, ("totals",)),
        ("late", "sink", True, ("totals",)),
    ]


def test_editing_stateless_steps_changes_no_fingerprint(table: pa.Table) -> None:
    plain = _totals(_source(table)).write(ks.MemorySink())
    bids = _source(table).filter(col("price") > lit(7)).with_columns(bidder=ks.functions.upper(col("bidder")))
    assert fingerprint(_totals(bids).filter(col("n") > 1).write(ks.MemorySink())) == fingerprint(plain)


def test_editing_a_condition_changes_no_fingerprint(table: pa.Table) -> None:
    def pipeline(limit: int) -> ks.Pipeline:
        aggregate = ks.sum("price", where=col("price") > lit(limit))
        return _source(table).window(ks.tumble("1s")).aggregate(n=aggregate).write(ks.MemorySink())

    assert fingerprint(pipeline(1)) == fingerprint(pipeline(2))


def test_what_state_depends_on_changes_the_fingerprint(table: pa.Table) -> None:
    bids = _source(table)
    windows = [
        _totals(bids),
        _totals(bids, size="5s"),
        _totals(bids, name="named"),
        bids.key_by("bidder").window(ks.tumble("10s")).aggregate(n=ks.sum("price")),
        bids.key_by("auction").window(ks.hop("10s", every="5s")).aggregate(n=ks.sum("price")),
        bids.key_by("auction").window(ks.tumble("10s")).aggregate(n=ks.sum("extra")),
    ]
    sinks = [window.write(ks.MemorySink()) for window in windows] + [windows[0].write(ks.PrintSink())]
    prints = [fingerprint(pipeline) for pipeline in sinks]
    assert all(prints.count(each) == 1 for each in prints)


def test_sinks_and_sources_of_a_union_are_listed_once(table: pa.Table) -> None:
    bids = _source(table, "bids")
    pipeline = bids.union(bids.filter(col("price") > 1)).write(ks.MemorySink(), name="out")
    assert [each.inputs for each in fingerprint(pipeline).operators] == [(), ("bids",)]
    assert sum(isinstance(node, SinkNode) for node in pipeline.nodes) == 1
