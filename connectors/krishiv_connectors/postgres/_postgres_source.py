"""Queries as a source: cut into ranges of a key, each read in the order of its keys, by position in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._source import Source, Split
from krishiv_connectors.postgres._database import Database
from krishiv_connectors.postgres._errors import QueryChanged, QueryUnfit, SplitUnfit
from krishiv_connectors.postgres._range_reader import RangeReader
from krishiv_connectors.postgres._reading import query_columns
from krishiv_connectors.postgres._split_ranges import Keys, Query, check_keys, column_sql, literal, ranges
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_connectors._secrets import Secret
    from krishiv_connectors._source import Reader, SourceContext
    from krishiv_connectors.postgres._reading import QueryColumn

__all__ = ["PostgresSource"]


class PostgresSource(Source["list[str]"]):
    """The rows of a query, once.

    Parameters
    ----------
    dsn : str or Secret
        A connection string of libpq: ``"postgresql://user@host:5432/database"``.
    query : str
        A SELECT, without parameters; it runs as a subquery.
    split_by : str, optional
        A column of the query: integer, numeric(p, s), date or timestamp, without nulls. The rows are read in `splits`
        ranges of it, at the same time.
    splits : int
        How many.
    order_by : str or sequence of str, optional
        The columns in whose order a split is read: together they are different for every row. By default `split_by`.
    password : str or Secret, optional
        Goes before one in `dsn`.

    Raises
    ------
    ConfigurationError
        If the arguments do not fit together.

    Notes
    -----
    A position is the key of the row that was read last; after a failure a split is read on behind it. Each split is one
    statement, and sees the table as it is when that begins; there is no snapshot that all splits share, and none that
    outlives a failure. If keys are unique and never change, each row that is there all the time is read exactly once,
    as it was at some moment of the run. A row that is inserted meanwhile is read if its key lies ahead within the
    range of its split. Rows that have equal keys stop the job with `KeyNotUnique`. Without `order_by` and `split_by`
    rows have no positions: after a failure the query is read from its beginning, at least once.

    The ranges are decided when the job first starts. ``numeric(p, s)`` is read as decimal, ``numeric`` without digits,
    ``uuid``, ``json`` and enumerations as text, ``timestamptz`` as microseconds in UTC.
    """

    client_libraries = ("psycopg", "adbc-driver-postgresql")

    def __init__(
        self,
        dsn: str | Secret,
        query: str,
        *,
        split_by: str | None = None,
        splits: int = 4,
        order_by: str | Sequence[str] | None = None,
        password: str | Secret | None = None,
    ) -> None:
        self._database = Database(dsn, password)
        self._query = Query(query)
        self._split_by, self._splits = split_by, splits
        given = (split_by,) if order_by is None and split_by is not None else order_by or ()
        self._order_by = (given,) if isinstance(given, str) else tuple(given)
        self._columns: list[QueryColumn] | None = None
        self._check_arguments()

    def _check_arguments(self) -> None:
        if self._splits < 1:
            raise ConfigurationError(f"splits={self._splits!r}", hint="a whole number from 1 on")
        if self._split_by is not None and self._split_by not in self._order_by:
            hint = f"order_by=({self._split_by!r}, ...): the rows of a range are read in one order"
            raise ConfigurationError(f"order_by without split_by={self._split_by!r}", hint=hint)
        if len(set(self._order_by)) != len(self._order_by):
            raise ConfigurationError(f"order_by={list(self._order_by)!r}", hint="name each column once")

    # ---------------------------------------------------------------- what the engine asks

    def schema(self) -> pa.Schema:
        """Return the columns of the query."""
        return pa.schema([(column.name, column.type) for column in self._described()])

    def splits(self) -> Sequence[Split]:
        """Return the ranges, as they are now; none if there are no rows."""
        keys, schema = self._keys(), str(self.schema())
        if self._split_by is None:
            return [Split("0", {"range": None, "schema": schema}, [])]
        kind = keys.types[self._split_by]
        with self._database.connected("the query") as connection:
            found = ranges(connection, self._query, self._split_by, kind, self._splits)
        return [Split(str(number), {"range": list(each), "schema": schema}, []) for number, each in enumerate(found)]

    def later_splits(self) -> Sequence[Split]:
        """Return none: the ranges were decided when the job began, and are in its checkpoints."""
        return []

    def open(self, split: Split, position: list[str] | None, ctx: SourceContext) -> Reader[list[str]]:
        """Read a range, behind the key in `position`.

        Raises
        ------
        QueryChanged
            If the query gives other columns than when the job began.
        """
        self._check_changed(split.payload["schema"])
        keys = self._keys()
        wanted = set(self.schema().names if ctx.columns is None else ctx.columns)
        columns = [column for column in self._described() if column.name in wanted or column.name in keys.types]
        conditions = self._conditions(split.payload["range"], keys)
        if position:
            conditions.append(keys.at_least(position))
        statement = self._query.select([column.sql for column in columns], conditions, keys)
        given = pa.schema([(column.name, column.type) for column in columns if column.name in wanted])
        return RangeReader(
            self._database,
            statement,
            read=pa.schema([(column.name, column.type) for column in columns]),
            given=given,
            keys=tuple(keys.types),
            position=position or [],
            batch_rows=ctx.batch_rows,
        )

    def capabilities(self) -> SourceCapabilities:
        """Bounded; replayable from exact positions if rows have an order."""
        ordered = bool(self._order_by)
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=ordered, ordered_replay=ordered)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether rows are read in ranges and in an order."""
        return {"split": self._split_by is not None, "ordered": bool(self._order_by)}

    # ---------------------------------------------------------------- inside

    def _described(self) -> list[QueryColumn]:
        if self._columns is None:
            found = query_columns(self._database, self._query.select(["*"]))
            for column in found:
                if sum(each.name == column.name for each in found) > 1:
                    raise QueryUnfit(
                        f"the query has two columns {column.name!r}", hint="rename one with AS", column=column.name
                    )
            self._columns = found
        return self._columns

    def _keys(self) -> Keys:
        kinds = {column.name: column.kind for column in self._described()}
        for name in self._order_by:
            if name not in kinds:
                hint = f"one of {', '.join(kinds)}"
                raise SplitUnfit(f"the query has no column {name!r} to order by", hint=hint, column=name)
        types = {name: kinds[name] for name in self._order_by}
        check_keys(types, {column.name for column in self._described() if pa.types.is_decimal(column.type)})
        return Keys(types)

    def _conditions(self, bounds: Sequence[Any] | None, keys: Keys) -> list[str]:
        if bounds is None or self._split_by is None:
            return []
        kind = keys.types[self._split_by]
        first, last, whole = bounds
        name = column_sql(self._split_by)
        return [f"{name} >= {literal(first, kind)}", f"{name} {'<=' if whole else '<'} {literal(last, kind)}"]

    def _check_changed(self, stored: str) -> None:
        if str(self.schema()) != stored:
            raise QueryChanged(
                f"the query in {self._database.place} gives other columns than when the job began",
                hint=f"mend the query so that it gives these again, or start a new job:\n{stored}",
            )
