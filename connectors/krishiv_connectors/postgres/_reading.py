"""Rows of a query as Arrow batches, by the ADBC driver: the server's binary COPY, decoded without a loop over rows.

Types of the driver are unknown to the type checkers in part; what comes from it is `Any` here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._extras import need
from krishiv_connectors.postgres._errors import QueryUnfit
from krishiv_connectors.postgres._failures import CONNECTION_LOST, passing
from krishiv_connectors.postgres._types import Column, quoted

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_connectors.postgres._database import Database

__all__ = ["Fetch", "QueryColumn", "query_columns"]

_BATCH_BYTES = "4194304"
"""What the driver gathers before it gives a batch: larger ones are not faster."""
_AS_TEXT = frozenset(("uuid",))
"""Types that are read as the text that they are written as."""
_REFUSED = frozenset(("money", "oid", "interval"))
"""Types that the driver gives as values that lack something: their digits, their sign, how long a month is."""


class QueryColumn:
    """A column of a query.

    Parameters
    ----------
    field : pa.Field
        As the driver describes it.

    Raises
    ------
    QueryUnfit
        If it cannot be read.
    """

    def __init__(self, field: pa.Field) -> None:
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        self.name = field.name
        self.kind = facts.get("POSTGRESQL:type", "")
        self.type = self._type(field.type, int(facts.get("POSTGRESQL:typmod", "-1")))

    @property
    def sql(self) -> str:
        """The expression that is selected."""
        name = quoted(self.name)
        return f"{name}::text AS {name}" if self.kind in _AS_TEXT else name

    def _type(self, kind: pa.DataType, modifier: int) -> pa.DataType:
        if self.kind in _AS_TEXT:
            return pa.string()
        if self.kind == "numeric":
            digits = Column(self.name, "numeric", "", modifier).digits
            return pa.string() if digits is None or not 0 < digits[0] <= 38 else pa.decimal128(*digits)
        if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json":
            return pa.string()
        if self.kind in _REFUSED or not _is_plain(kind):
            raise QueryUnfit(
                f"the query's column {self.name!r} is of type {self.kind or kind}, which cannot be read",
                hint=f"cast it in the query: {quoted(self.name)}::text, or to_json({quoted(self.name)})",
                column=self.name,
                type=self.kind,
            )
        return kind


def _is_plain(kind: pa.DataType) -> bool:
    # Arrays of several dimensions would come as flat lists, and nothing tells them apart.
    return not isinstance(kind, pa.BaseExtensionType) and not pat.is_nested(kind) and not pat.is_null(kind)


def query_columns(database: Database, statement: str) -> list[QueryColumn]:
    """Return the columns that `statement` gives; it is not run.

    Raises
    ------
    QueryUnfit
        If it is no statement that the server takes, or a column cannot be read.
    """
    # The driver takes over SIGINT while it works on the main thread.
    with ThreadPoolExecutor(1, "describe a query") as pool:
        return [QueryColumn(field) for field in pool.submit(_described, database, statement).result()]


def _described(database: Database, statement: str) -> pa.Schema:
    fetch = Fetch(database, statement)
    try:
        return fetch.describe()
    finally:
        fetch.close()


class Fetch:
    """One running statement, on a connection of its own.

    `batches` and `close` are called on one thread, `cancel` on any.
    """

    def __init__(self, database: Database, statement: str) -> None:
        library = need("adbc_driver_postgresql.dbapi", "postgres", what="a PostgreSQL source")
        self._place = database.place
        self._statement = statement
        with database.connected("the query"):  # what is wrong with the connection is told better here
            pass
        with self._errors():
            self._connection: Any = library.connect(database.uri("krishiv-stream"), autocommit=True)
        self._cursor: Any = self._connection.cursor()

    def describe(self) -> pa.Schema:
        """Return the columns as the driver describes them, once this user is known to be let to read them."""
        with self._errors():
            found = self._cursor.adbc_execute_schema(self._statement)
            self._cursor.execute(f"{self._statement} LIMIT 0")
            return found

    def batches(self) -> Generator[pa.RecordBatch]:
        """Run it."""
        with self._errors():
            self._cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES})
            self._cursor.execute(self._statement)
            # The reader that the driver would hand out knows no SQLSTATE.
            yield from self._cursor._results.reader

    def cancel(self) -> None:
        """Have the server stop, so that nobody waits for what it sorts."""
        with self._errors():
            self._cursor.adbc_cancel()

    def close(self) -> None:
        """Close the connection."""
        self._cursor.close()
        self._connection.close()

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Raise the driver's errors as ours."""
        from adbc_driver_manager import Error

        try:
            yield
        except (Error, OSError, pa.ArrowException) as error:
            said = " ".join(str(error).split())
            state = getattr(error, "sqlstate", None) or CONNECTION_LOST
            text = f"the query in {self._place}: {said}"
            raise passing(state, text, self._place) or QueryUnfit(
                text, hint="mend the query; it has to run as a subquery: SELECT ... FROM (query)", sqlstate=state
            ) from error
