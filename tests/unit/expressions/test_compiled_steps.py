"""Filters and projections give exactly the planned columns, in order, whatever the size of a batch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from datafusion import functions as f
from datafusion import lit

from krishiv_stream._errors import ExpressionFailed
from krishiv_stream._expressions.columns import col
from krishiv_stream._expressions.compiled import SMALL_BATCH_ROWS, compile_steps
from tests.unit.expressions.steps import giving, keeping

if TYPE_CHECKING:
    from krishiv_stream._expressions.compiled import CompiledSteps


def _rows(steps: CompiledSteps, *batches: pa.RecordBatch) -> list[dict[str, object]]:
    return [row for batch in batches for part in steps.apply(batch) for row in part.to_pylist()]


def _large(schema: pa.Schema, rows: int = SMALL_BATCH_ROWS + 1) -> pa.RecordBatch:
    columns = [
        pa.array(range(rows)),
        pa.array(range(rows)),
        pa.array(range(rows), pa.timestamp("us", tz="UTC")),
        pa.array([str(n % 3) for n in range(rows)]),
        pa.array([float(n) for n in range(rows)]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def test_a_selection_copies_nothing(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([giving(schema, {"b": col("a.b"), "at": col("dateTime")})], schema)
    (result,) = steps.apply(batch)
    assert result.schema == steps.output_schema
    assert result.column("b").buffers()[2].address == batch.column("a.b").buffers()[2].address
    assert steps.required_columns == ("dateTime", "a.b")


def test_selections_of_selections_are_followed_to_the_input(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    first = giving(schema, {"x": col("price"), "price": col("auction")})
    second = giving(first.schema, {"p": col("price"), "q": col("x")})
    steps = compile_steps([first, second], schema)
    assert _rows(steps, batch)[0] == {"p": 123, "q": 100}
    assert steps.required_columns == ("auction", "price")


def test_a_filter_keeps_true_and_drops_false_and_null_in_order(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([keeping(col("auction") % lit(123) == lit(0), schema)], schema)
    assert [row["price"] for row in _rows(steps, batch)] == [100, 200, 500]
    assert steps.output_schema == schema
    assert steps.required_columns == tuple(schema.names)


def test_filters_and_projections_are_fused_in_their_order(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    doubled = giving(schema, {"double": col("price") * lit(2), "a.b": col("a.b")})
    chosen = keeping(col("double") > lit(400), doubled.schema)
    labelled = giving(doubled.schema, {"d": col("double"), "known": col("a.b").is_not_null()})
    steps = compile_steps([doubled, chosen, labelled], schema)
    assert _rows(steps, batch) == [{"d": 600, "known": True}, {"d": 1000, "known": True}, {"d": 1200, "known": True}]
    assert steps.required_columns == ("price", "a.b")


def test_batches_have_the_planned_schema_on_both_ways(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    node = giving(
        schema,
        {
            "one": lit(1),
            "word": lit("w"),
            "at": col("dateTime"),
            "missing": col("price").is_null(),
            "upper": f.upper(col("a.b")),
            "float": col("price") * lit(0.908),
            "int": col("price").cast(pa.int32()),
        },
    )
    steps = compile_steps([node], schema)
    for rows in (batch, _large(schema)):
        for part in steps.apply(rows):
            assert part.schema.equals(node.schema, check_metadata=True)
    assert node.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert not node.schema.field("one").nullable


def test_a_large_batch_gives_what_its_small_slices_give(schema: pa.Schema) -> None:
    node = giving(schema, {"n": col("auction"), "p": col("price") * lit(0.908)})
    steps = compile_steps([keeping(col("auction") % lit(7) == lit(0), schema), node], schema)
    whole = _large(schema, 3 * SMALL_BATCH_ROWS)
    slices = [whole.slice(start, 1000) for start in range(0, whole.num_rows, 1000)]
    assert _rows(steps, whole) == _rows(steps, *slices)
    assert len(_rows(steps, whole)) == len(range(0, whole.num_rows, 7))


def test_no_batch_without_rows_is_given(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    for predicate in (col("price") > lit(10_000), f.upper(col("a.b")) == lit("Q")):
        steps = compile_steps([keeping(predicate, schema)], schema)
        assert steps.apply(batch) == []
        assert steps.apply(batch.slice(0, 0)) == []


def test_a_batch_may_have_columns_beside_those_required(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    narrow = pa.schema([schema.field("auction"), schema.field("price")])
    steps = compile_steps([giving(narrow, {"p": f.abs(col("price"))})], narrow)
    assert _rows(steps, batch)[0] == {"p": 100}


@pytest.mark.parametrize("name", ["dateTime", "a.b", 'say "hi"'])
def test_awkward_names_survive_every_way(name: str, schema: pa.Schema, batch: pa.RecordBatch) -> None:
    for step in (giving(schema, {name: col(name)}), giving(schema, {name: f.coalesce(col(name), col(name))})):
        steps = compile_steps([step, keeping(col(name).is_not_null(), step.schema)], schema)
        expected = [value for value in batch.column(name).to_pylist() if value is not None]
        assert repr([row[name] for row in _rows(steps, batch)]) == repr(expected)


def test_now_advances_from_batch_to_batch(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([giving(schema, {"now": f.now().cast(pa.int64())})], schema)
    first, second = (_rows(steps, batch)[0]["now"] for _ in range(2))
    assert first < second  # type: ignore[operator]  # both are timestamps


def test_random_differs_from_row_to_row(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([giving(schema, {"r": f.random()})], schema)
    assert len({row["r"] for row in _rows(steps, batch)}) == batch.num_rows


def test_a_failing_expression_says_so_and_where(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([giving(schema, {"q": col("price") / (col("auction") - lit(7))})], schema)
    with pytest.raises(ExpressionFailed, match="Divide by zero") as caught:
        steps.apply(batch)
    assert caught.value.fields["location"] == "pipeline.py:8"


def test_a_plan_still_works_after_a_failure(schema: pa.Schema, batch: pa.RecordBatch) -> None:
    steps = compile_steps([giving(schema, {"q": col("price") / (col("auction") - lit(7))})], schema)
    with pytest.raises(ExpressionFailed):
        steps.apply(batch)
    assert _rows(steps, batch.slice(0, 1)) == [{"q": 0}]


def test_steps_of_several_threads_do_not_mix_their_rows(schema: pa.Schema) -> None:
    batches = [_large(schema, 1000).slice(100 * n, 100) for n in range(4)]
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        steps = compile_steps([giving(schema, {"s": f.upper(col("a.b")), "n": col("auction")})], schema)
        expected = batches[number].column("auction")
        results[number] = all(steps.apply(batches[number])[0].column("n") == expected for _ in range(50))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(range(4), True)
