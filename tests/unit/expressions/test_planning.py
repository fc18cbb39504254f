"""Mistakes in expressions are found when they are written, with the columns and types that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import datafusion
import pyarrow as pa
import pytest
from datafusion import functions as f
from datafusion import lit

from krishiv_stream._errors import DuplicateColumn, NotRowWise, UnknownColumn, WrongType
from krishiv_stream._expressions.columns import col
from krishiv_stream._expressions.planning import plan_columns, plan_predicate

if TYPE_CHECKING:
    from datafusion.expr import Expr


def _planned(expression: Expr, schema: pa.Schema) -> pa.Field:
    return plan_columns([("x", expression)], schema)[1].field("x")


def test_plan_columns_gives_types_nullability_and_time_zone(schema: pa.Schema) -> None:
    assert _planned(col("price") * lit(0.5), schema) == pa.field("x", pa.float64())
    assert _planned(col("dateTime"), schema) == pa.field("x", pa.timestamp("us", tz="UTC"), nullable=False)
    assert _planned(col("price").is_null(), schema) == pa.field("x", pa.bool_(), nullable=False)


def test_plan_columns_gives_ordinary_strings_never_views(schema: pa.Schema) -> None:
    assert _planned(lit("a"), schema).type == pa.string()
    assert _planned(f.make_array(lit("a")), schema).type == pa.list_(pa.string())
    assert _planned(f.named_struct([("k", lit("a"))]), schema).type == pa.struct([("k", pa.string())])


def test_unknown_column_suggests_the_nearest_name(schema: pa.Schema) -> None:
    with pytest.raises(UnknownColumn) as caught:
        _planned(col("prise"), schema)
    assert 'did you mean ks.col("price")?' in caught.value.hint
    assert caught.value.fields["column"] == "prise"
    assert caught.value.fields["columns"] == tuple(schema.names)


def test_unknown_column_points_at_ours_when_datafusion_folded_the_case(schema: pa.Schema) -> None:
    with pytest.raises(UnknownColumn, match=r'ks\.col\("dateTime"\)'):
        _planned(datafusion.col("dateTime"), schema)


def test_unknown_column_points_at_ours_when_datafusion_split_at_the_dot(schema: pa.Schema) -> None:
    with pytest.raises(UnknownColumn, match=r'ks\.col\("a\.b"\)'):
        _planned(datafusion.col("a.b"), schema)


def test_wrong_type_says_what_the_columns_are(schema: pa.Schema) -> None:
    with pytest.raises(WrongType) as caught:
        _planned(col("a.b") + lit(1), schema)
    assert "Utf8 + Int64" in str(caught.value)
    assert "a.b is string" in caught.value.hint


@pytest.mark.parametrize("wrong", [f.abs(col("a.b")), col("price") > lit("q"), col("price")["field"]], ids=str)
def test_wrong_type_is_found_wherever_datafusion_finds_it(wrong: Expr, schema: pa.Schema) -> None:
    with pytest.raises(WrongType):
        _planned(wrong, schema)


def test_duplicate_names_are_refused(schema: pa.Schema) -> None:
    with pytest.raises(DuplicateColumn, match="'x'"):
        plan_columns([("x", col("price")), ("x", col("auction"))], schema)


def test_aggregates_are_refused(schema: pa.Schema) -> None:
    with pytest.raises(NotRowWise, match="aggregates over rows"):
        _planned(f.sum(col("price")), schema)


def test_a_predicate_has_to_be_boolean(schema: pa.Schema) -> None:
    plan_predicate(col("price") > lit(1), schema)
    with pytest.raises(WrongType, match="price is int64"):
        plan_predicate(col("price"), schema)


def test_the_error_points_at_the_line_that_wrote_it(schema: pa.Schema) -> None:
    with pytest.raises(UnknownColumn) as caught:
        plan_predicate(col("nowhere"), schema)
    assert "test_planning.py:" in caught.value.location
    assert str(caught.value).endswith(f"at {caught.value.location}")
