"""Operators without state: what they hand on, and what they say of functions that misbehave."""

from __future__ import annotations

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_stream._engine.errors import WrongFunctionOutput
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.operators.stateless import MapBatches, MapRows, Steps
from krishiv_stream._expressions.compiled import compile_steps
from tests.unit.engine.support import MOMENTS, Recorder, moments

NUMBERS = pa.schema([("x", pa.int64())])


def numbers(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], schema=NUMBERS)


def run(operator: Operator, batch: pa.RecordBatch) -> list:
    out = Recorder()
    operator.outputs.append(out)
    operator.process(batch)
    return out.events


def steps(stream: ks.Stream) -> Steps:
    return Steps(compile_steps([stream.node], MOMENTS))


@pytest.fixture
def stream() -> ks.Stream:
    return ks.read(ks.MemorySource(MOMENTS.empty_table()))


def test_steps_hand_on_the_rows_that_are_left_in_their_order(stream):
    assert run(steps(stream.filter(ks.col("x") > 2)), moments(3, 1, 9, 5)) == [[3, 9, 5]]


def test_steps_hand_on_nothing_when_no_row_is_left(stream):
    assert run(steps(stream.filter(ks.col("x") > 20)), moments(3, 1)) == []


def test_steps_name_the_line_of_an_expression_that_fails_on_the_data(stream):
    broken = stream.select(y=ks.lit(1) / (ks.col("x") - ks.col("x")))
    with pytest.raises(ks.KrishivError, match="expression failed"):
        run(steps(broken), moments(3))


def test_map_batches_hands_on_batches_and_tables():
    assert run(MapBatches(lambda batch: batch, NUMBERS), numbers(1, 2)) == [[1, 2]]
    table = pa.Table.from_batches([numbers(1), numbers(), numbers(2, 3)])
    assert run(MapBatches(lambda _: table, NUMBERS), numbers(0)) == [[1], [2, 3]]


@pytest.mark.parametrize("result", [None, [1], {"x": [1]}])
def test_map_batches_names_what_is_no_batch(result):
    with pytest.raises(WrongFunctionOutput, match=type(result).__name__):
        run(MapBatches(lambda _: result, NUMBERS), numbers(1))


def test_map_batches_names_columns_that_were_not_declared():
    with pytest.raises(WrongFunctionOutput, match="y: int64, not x: int64"):
        run(MapBatches(lambda batch: batch.rename_columns(["y"]), NUMBERS), numbers(1))


def test_map_rows_and_flat_map_rows_give_one_and_any_number_of_rows():
    assert run(MapRows(lambda row: {"x": row["x"] + 1}, NUMBERS, flat=False), numbers(1, 2)) == [[2, 3]]
    assert run(MapRows(lambda row: [row] * row["x"], NUMBERS, flat=True), numbers(0, 1, 2)) == [[1, 2, 2]]
    assert run(MapRows(lambda row: (), NUMBERS, flat=True), numbers(1, 2)) == []


@pytest.mark.parametrize("result", ["no row", {"x": "text"}, {"x": 2**70}, None, 5])
def test_map_rows_names_what_does_not_fit(result):
    with pytest.raises(WrongFunctionOutput, match="x: int64"):
        run(MapRows(lambda _: result, NUMBERS, flat=False), numbers(1))


def test_map_rows_refuses_columns_that_were_not_declared():
    with pytest.raises(WrongFunctionOutput, match="'X'"):
        run(MapRows(lambda row: {"X": row["x"]}, NUMBERS, flat=False), numbers(1))


def test_map_rows_takes_a_missing_column_as_null():
    assert run(MapRows(lambda _: {}, NUMBERS, flat=False), numbers(1)) == [[None]]


@pytest.mark.parametrize("error", [TypeError, AttributeError, pa.ArrowInvalid])
def test_an_error_further_down_the_chain_is_not_blamed_on_the_row_function(error):
    class Next(Operator):
        def process(self, batch):
            raise error("mine")

    first = MapRows(lambda row: row, NUMBERS, flat=False)
    first.outputs.append(Next())
    with pytest.raises(error, match="mine"):
        first.process(numbers(1))


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(ZeroDivisionError):
        run(MapRows(lambda row: {"x": 1 // 0}, NUMBERS, flat=False), numbers(1))
