"""A table as its server describes it: found, checked against rows and rights, and made where it is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from krishiv_connectors.postgres._errors import PostgresRefused, PostgresUnfit, TableMissing
from krishiv_connectors.postgres._types import Column, declared, mismatch, quoted
from krishiv_connectors.postgres._values import Fitting

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

__all__ = ["Table", "check_server", "find_table", "make_table"]

_SCHEMA = """
SELECT coalesce((SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = to_regclass(%s)), current_schema())
"""
_FIND = """
SELECT c.oid, c.relkind::text, c.relpersistence::text, row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod), a.atttypmod, a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated = '' AND a.attidentity <> 'a'
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_UNIQUE = """
SELECT (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True)
class Table:
    """A table, which may be missing.

    Parameters
    ----------
    schema, name : str
        Its schema, and its name in it.
    columns : tuple of Column
        Empty where it is missing.
    unique : tuple of frozenset of str
        The sets of columns that unique indexes hold.
    """

    schema: str
    name: str
    oid: int | None = None
    kind: str = ""
    persistence: str = ""
    secured: bool = False
    columns: tuple[Column, ...] = ()
    unique: tuple[frozenset[str], ...] = field(default=())

    @property
    def shown(self) -> str:
        """As errors name it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """As statements name it."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def fitting(self, schema: pa.Schema, keys: tuple[str, ...] = ()) -> Fitting:
        """Return how rows x `schema` become what the columns take.

        Raises
        ------
        TableMismatch
            If they do not fit.
        """
        found = {column.name: column for column in self.columns}
        for name in schema.names:
            if name not in found:
                near = next((each for each in found if each.lower() == name.lower()), None)
                hint = f"it has {near!r}: rename the column" if near else "add the column, or drop or rename the table"
                raise mismatch(self.shown, name, "is missing in it", hint)
        for column in self.columns:
            if column.required and not column.filled and column.name not in schema.names:
                hint = "give it a default, or drop it"
                raise mismatch(self.shown, column.name, "needs a value that the rows do not have", hint)
        return Fitting(schema, found, self.shown, keys)

    def check_kind(self) -> None:
        """Raise if rows in such a table cannot be kept as surely as the mark that speaks of them."""
        if self.kind in _KINDS:
            raise self._unfit("kind", _KINDS[self.kind], "name a table")
        if self.persistence == "u":
            hint = f"ALTER TABLE {self.sql} SET LOGGED: a crash of the server empties it, and the marks stay"
            raise self._unfit("persistence", "unlogged", hint)
        if self.secured:
            hint = "COPY does not work with row-level security: use a role with BYPASSRLS, or the table's owner"
            raise self._unfit("row level security", "active", hint)

    def check_keys(self, keys: tuple[str, ...]) -> None:
        """Raise if no unique index tells that rows with equal keys are one."""
        if frozenset(keys) not in self.unique:
            names = ", ".join(map(quoted, keys))
            hint = f"CREATE UNIQUE INDEX ON {self.sql} ({names}), plain: no WHERE, no expressions"
            raise self._unfit("unique index", f"none over ({names})", hint)

    def _unfit(self, setting: str, found: str, hint: str) -> PostgresUnfit:
        text = f"table {self.shown}: {setting}: {found}"
        return PostgresUnfit(text, hint=hint, setting=setting, found=found)


def find_table(connection: Any, name: str, schema: str | None) -> Table:
    """Return what the server says about a table; without a schema the search path decides, as for any statement.

    Raises
    ------
    TableMissing
        If the schema does not exist.
    """
    if schema is None:
        schema = connection.execute(_SCHEMA, (quoted(name),)).fetchone()[0]
    if schema is None or not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone():
        shown = "of the search path" if schema is None else repr(schema)
        raise TableMissing(f"schema {shown} does not exist", hint="create it, or name another: schema=...", table=name)
    found = connection.execute(_FIND, (schema, name)).fetchone()
    if found is None:
        return Table(schema, name)
    oid, kind, persistence, secured = found
    columns = tuple(Column(*row) for row in connection.execute(_COLUMNS, (oid,)).fetchall())
    unique = tuple(frozenset(row[0]) for row in connection.execute(_UNIQUE, (oid,)).fetchall())
    return Table(schema, name, oid, kind, persistence, secured, columns, unique)


def make_table(connection: Any, table: Table, schema: pa.Schema, keys: Sequence[str]) -> None:
    """Make `table` for rows x `schema`, with `keys` as its primary key, if it is missing."""
    columns = [f"{quoted(name)} {kind}" for name, kind in declared(schema).items()]
    if keys:
        columns.append(f"PRIMARY KEY ({', '.join(map(quoted, keys))})")
    with connection.transaction():
        # Two that make it at the same time would be in each other's way.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (table.shown,))
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table.sql} ({', '.join(columns)})")


def check_server(connection: Any) -> None:
    """Raise if the server is none that exactly-once output can go to.

    Raises
    ------
    PostgresUnfit
        If the database's encoding has no room for all characters.
    PostgresRefused
        If it takes no writes.
    """
    settings = "SELECT current_setting('server_encoding'), current_setting('transaction_read_only')"
    encoding, read_only = connection.execute(settings).fetchone()
    if encoding != "UTF8":
        hint = "create the database with ENCODING 'UTF8'"
        raise PostgresUnfit(
            f"the encoding of the database is {encoding}", hint=hint, setting="server_encoding", found=encoding
        )
    if read_only == "on":
        hint = "connect to the primary: target_session_attrs=read-write in the dsn"
        raise PostgresRefused("the server is a standby, or lets this user only read", hint=hint, sqlstate="25006")
