"""What an expression is made of: the columns it reads, and whether it gives the same value each time."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

from krishiv_stream._errors import NotRowWise
from krishiv_stream._expressions.columns import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datafusion.expr import Expr

__all__ = ["Volatility", "columns_of", "is_volatile", "qualified_columns", "volatility_of"]

_LEAVES = frozenset({"Column", "Literal", "LambdaVariable", "ScalarVariable"})
_FUNCTIONS = frozenset({"ScalarFunction", "HigherOrderFunction"})
_REASONS = {
    "AggregateFunction": "aggregates over rows",
    "WindowFunction": "looks at other rows",
    "Unnest": "gives several rows for one",
    "GroupingSet": "groups rows",
    "Placeholder": "waits for a parameter",
    "Exists": "asks another query",
    "InSubquery": "asks another query",
    "ScalarSubquery": "asks another query",
    "SetComparison": "asks another query",
    "Wildcard": "stands for several columns",
}


class Volatility(IntEnum):
    """How far the value of an expression depends on more than its row."""

    IMMUTABLE = 0
    """On nothing else."""
    STABLE = 1
    """On the moment at which a batch is processed: `now`, `current_date`."""
    VOLATILE = 2
    """On every single call: `random`, `uuid`."""


# What DataFusion 55 declares; functions of users state theirs, read below.
_BY_NAME = {
    "random": Volatility.VOLATILE,
    "uuid": Volatility.VOLATILE,
    "now": Volatility.STABLE,
    "current_date": Volatility.STABLE,
    "current_time": Volatility.STABLE,
}
_DECLARED = re.compile(r"volatility: (Volatile|Stable)\b")


def columns_of(expression: Expr) -> frozenset[str]:
    """Return the names of the columns that `expression` reads.

    Raises
    ------
    NotRowWise
        If it is no expression over the columns of one row.
    """
    return frozenset(reference(part) for part in _parts(expression) if part.variant_name() == "Column")


def qualified_columns(expression: Expr) -> frozenset[str]:
    """Return those of `columns_of` that name a table too (DataFusion's own ``col("a.b")``: column b of table a)."""
    columns = (part for part in _parts(expression) if part.variant_name() == "Column")
    return frozenset(reference(column) for column in columns if column.to_variant().relation() is not None)


def is_volatile(expression: Expr) -> bool:
    """Whether a replay of the same row may give another value (`random`, `uuid`, `now`, `current_date`, ...)."""
    return volatility_of(expression) is not Volatility.IMMUTABLE


def volatility_of(expression: Expr) -> Volatility:
    """Return the most volatile of the functions in `expression`."""
    functions = (part for part in _parts(expression) if part.variant_name() in _FUNCTIONS)
    return max((_volatility(function) for function in functions), default=Volatility.IMMUTABLE)


def _volatility(function: Expr) -> Volatility:
    named = _BY_NAME.get(function.rex_call_operator(), Volatility.IMMUTABLE)
    return max(named, _declared(function))


def _declared(function: Expr) -> Volatility:
    """Return what the function's signature says; arguments may add theirs, which changes no maximum."""
    try:
        function.to_variant()
    except ValueError as error:
        # The bindings cannot convert function calls, but their message spells out the signature.
        found = set(_DECLARED.findall(str(error)))
    else:
        return Volatility.IMMUTABLE
    if "Volatile" in found:
        return Volatility.VOLATILE
    return Volatility.STABLE if found else Volatility.IMMUTABLE


def _parts(expression: Expr) -> Iterator[Expr]:
    """Yield `expression` and everything below it."""
    variant = expression.variant_name()
    if variant in _REASONS:
        raise NotRowWise(
            f"{expression.canonical_name()} {_REASONS[variant]}, but each row stands for itself here",
            hint="aggregate with key_by(...).window(...).aggregate(...); make several rows of one with flat_map_rows",
            expression=str(expression.canonical_name()),
        )
    yield expression
    if variant in _LEAVES:
        return
    for operand in expression.rex_call_operands():
        yield from _parts(operand)
