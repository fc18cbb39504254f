"""Column references mean exactly the field that is named."""

from __future__ import annotations

import datafusion
import pytest
from datafusion import lit

from krishiv_stream._errors import InvalidArgument
from krishiv_stream._expressions.columns import as_expression, col, output_name, plain_column


@pytest.mark.parametrize("name", ["price", "dateTime", "a.b", 'say "hi"', "two words", "1", "über"])
def test_col_names_exactly_one_column_whatever_its_characters(name: str) -> None:
    assert plain_column(col(name)) == name
    assert output_name(col(name)) == name


def test_plain_column_looks_through_aliases() -> None:
    assert plain_column(col("a.b").alias("x").alias("y")) == "a.b"


def test_plain_column_is_none_when_something_is_computed() -> None:
    assert plain_column(col("a") + lit(1)) is None
    assert plain_column(lit(1)) is None


def test_output_name_is_the_alias_or_the_text() -> None:
    assert output_name((col("a") + lit(1)).alias("b")) == "b"
    assert output_name(col("a") + lit(1)) == "a + Int64(1)"


def test_as_expression_takes_names_and_expressions() -> None:
    assert plain_column(as_expression("dateTime")) == "dateTime"
    assert as_expression(datafusion.lit(1)).variant_name() == "Literal"


@pytest.mark.parametrize("value", [1, None, 2.5, ["a"], {"a": "b"}])
def test_as_expression_refuses_other_values(value: object) -> None:
    with pytest.raises(InvalidArgument, match=r"ks\.lit\(value\)"):
        as_expression(value)
