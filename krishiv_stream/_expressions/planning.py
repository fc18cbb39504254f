"""Checking expressions against a schema, by planning them: unknown columns, wrong types, the type of the result."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_stream._errors import DuplicateColumn, UnknownColumn, WrongType
from krishiv_stream._expressions.analysis import columns_of, qualified_columns
from krishiv_stream._expressions.columns import plain_column
from krishiv_stream._expressions.reused import ReusedPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from datafusion.expr import Expr

__all__ = [
    "plan_columns",
    "plan_predicate",
    "planning_mistake",
    "require_column",
    "require_columns",
    "require_distinct",
]

_PLANNING_ROWS = 8_192


def plan_columns(
    columns: Sequence[tuple[str, Expr]], schema: pa.Schema
) -> tuple[tuple[tuple[str, Expr], ...], pa.Schema]:
    """Check `columns` over rows of `schema`.

    Returns
    -------
    columns : tuple of (str, Expr)
        The same, cast to ordinary strings where DataFusion would give string views, which Arrow cannot filter.
    schema : pa.Schema
        The columns that they give.

    Raises
    ------
    UnknownColumn, WrongType, NotRowWise, DuplicateColumn
    """
    require_distinct(name for name, _ in columns)
    for _, expression in columns:
        require_columns(expression, schema)
    planned = _schema_of(columns, schema)
    settled = tuple(
        (name, expression if plain_column(expression) is not None else _without_views(expression, field.type))
        for (name, expression), field in zip(columns, planned, strict=True)
    )
    return settled, _schema_of(settled, schema)


def plan_predicate(predicate: Expr, schema: pa.Schema) -> None:
    """Check that `predicate` is true or false over rows of `schema`.

    Raises
    ------
    UnknownColumn, WrongType, NotRowWise
    """
    _, planned = plan_columns([("predicate", predicate)], schema)
    kind = planned.field(0).type
    if kind != pa.bool_():
        raise WrongType(
            f"filter needs true or false, but {predicate.canonical_name()} is {kind}",
            hint="compare it with something, for example ks.col(...) > 0",
            expression=str(predicate.canonical_name()),
        )


def require_columns(expression: Expr, schema: pa.Schema) -> None:
    """Raise UnknownColumn, with a did-you-mean, if `expression` reads a column that `schema` has not."""
    qualified = qualified_columns(expression)
    for name in sorted(columns_of(expression)):
        require_column(name, schema, qualified=name in qualified)


def require_column(name: str, schema: pa.Schema, *, qualified: bool = False) -> None:
    """Raise UnknownColumn, with a did-you-mean, if `schema` has no column called `name`.

    `qualified`: it was written as DataFusion's own ``col("table.column")``, and no stream has a table.
    """
    if name in schema.names and not qualified:
        return
    near = [known for known in schema.names if known.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, schema.names, n=3)
    guess = "did you mean " + " or ".join(f'ks.col("{known}")' for known in near) + "? " if near else ""
    raise UnknownColumn(
        f"there is no column {name!r} here",
        hint=f"{guess}the columns are: {', '.join(schema.names)}",
        column=name,
        columns=tuple(schema.names),
    )


def require_distinct(names: Iterable[str]) -> None:
    """Raise DuplicateColumn if a name comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DuplicateColumn(
                f"two columns are called {name!r}",
                hint='give one another name, for example with ks.col("x").alias("y") or y=ks.col("x")',
                column=name,
            )
        seen.add(name)


def planning_mistake(what: str, used: Iterable[str], schema: pa.Schema, error: Exception) -> WrongType:
    """Return the error for what DataFusion said while it planned `what`, which reads the columns `used`."""
    types = ", ".join(f"{name} is {schema.field(name).type}" for name in sorted(used))
    return WrongType(
        f"{what} cannot be computed: {_cause(error)}",
        hint=f"{types}; .cast(...) changes a type" if types else "check its arguments",
        expression=what,
    )


def _schema_of(columns: Sequence[tuple[str, Expr]], schema: pa.Schema) -> pa.Schema:
    what = ", ".join(str(expression.canonical_name()) for _, expression in columns)
    aliased = [expression.alias(name) for name, expression in columns]
    try:
        return ReusedPlan(schema, lambda table: table.select(*aliased), batch_rows=_PLANNING_ROWS).schema
    except Exception as error:  # DataFusion raises bare Exception
        used = frozenset[str]().union(*(columns_of(expression) for _, expression in columns))
        raise planning_mistake(what, used, schema, error) from error


def _without_views(expression: Expr, kind: pa.DataType) -> Expr:
    plain = _plain_type(kind)
    return expression if plain == kind else expression.cast(plain)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if kind == pa.string_view():
        return pa.string()
    if kind == pa.binary_view():
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain_type(field.type)) for field in kind])
    return kind


def _cause(error: Exception) -> str:
    """Return the line of DataFusion's message that speaks of the user's expression."""
    innermost = str(error).rpartition("\ncaused by\n")[2]
    line = innermost.partition("\n")[0]
    for prefix in ("DataFusion error: ", "Error during planning: ", "Internal error: "):
        line = line.removeprefix(prefix)
    return line.partition(", errors: ")[0]
