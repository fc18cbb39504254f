"""Harnesses of PostgreSQL's sink and source. They need a server that may be killed.

`KRISHIV_CERTIFY_POSTGRES` starts one.
Types of ``psycopg`` are not known where it is not installed; what comes from it is `Any` here.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import polars as pl

from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness
from krishiv_conformance._rows import rows_of
from krishiv_conformance._servers import CommandServer
from krishiv_conformance._shipped._sinks import as_table
from krishiv_connectors import PostgresSource
from krishiv_connectors.postgres._append_sink import AppendPostgresSink

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["DATABASE", "PostgresSinkHarness", "PostgresSourceHarness"]

DATABASE = CommandServer("KRISHIV_CERTIFY_POSTGRES", "a PostgreSQL server")

_TABLE = "rows"
_COLUMNS = 'id bigint, name text, amount double precision, "at" timestamptz'


class _InSchema(Harness):
    """What needs a schema of its own for each case."""

    server = DATABASE

    def set_up(self, workdir: Path) -> None:
        """Make the schema."""
        with self._connected(workdir) as connection:
            connection.execute(f'CREATE SCHEMA "{self.own_name(workdir)}"')

    def tear_down(self, workdir: Path) -> None:
        """Drop it. A server that is dead takes it along anyway."""
        psycopg: Any = import_module("psycopg")
        with suppress(psycopg.Error), self._connected(workdir) as connection:
            connection.execute("SET lock_timeout = '2s'")  # a zombie may hold its table
            connection.execute(f'DROP SCHEMA IF EXISTS "{self.own_name(workdir)}" CASCADE')

    def _dsn(self, workdir: Path) -> str:
        # A place where nobody listens is written without the scheme.
        address = self.address(workdir)
        return address if "://" in address else f"postgresql://{address}/nowhere"

    @contextmanager
    def _connected(self, workdir: Path) -> Generator[Any]:
        psycopg: Any = import_module("psycopg")
        connection = psycopg.connect(self.address(workdir), autocommit=True, connect_timeout=10)
        try:
            yield connection
        finally:
            connection.close()


class PostgresSinkHarness(_InSchema, SinkHarness):
    """A table, in a schema for each case, read by a plain SELECT."""

    connector = AppendPostgresSink

    @property
    def name(self) -> str:
        """What users write."""
        return "PostgresSink"

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        there = find_spec("psycopg") and find_spec("pgpq")
        return "" if there else "psycopg or pgpq is not installed (krishiv-stream[postgres])"

    def make(self, workdir: Path) -> AppendPostgresSink:
        """Return the sink."""
        return AppendPostgresSink(self._dsn(workdir), _TABLE, schema=self.own_name(workdir))

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the whole table, if it is there."""
        columns = ", ".join(f'"{name}"' for name in schema.names)
        target = f'"{self.own_name(workdir)}".{_TABLE}'
        rows: list[Any] = []
        with self._connected(workdir) as connection:
            if connection.execute("SELECT to_regclass(%s)", (target,)).fetchone() != (None,):
                rows = connection.execute(f"SELECT {columns} FROM {target}").fetchall()
        return as_table([pl.DataFrame(rows, schema=schema.names, orient="row")] if rows else [], schema)


class PostgresSourceHarness(_InSchema, SourceHarness):
    """A query over a table, in ranges of its key."""

    connector = PostgresSource

    def missing(self) -> str:
        """Return what to install, if there is no client library."""
        there = find_spec("psycopg") and find_spec("adbc_driver_postgresql")
        return "" if there else "psycopg or adbc-driver-postgresql is not installed (krishiv-stream[postgres])"

    def set_up(self, workdir: Path) -> None:
        """Make the schema, and in it the table."""
        super().set_up(workdir)
        with self._connected(workdir) as connection:
            connection.execute(f"CREATE TABLE {self._table(workdir)} ({_COLUMNS})")

    def make(self, workdir: Path) -> PostgresSource:
        """Return the source."""
        query = f"SELECT * FROM {self._table(workdir)}"
        return PostgresSource(self._dsn(workdir), query, split_by="id", splits=3)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Insert the rows."""
        with self._connected(workdir) as connection:
            statement = f"INSERT INTO {self._table(workdir)} VALUES (%s, %s, %s, %s)"
            connection.cursor().executemany(statement, rows_of(rows))

    def _table(self, workdir: Path) -> str:
        return f'"{self.own_name(workdir)}".{_TABLE}'
