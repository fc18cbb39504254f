"""Column references: exact, case-sensitive names, dots and capitals included."""

from __future__ import annotations

from datafusion.expr import Expr

from krishiv_stream._errors import InvalidArgument

__all__ = ["as_expression", "col", "output_name", "plain_column"]


def col(name: str) -> Expr:
    """Return the column of exactly that name.

    Parameters
    ----------
    name : str
        The field's name as the schema has it; case, dots and spaces count.

    Examples
    --------
    >>> col("dateTime") > col("a.b")
    Expr(dateTime > a.b)
    """
    quoted = name.replace('"', '""')
    return Expr.column(f'"{quoted}"')


def as_expression(value: object) -> Expr:
    """Return `value` as an expression; a string names a column.

    Raises
    ------
    InvalidArgument
        If it is neither.
    """
    if isinstance(value, str):
        return col(value)
    if isinstance(value, Expr):
        return value
    raise InvalidArgument(
        f"{value!r} is neither a column name nor an expression",
        hint='write "name", ks.col("name"), or a constant as ks.lit(value)',
    )


def plain_column(expression: Expr) -> str | None:
    """Return the name of the column that `expression` passes on unchanged, or None if it computes something."""
    while expression.variant_name() == "Alias":
        expression = expression.rex_call_operands()[0]
    if expression.variant_name() != "Column":
        return None
    return reference(expression)


def reference(column: Expr) -> str:
    """Return the name that a column reference stands for, with its qualifier if it has one."""
    return str(column.to_variant().qualified_name())


def output_name(expression: Expr) -> str:
    """Return the name of the column that `expression` gives: its alias, its column, or its text."""
    if expression.variant_name() == "Column":
        return reference(expression)
    return str(expression.schema_name())
