"""Aggregate functions as values: a function, what it is taken over, and which rows it counts.

All of them skip null arguments, as in SQL, except `first`, `last` and `collect_list`, which take rows as they are. Over
no rows `count`, `count_distinct` and `approx_distinct` give 0, all others null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_stream._expressions.columns import as_expression

if TYPE_CHECKING:
    from datafusion.expr import Expr

__all__ = [
    "Aggregate",
    "approx_distinct",
    "collect_list",
    "count",
    "count_distinct",
    "first",
    "last",
    "max",
    "mean",
    "min",
    "stddev",
    "sum",
    "variance",
]


@dataclass(frozen=True, eq=False)
class Aggregate:
    """One aggregate of a window.

    Parameters
    ----------
    function : str
        ``"count"``, ``"sum"``, ``"min"``, ``"max"``, ``"mean"``, ``"stddev"``, ``"variance"``, ``"count_distinct"``,
        ``"approx_distinct"``, ``"first"``, ``"last"`` or ``"collect_list"``.
    argument : Expr or None
        What it is taken over; None only for ``count`` of all rows.
    where : Expr or None
        Rows for which this is not true are left out.
    """

    function: str
    argument: Expr | None = None
    where: Expr | None = None


def count(column: str | Expr | None = None, *, where: str | Expr | None = None) -> Aggregate:
    """Count rows, or those whose `column` is not null. int64."""
    return _aggregate("count", column, where)


def sum(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Add up. Integers give 64 bits and wrap around beyond them; cast to float64 or decimal if they may."""
    return _aggregate("sum", column, where)


def min(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the smallest value. Of floats NaN counts as the largest."""
    return _aggregate("min", column, where)


def max(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the largest value. Of floats NaN counts as the largest."""
    return _aggregate("max", column, where)


def mean(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the arithmetic mean: float64, of decimals a decimal."""
    return _aggregate("mean", column, where)


def stddev(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the sample standard deviation (n - 1); null for fewer than two values. float64."""
    return _aggregate("stddev", column, where)


def variance(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the sample variance (n - 1); null for fewer than two values. float64."""
    return _aggregate("variance", column, where)


def count_distinct(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Count different values exactly. int64."""
    return _aggregate("count_distinct", column, where)


def approx_distinct(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Count different values by HyperLogLog, standard error 0.81 %; not of floats. uint64."""
    return _aggregate("approx_distinct", column, where)


def first(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the value of the row that is earliest in event time, null if it is null there.

    Of rows with equal event time it is the one whose columns, compared from left to right, are smallest (null is the
    largest), whatever the order in which they arrived. All columns of the stream take part: select fewer for speed.
    """
    return _aggregate("first", column, where)


def last(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return the value of the row that is latest in event time; ties as in `first`, taking the largest."""
    return _aggregate("last", column, where)


def collect_list(column: str | Expr, *, where: str | Expr | None = None) -> Aggregate:
    """Return all values, nulls included, as a list in the order of event time; ties as in `first`."""
    return _aggregate("collect_list", column, where)


def _aggregate(function: str, column: str | Expr | None, where: str | Expr | None) -> Aggregate:
    argument = None if column is None and function == "count" else as_expression(column)
    return Aggregate(function, argument, None if where is None else as_expression(where))
