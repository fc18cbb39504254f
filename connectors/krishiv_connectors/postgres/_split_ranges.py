"""How a query is cut into ranges of a column, and how a range is read in the order of its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from krishiv_connectors.postgres._errors import SplitUnfit
from krishiv_connectors.postgres._types import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Keys", "Query", "check_keys", "column_sql", "literal", "ranges"]

_ROWS = "krishiv_rows"
_INTEGERS = ("int2", "int4", "int8")
_BOUNDS = {
    # Of integers without their overflow; numeric division keeps more digits than an integer has.
    **dict.fromkeys(_INTEGERS, "trunc(low::numeric + (high::numeric - low::numeric) * i / {n})::bigint"),
    "numeric": "low + (high - low) * i / {n}",
    "date": "low + ((high - low)::bigint * i / {n})::integer",
    "timestamp": "low + (high - low) * (i::double precision / {n})",
    "timestamptz": "low + (high - low) * (i::double precision / {n})",
}
"""By type: the expression of bound i of n between `low` and `high`."""
_ORDERED = {*_BOUNDS, "text", "varchar", "uuid"}
"""Types whose values are equal only if their text is, and whose text gives the same value again."""


@dataclass(frozen=True)
class Keys:
    """The columns in whose order rows are read, with their types.

    Parameters
    ----------
    types : mapping
        PostgreSQL's short name of the type of each.
    """

    types: Mapping[str, str]

    @property
    def order(self) -> str:
        """The list of an ORDER BY."""
        return ", ".join(map(column_sql, self.types))

    def at_least(self, values: Sequence[str]) -> str:
        """Return the condition that keys are `values`, as texts, or come after them."""
        bounds = ", ".join(literal(value, kind) for value, kind in zip(values, self.types.values(), strict=True))
        return f"({self.order}) >= ({bounds})"


@dataclass(frozen=True)
class Query:
    """What the user asked for, as part of a statement."""

    text: str

    @property
    def sql(self) -> str:
        """The query as an item of a FROM; a comment at its end does not reach further."""
        return f"(\n{self.text.strip().rstrip(';')}\n) AS {_ROWS}"

    def select(self, columns: Sequence[str], conditions: Sequence[str] = (), keys: Keys | None = None) -> str:
        """Return a statement that gives expressions of the rows that meet all conditions, in the order of `keys`."""
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = f" ORDER BY {keys.order}" if keys is not None and keys.types else ""
        return f"SELECT {', '.join(columns)} FROM {self.sql}{where}{order}"


def column_sql(name: str) -> str:
    """Return a column of the query, not of what is selected from it: that may have the name and another type."""
    return f"{_ROWS}.{quoted(name)}"


def literal(text: str, kind: str) -> str:
    """Return the SQL of the value of type `kind` that is written as `text`."""
    escaped = text.replace("'", "''").replace("\\", "\\\\")
    return f"E'{escaped}'::{kind}"


def check_keys(types: Mapping[str, str], with_digits: Collection[str]) -> None:
    """Raise if rows cannot be ordered by columns of these types.

    Parameters
    ----------
    with_digits : collection of str
        The columns of type numeric that have a scale: of others 1.0 and 1.00 are equal, and different texts.
    """
    for name, kind in types.items():
        if kind not in _ORDERED or (kind == "numeric" and name not in with_digits):
            hint = f"order by a column of {', '.join(sorted(_ORDERED))}, or cast it in the query"
            raise SplitUnfit(f"rows cannot be ordered by {name!r}, a column of {kind}", hint=hint, column=name)


def ranges(connection: Any, query: Query, column: str, kind: str, count: int) -> list[tuple[str, str, bool]]:
    """Cut the values of `column` into `count` ranges of equal width.

    Returns
    -------
    list of (first, last, whole)
        As texts; `whole` says that `last` belongs to the range. Empty if there are no rows.

    Raises
    ------
    SplitUnfit
        If the column's type has no middle, or it has nulls or infinite values.
    """
    if kind not in _BOUNDS:
        hint = f"split by a column of {', '.join(sorted(_BOUNDS))}; order_by may name others"
        raise SplitUnfit(f"rows cannot be split by {column!r}, a column of {kind}", hint=hint, column=column)
    name = column_sql(column)
    null = connection.execute(f"SELECT EXISTS (SELECT FROM {query.sql} WHERE {name} IS NULL)").fetchone()[0]
    low, high = connection.execute(f"SELECT min({name})::text, max({name})::text FROM {query.sql}").fetchone()
    if null:
        hint = "filter such rows in the query, or replace the null with coalesce"
        raise SplitUnfit(f"column {column!r} has nulls: no range holds them", hint=hint, column=column)
    if low is None:
        return []
    if "infinity" in low + high or "Infinity" in low + high or "NaN" in low + high:
        hint = "filter such rows in the query"
        raise SplitUnfit(f"column {column!r} has infinite values: there is no middle", hint=hint, column=column)
    bounds = [low, *_middle(connection, kind, low, high, count), high]
    return [(bounds[i], bounds[i + 1], i == count - 1) for i in range(count)]


def _middle(connection: Any, kind: str, low: str, high: str, count: int) -> list[str]:
    expression = _BOUNDS[kind].format(n=count)
    statement = f"""
        SELECT ({expression})::{kind}::text
        FROM (SELECT {literal(low, kind)} AS low, {literal(high, kind)} AS high) AS ends,
             generate_series(1, {count - 1}) AS i
        ORDER BY i"""
    return [row[0] for row in connection.execute(statement).fetchall()]
