"""Tables as a sink: what users write, and which of the two ways of delivery it stands for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from krishiv_connectors._sink_family import SinkFamily
from krishiv_connectors.postgres._database import CLIENT_LIBRARIES, Database
from krishiv_connectors.postgres._errors import TableMissing
from krishiv_connectors.postgres._rights import check_rights, on_schema
from krishiv_connectors.postgres._table import check_server, find_table, make_table
from krishiv_connectors.postgres._types import NAME_BYTES, declared
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors._secrets import Secret
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.postgres._rights import Right
    from krishiv_connectors.postgres._table import Table

__all__ = ["PostgresSink"]


class PostgresSink(SinkFamily):
    """Writes rows to a table of a PostgreSQL database.

    Calling it gives an `AppendPostgresSink` (exactly once) or, with ``mode="upsert"``, an `UpsertPostgresSink`
    (effectively once by its keys).

    Parameters
    ----------
    dsn : str or Secret
        A connection string of libpq: ``"postgresql://user@host:5432/database"`` or ``"host=... dbname=..."``. Errors
        and `repr` show it without its password.
    table : str
        The table's name, as it is: with its capitals and without its schema.
    mode : "append" or "upsert"
        ``"append"``: every row is inserted. ``"upsert"``: a row replaces the one with equal keys.
    keys : str or sequence of str
        For ``"upsert"``: the columns that identify a row. A table that exists needs a unique index over them.
    schema : str, optional
        The table's schema. By default the search path of the connection decides.
    create : bool
        Whether a table that is missing is made from the rows' columns (with `keys` as its primary key).
    password : str or Secret, optional
        Goes before one in `dsn`: ``Secret.from_env("PGPASSWORD")``.

    Raises
    ------
    ConfigurationError
        If the arguments do not fit together.

    Notes
    -----
    Columns of a new table: integers as the next larger of smallint, integer, bigint (unsigned 64 bits: numeric(20,0));
    floats as real and double precision; text as text; binary as bytea; decimals as numeric with their digits;
    timestamps in microseconds, with a time zone where they have one (stored as moments, their zone is not kept); dates,
    times, durations (as interval); lists of these as arrays. Nanoseconds that microseconds cannot hold are an error.
    """

    client_libraries = CLIENT_LIBRARIES

    @classmethod
    def pick(cls, options: Mapping[str, Any]) -> type[Any]:
        """Return the class for mode."""
        return _class_for(options) if cls is PostgresSink else cls

    def __init__(
        self,
        dsn: str | Secret,
        table: str,
        *,
        mode: Literal["append", "upsert"] = "append",
        keys: str | Sequence[str] = (),
        schema: str | None = None,
        create: bool = True,
        password: str | Secret | None = None,
    ) -> None:
        self.table, self.mode = table, mode
        self._keys = (keys,) if isinstance(keys, str) else tuple(keys)
        self._schema, self._create = schema, create
        self._database = Database(dsn, password)
        self._check_arguments()

    def _check_arguments(self) -> None:
        if self.mode not in ("append", "upsert"):
            raise ConfigurationError(f"mode={self.mode!r}", hint='"append" or "upsert"')
        if self.mode == "upsert" and not self._keys:
            raise ConfigurationError('mode="upsert" without keys', hint='name the columns of the key: keys=("id",)')
        if self.mode == "append" and self._keys:
            raise ConfigurationError("keys without an upsert", hint='mode="upsert", or leave out keys')
        if len(set(self._keys)) != len(self._keys):
            raise ConfigurationError(f"keys={list(self._keys)!r}", hint="name each column once")
        for name in (self.table, self._schema):
            if name is not None and not 0 < len(name.encode()) <= NAME_BYTES:
                raise ConfigurationError(f"no name of 1 to {NAME_BYTES} bytes: {name!r}", hint="PostgreSQL cuts others")
        if self._schema is None and "." in self.table:
            schema, _, name = self.table.partition(".")
            raise ConfigurationError(
                f"table={self.table!r} without a schema", hint=f'schema="{schema}", table="{name}"', table=self.table
            )

    # ---------------------------------------------------------------- what the subclasses share

    def check(self, schema: pa.Schema) -> None:
        """Raise if the server cannot be reached, the table does not fit, or this user may not write to it."""
        declared(schema)
        with self._database.connected(f"table {self.table}") as connection:
            check_server(connection)
            table = find_table(connection, self.table, self._schema)
            self._check_table(table, schema)
            check_rights(connection, self._database.place, self._rights(connection, table))

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode."""
        return {"mode": self.mode}

    def _check_table(self, table: Table, schema: pa.Schema) -> None:
        if table.oid is None:
            if not self._create:
                raise TableMissing(
                    f"table {table.shown} does not exist",
                    hint="create it, or leave out create=False",
                    table=table.shown,
                )
            return
        table.check_kind()
        table.fitting(schema, self._keys)
        if self._keys:
            table.check_keys(self._keys)

    def _ready(self, connection: Any, ctx: SinkContext) -> Table:
        """Return the table, which is made if it is missing, once rows are known to fit into it."""
        table = find_table(connection, self.table, self._schema)
        if table.oid is None and self._create:
            self._check_new(connection, table, ctx)
            make_table(connection, table, ctx.schema, self._keys)
            table = find_table(connection, self.table, table.schema)
        self._check_table(table, ctx.schema)
        return table

    def _check_new(self, connection: Any, table: Table, ctx: SinkContext) -> None:
        """Raise if a table that is missing is not to be made."""

    def _rights(self, connection: Any, table: Table) -> list[Right]:
        """Return what has to be allowed."""
        return [on_schema("USAGE", table.schema), *([on_schema("CREATE", table.schema)] if table.oid is None else [])]


def _class_for(options: Mapping[str, Any]) -> type[Any]:
    upsert = options.get("mode") == "upsert"
    module, name = ("_upsert_sink", "UpsertPostgresSink") if upsert else ("_append_sink", "AppendPostgresSink")
    found: type[Any] = getattr(import_module(f"krishiv_connectors.postgres.{module}"), name)
    return found
