"""Windowed aggregates equal a naive reference over rows, however the rows arrive."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from datafusion import functions as f
from datafusion import lit
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_stream._errors import (
    DuplicateColumn,
    ExpressionFailed,
    InvalidArgument,
    NotRowWise,
    UnknownColumn,
    WrongType,
)
from krishiv_stream._expressions.columns import col
from krishiv_stream._expressions.compiled import compile_aggregation
from krishiv_stream._plan.aggregates import Aggregate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krishiv_stream._expressions.compiled import CompiledAggregation

SCHEMA = pa.schema(
    [
        pa.field("k", pa.int64()),
        pa.field("s", pa.string()),
        pa.field("t", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("v", pa.int64()),
        pa.field("x", pa.float64()),
    ]
)
Row = dict[str, Any]


def _values(rows: Iterable[Row], column: str) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


def _rank(value: Any) -> tuple[bool, bool, Any]:
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None, is_nan, 0 if value is None or is_nan else value


def _in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["t"], [_rank(row[name]) for name in SCHEMA.names]))


def _passing(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["v"] is not None and row["v"] > 2]


AGGREGATES: dict[str, tuple[Aggregate, Callable[[list[Row]], object]]] = {
    "count": (Aggregate("count"), len),
    "count_v": (Aggregate("count", col("v")), lambda rows: len(_values(rows, "v"))),
    "count_where": (Aggregate("count", None, col("v") > lit(2)), lambda rows: len(_passing(rows))),
    "sum": (Aggregate("sum", col("v")), lambda rows: sum(_values(rows, "v")) if _values(rows, "v") else None),
    "sum_x": (Aggregate("sum", col("x")), lambda rows: math.fsum(_values(rows, "x")) if _values(rows, "x") else None),
    "sum_where": (
        Aggregate("sum", col("v") * lit(2), col("v") > lit(2)),
        lambda rows: 2 * sum(_values(_passing(rows), "v")) if _passing(rows) else None,
    ),
    "min": (Aggregate("min", col("s")), lambda rows: min(_values(rows, "s"), default=None)),
    "max": (Aggregate("max", col("v")), lambda rows: max(_values(rows, "v"), default=None)),
    "mean": (Aggregate("mean", col("v")), lambda rows: statistics.fmean(v) if (v := _values(rows, "v")) else None),
    "stddev": (
        Aggregate("stddev", col("x")),
        lambda rows: statistics.stdev(x) if len(x := _values(rows, "x")) > 1 else None,
    ),
    "variance": (
        Aggregate("variance", col("v")),
        lambda rows: statistics.variance(map(float, v)) if len(v := _values(rows, "v")) > 1 else None,
    ),
    "count_distinct": (Aggregate("count_distinct", col("s")), lambda rows: len(set(_values(rows, "s")))),
    "first": (Aggregate("first", col("v")), lambda rows: _in_order(rows)[0]["v"]),
    "last": (Aggregate("last", col("s")), lambda rows: _in_order(rows)[-1]["s"]),
    "first_where": (
        Aggregate("first", col("x"), col("v") > lit(2)),
        lambda rows: _in_order(_passing(rows))[0]["x"] if _passing(rows) else None,
    ),
    "collect_list": (Aggregate("collect_list", col("v")), lambda rows: [row["v"] for row in _in_order(rows)]),
    "collect_where": (
        Aggregate("collect_list", col("s"), col("v") > lit(2)),
        lambda rows: [row["s"] for row in _in_order(_passing(rows))] or None,
    ),
}

_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.none() | st.integers(0, 2),
            "s": st.none() | st.sampled_from(["", "a", "b"]),
            "t": st.integers(0, 2),
            "v": st.none() | st.integers(-5, 5),
            "x": st.none() | st.integers(-4000, 4000).map(lambda n: n / 4),
        }
    ),
    min_size=1,
    max_size=24,
)


def _compiled(names: Iterable[str], keys: tuple[str, ...] = ("k",)) -> CompiledAggregation:
    aggregates = tuple((name, AGGREGATES[name][0]) for name in names)
    return compile_aggregation(tuple((key, col(key)) for key in keys), aggregates, SCHEMA, "t")


ALL = _compiled(AGGREGATES)
GLOBAL = _compiled(AGGREGATES, keys=())
UNORDERED = _compiled([name for name in AGGREGATES if name.partition("_")[0] not in ("first", "last", "collect")])


def _batches(rows: list[Row], cuts: Iterable[int]) -> list[pa.RecordBatch]:
    whole = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    edges = [0, *sorted({cut % (len(rows) + 1) for cut in cuts}), len(rows)]
    return [whole.slice(start, end - start) for start, end in itertools.pairwise(edges)]


def _by_key(rows: list[Row]) -> dict[object, list[Row]]:
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["k"], []).append(row)
    return groups


def _expect(result: Row, rows: list[Row], names: Iterable[str]) -> None:
    for name in names:
        expected = AGGREGATES[name][1](rows)
        wanted = pytest.approx(expected, rel=1e-9, abs=1e-9) if isinstance(expected, float) else expected
        assert result[name] == wanted, name


@settings(max_examples=100, deadline=None)
@given(rows=_ROWS, cuts=st.lists(st.integers(0, 100), max_size=4))
def test_aggregates_equal_the_naive_reference_per_key(rows: list[Row], cuts: list[int]) -> None:
    for compiled in (ALL, UNORDERED):
        results = {row["k"]: row for row in compiled.apply(iter(_batches(rows, cuts))).to_pylist()}
        groups = _by_key(rows)
        assert results.keys() == groups.keys()
        for key, group in groups.items():
            _expect(results[key], group, compiled.output_schema.names[1:])


@settings(max_examples=30, deadline=None)
@given(rows=_ROWS)
def test_without_keys_all_rows_are_one_group(rows: list[Row]) -> None:
    (result,) = GLOBAL.apply(_batches(rows, [])).to_pylist()
    _expect(result, rows, AGGREGATES)


@settings(max_examples=50, deadline=None)
@given(rows=_ROWS, cuts=st.lists(st.integers(0, 100), max_size=4), seed=st.integers())
def test_aggregates_do_not_depend_on_the_order_of_arrival(rows: list[Row], cuts: list[int], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    first, second = ALL.apply(_batches(rows, [])), ALL.apply(_batches(shuffled, cuts))
    exact = [name for name in ALL.output_schema.names if name not in ("sum_x", "mean", "stddev", "variance")]
    order = [("k", "ascending")]
    assert first.select(exact).sort_by(order).equals(second.select(exact).sort_by(order))


@pytest.mark.parametrize("compiled", [ALL, UNORDERED, GLOBAL], ids=["all", "unordered", "global"])
def test_the_result_has_the_same_types_with_and_without_rows(compiled: CompiledAggregation) -> None:
    rows = [{"k": 1, "s": "a", "t": 0, "v": 3, "x": 0.5}]
    assert compiled.apply(_batches(rows, [])).schema.equals(compiled.output_schema, check_metadata=True)
    assert compiled.apply([]).schema.equals(compiled.output_schema, check_metadata=True)


def test_results_have_the_documented_types() -> None:
    types = {field.name: field.type for field in ALL.output_schema}
    assert types["count"] == types["count_distinct"] == types["sum"] == pa.int64()
    assert types["mean"] == types["stddev"] == types["variance"] == types["sum_x"] == pa.float64()
    assert types["collect_list"] == pa.list_(pa.int64())
    assert types["first"] == pa.int64()
    assert types["last"] == pa.string()
    assert not ALL.output_schema.field("count").nullable
    assert ALL.output_schema.field("sum").nullable


def test_rows_of_one_plan_do_not_reach_its_next_run() -> None:
    rows = [{"k": 1, "s": "a", "t": 0, "v": 3, "x": 0.5}]
    first = ALL.apply(_batches(rows, []))
    assert ALL.apply(_batches(rows, [])).equals(first)


def test_keys_may_be_computed() -> None:
    compiled = compile_aggregation((("odd", col("v") % lit(2)),), (("n", Aggregate("count")),), SCHEMA, "t")
    batch = pa.RecordBatch.from_pylist([{"t": 0, "v": v} for v in (1, 2, 3)], schema=SCHEMA)
    assert compiled.apply([batch]).sort_by("odd").to_pylist() == [{"odd": 0, "n": 1}, {"odd": 1, "n": 2}]


def test_only_the_columns_in_use_are_required() -> None:
    assert UNORDERED.required_columns == ("k", "s", "v", "x")
    assert ALL.required_columns == tuple(SCHEMA.names)
    assert compile_aggregation((), (("n", Aggregate("count")),), SCHEMA, None).required_columns == ()


def test_rows_are_counted_without_any_column() -> None:
    compiled = compile_aggregation((), (("n", Aggregate("count")),), SCHEMA, None)
    batch = pa.RecordBatch.from_arrays([pa.nulls(5)], names=["_"])
    assert compiled.apply([batch, batch]).to_pylist() == [{"n": 10}]


def test_approx_distinct_stays_within_its_error_bound() -> None:
    compiled = compile_aggregation((), (("n", Aggregate("approx_distinct", col("v"))),), SCHEMA, None)
    batch = pa.RecordBatch.from_pylist([{"t": 0, "v": v} for v in range(20_000)], schema=SCHEMA)
    (result,) = compiled.apply([batch, batch]).to_pylist()
    assert result["n"] == pytest.approx(20_000, rel=5 * 0.0081)


def test_a_million_groups_come_as_one_batch() -> None:
    compiled = compile_aggregation((("v", col("v")),), (("n", Aggregate("count")),), SCHEMA, None)
    groups = (1 << 20) + 5
    table = pa.table(
        {name: pa.nulls(groups, SCHEMA.field(name).type) for name in ("k", "s", "x")} | {"v": range(groups)}
    )
    result = compiled.apply(table.to_batches(max_chunksize=65_536))
    assert isinstance(result, pa.RecordBatch)
    assert result.num_rows == groups


WRONG = [
    (Aggregate("sum", col("s")), WrongType, "s is string"),
    (Aggregate("mean", col("t")), WrongType, "t is timestamp"),
    (Aggregate("approx_distinct", col("x")), WrongType, "x is double"),
    (Aggregate("max", col("nowhere")), UnknownColumn, "nowhere"),
    (Aggregate("sum", col("v"), col("nowhere") > lit(1)), UnknownColumn, "nowhere"),
    (Aggregate("sum", f.sum(col("v"))), NotRowWise, "aggregates over rows"),
]


@pytest.mark.parametrize(("aggregate", "error", "text"), WRONG, ids=[each[2] for each in WRONG])
def test_what_cannot_be_computed_is_refused_before_any_row(
    aggregate: Aggregate, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        compile_aggregation((("k", col("k")),), (("n", aggregate),), SCHEMA, "t")


def test_ordered_aggregates_need_event_time() -> None:
    with pytest.raises(InvalidArgument, match="event-time column"):
        compile_aggregation((), (("f", Aggregate("first", col("v"))),), SCHEMA, None)


def test_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateColumn):
        compile_aggregation((("k", col("k")),), (("k", Aggregate("count")),), SCHEMA, None)


def test_an_aggregate_that_fails_on_the_data_says_so() -> None:
    compiled = compile_aggregation((), (("n", Aggregate("sum", lit(1) / col("v"))),), SCHEMA, None)
    with pytest.raises(ExpressionFailed, match="Divide by zero"):
        compiled.apply([pa.RecordBatch.from_pylist([{"t": 0, "v": 0}], schema=SCHEMA)])
