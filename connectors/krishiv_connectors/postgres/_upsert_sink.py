"""Effectively once into a table: rows replace those with equal keys, so that a replay changes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from krishiv_checkpoint import failpoint
from krishiv_connectors._errors import TargetBusy
from krishiv_connectors._sink import IdempotentSink, StickyError
from krishiv_connectors.postgres._copying import copy_rows
from krishiv_connectors.postgres._database import Connections
from krishiv_connectors.postgres._errors import PostgresUnavailable
from krishiv_connectors.postgres._marks import application_name, end_older_attempts
from krishiv_connectors.postgres._postgres_sink import PostgresSink
from krishiv_connectors.postgres._rights import on_database, on_table
from krishiv_connectors.postgres._types import quoted
from krishiv_guarantees import ConfigurationError, SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.postgres._rights import Right
    from krishiv_connectors.postgres._table import Table

__all__ = ["UpsertPostgresSink"]

_ROWS = 50_000
"""Rows are gathered up to so many before they are sent."""
_PATIENCE = 60.0
"""Seconds that a server which does not answer is waited for; then the job starts again from its checkpoint."""
_PAUSE = 0.25
_BATCH = "_krishiv_batch"


class UpsertPostgresSink(IdempotentSink, PostgresSink):
    """What ``PostgresSink(..., mode="upsert")`` is: rows replace those with equal keys.

    Notes
    -----
    Rows are gathered, reduced to the last one of each key, copied into a temporary table and merged from there by
    ``INSERT ... ON CONFLICT DO UPDATE``, in one transaction each time; all of them before a barrier passes. Between two
    checkpoints readers may see some rows of an epoch, and after a failure rows are written again, with the same values.
    """

    _opened: _Upserts | None = None

    @property
    def keys(self) -> tuple[str, ...]:  # type: ignore[override]  # an argument
        """The columns of the key."""
        return self._keys

    def open(self, ctx: SinkContext) -> None:
        """Look at the table, which is made if it is missing."""
        with self._database.connected(f"table {self.table}", application_name(ctx)) as connection:
            table = self._ready(connection, ctx)
        connections = Connections(self._database, application_name(ctx))
        self._opened = _Upserts(connections, table, ctx, self._keys)

    def write(self, batch: pa.RecordBatch) -> None:
        """Pass `batch` to `upsert`."""
        self.upsert(batch)

    def upsert(self, batch: pa.RecordBatch) -> None:
        """Gather rows, and send them when there are many.

        Raises
        ------
        UnstorableValue
            If a row can never be stored, or its key has a null.
        """
        self._upserts().add(batch)

    def flush(self) -> None:
        """Send what was gathered; returns when the server has it on disk."""
        self._upserts().flush()

    def close(self) -> None:
        """Close the connection; what was not sent is dropped."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def capabilities(self) -> SinkCapabilities:
        """Durable and idempotent by the keys."""
        return SinkCapabilities(durable_flush=True, idempotent_by=self._keys)

    def check(self, schema: pa.Schema) -> None:
        """Raise if a key is no column or of a type whose values are not plainly equal, and whatever its base does."""
        for key in self._keys:
            if key not in schema.names:
                hint = f"one of {', '.join(schema.names)}"
                raise ConfigurationError(f"keys: there is no column {key!r}", hint=hint, column=key)
            kind = schema.field(key).type
            if pat.is_nested(kind) or pat.is_floating(kind):
                hint = "cast it to an integer, a decimal or text with with_columns before write"
                raise ConfigurationError(f"keys: column {key!r} is of type {kind}", hint=hint, column=key)
        super().check(schema)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode and the keys."""
        return {"mode": self.mode, "keys": ",".join(self._keys)}

    def _rights(self, connection: Any, table: Table) -> list[Right]:
        (database,) = connection.execute("SELECT current_database()").fetchone()
        rights = [*super()._rights(connection, table), on_database("TEMPORARY", database)]
        return rights if table.oid is None else [*rights, on_table(table, "SELECT", "INSERT", "UPDATE")]

    def _upserts(self) -> _Upserts:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


class _Upserts:
    """What an open writer holds: rows that wait, and the first error that it met."""

    def __init__(self, connections: Connections, table: Table, ctx: SinkContext, keys: tuple[str, ...]) -> None:
        self._connections, self._table, self._ctx, self._keys = connections, table, ctx, keys
        self._fitting = table.fitting(ctx.schema, keys)
        self._waiting: list[pa.RecordBatch] = []
        self._sticky = StickyError()
        self._prepare, self._merge = _statements(table, self._fitting.schema.names, keys)

    def add(self, batch: pa.RecordBatch) -> None:
        with self._sticky.guard():
            self._waiting.append(self._fitting.fit(batch))
            if sum(each.num_rows for each in self._waiting) >= _ROWS:
                self._send()

    def flush(self) -> None:
        with self._sticky.guard():
            self._send()

    def close(self) -> None:
        self._connections.close()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        rows = pa.Table.from_batches(waiting, self._fitting.schema)
        if rows.num_rows:
            self._send_until_done(_last_of_each(rows, self._keys).to_batches())

    def _send_until_done(self, batches: list[pa.RecordBatch]) -> None:
        """Try again while the trouble is a passing one: whatever became of the try before, this one changes nothing."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._try(batches)
            except (PostgresUnavailable, TargetBusy):
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)

    def _try(self, batches: list[pa.RecordBatch]) -> None:
        with self._connections.borrowed(f"table {self._table.shown}") as connection:
            try:
                with connection.transaction():
                    connection.execute(self._prepare)
                    copy_rows(connection, _BATCH, batches, self._fitting.schema)
                    failpoint("commit.during")
                    connection.execute(self._merge)
                    failpoint("commit.during")
            except Exception as error:
                if getattr(error, "sqlstate", None) == "55P03":
                    end_older_attempts(connection, self._ctx)
                raise


def _statements(table: Table, names: list[str], keys: tuple[str, ...]) -> tuple[str, str]:
    """Return the statement that makes the temporary table, and the one that merges it."""
    columns = ", ".join(map(quoted, names))
    prepare = f"CREATE TEMPORARY TABLE {_BATCH} ON COMMIT DROP AS SELECT {columns} FROM {table.sql} WITH NO DATA"
    by = ", ".join(map(quoted, keys))
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name not in keys)
    action = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
    # In the order of the keys: two slots that write the same ones then do not wait for each other in a circle.
    merge = (
        f"INSERT INTO {table.sql} ({columns}) SELECT {columns} FROM {_BATCH} ORDER BY {by} ON CONFLICT ({by}) {action}"
    )
    return prepare, merge


def _last_of_each(rows: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """Return the last row of each key."""
    numbered = rows.select(keys).append_column("", pa.array(np.arange(rows.num_rows)))
    last = numbered.group_by(list(keys)).aggregate([("", "max")]).column("_max")
    return rows if len(last) == rows.num_rows else rows.take(last)
