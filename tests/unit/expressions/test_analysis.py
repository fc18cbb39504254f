"""Expressions tell which columns they read and whether they can be trusted to repeat themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import datafusion
import pyarrow as pa
import pytest
from datafusion import functions as f
from datafusion import lit, udf

from krishiv_stream._errors import NotRowWise
from krishiv_stream._expressions.analysis import Volatility, columns_of, is_volatile, qualified_columns, volatility_of
from krishiv_stream._expressions.columns import col

if TYPE_CHECKING:
    from datafusion.expr import Expr

READS: list[tuple[Expr, set[str]]] = [
    (lit(1), set()),
    (col("a.b"), {"a.b"}),
    ((col("a") + col("B")).alias("c"), {"a", "B"}),
    (f.when(col("a") > lit(1), col("b")).otherwise(col("c")), {"a", "b", "c"}),
    (f.case(col("a")).when(lit(1), col("b")).end(), {"a", "b"}),
    (col("a").between(col("b"), col("c")), {"a", "b", "c"}),
    (f.in_list(col("a"), [col("b"), lit(2)]), {"a", "b"}),
    (col("a").cast(pa.int32()).is_null() | ~col("b"), {"a", "b"}),
    (col("a").try_cast(pa.int32()), {"a"}),
    (f.coalesce(col("a"), f.abs(col("b"))), {"a", "b"}),
    (col("s")["field"], {"s"}),
    (f.named_struct([("x", col("a")), ("y", col("b"))]), {"a", "b"}),
    (f.array_transform(col("l"), lambda item: item + col("x")), {"l", "x"}),
]


@pytest.mark.parametrize(("expression", "expected"), READS, ids=[str(each[0]) for each in READS])
def test_columns_of_finds_every_column_at_any_depth(expression: Expr, expected: set[str]) -> None:
    assert columns_of(expression) == expected


def test_qualified_columns_finds_what_datafusion_took_for_a_table() -> None:
    assert qualified_columns(datafusion.col("a.b") + col("c.d")) == {"a.b"}


NOT_ROW_WISE = [
    f.sum(col("a")),
    f.count_star(),
    lit(1) + f.max(col("a")),
    f.row_number(),
    f.lag(col("a"), 1),
]


@pytest.mark.parametrize("expression", NOT_ROW_WISE, ids=str)
def test_columns_of_refuses_what_looks_beyond_its_row(expression: Expr) -> None:
    with pytest.raises(NotRowWise):
        columns_of(expression)


@pytest.mark.parametrize("text", ["unnest(items)", "exists(select 1)", "$1"])
def test_columns_of_refuses_unnest_subqueries_and_parameters(text: str) -> None:
    table = datafusion.SessionContext().from_pydict({"items": [[1, 2]]})
    with pytest.raises(NotRowWise):
        columns_of(table.parse_sql_expr(text))


def _user_function(volatility: str) -> Expr:
    return udf(lambda values: values, [pa.int64()], pa.int64(), volatility, name="mine")(col("a"))


VOLATILITIES = [
    (f.abs(col("a")), Volatility.IMMUTABLE),
    (f.now(), Volatility.STABLE),
    (f.current_timestamp(), Volatility.STABLE),
    (f.current_date(), Volatility.STABLE),
    (f.current_time(), Volatility.STABLE),
    (f.today(), Volatility.STABLE),
    (f.random(), Volatility.VOLATILE),
    (f.rand(), Volatility.VOLATILE),
    (f.uuid(), Volatility.VOLATILE),
    (f.when(col("a") > lit(0), f.now()).otherwise(f.now()) > f.now(), Volatility.STABLE),
    (f.abs(f.random()) + lit(1), Volatility.VOLATILE),
    (_user_function("immutable"), Volatility.IMMUTABLE),
    (_user_function("stable"), Volatility.STABLE),
    (_user_function("volatile"), Volatility.VOLATILE),
]


@pytest.mark.parametrize(("expression", "expected"), VOLATILITIES, ids=[str(each[0]) for each in VOLATILITIES])
def test_volatility_is_that_of_the_most_volatile_function(expression: Expr, expected: Volatility) -> None:
    assert volatility_of(expression) is expected
    assert is_volatile(expression) is (expected is not Volatility.IMMUTABLE)
