"""Exactly once into a table: an epoch's rows wait in the store, then go in with their mark in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import failpoint
from krishiv_connectors._errors import TargetBusy
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors.postgres._copying import copy_rows
from krishiv_connectors.postgres._database import Connections
from krishiv_connectors.postgres._errors import TableMissing
from krishiv_connectors.postgres._marks import MARKS, Marks, application_name, end_older_attempts
from krishiv_connectors.postgres._postgres_sink import PostgresSink
from krishiv_connectors.postgres._rights import on_schema, on_table
from krishiv_connectors.postgres._table import find_table
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from krishiv_checkpoint import Mark
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.postgres._rights import Right
    from krishiv_connectors.postgres._table import Table
    from krishiv_connectors.postgres._values import Fitting

__all__ = ["AppendPostgresSink"]


class AppendPostgresSink(StagedSink, PostgresSink):
    """What ``PostgresSink(...)`` is by default.

    Notes
    -----
    A slot's writer casts rows to the types of the table's columns and looks at their values before it stages them, so
    that a row that cannot be stored fails before its epoch is decided. The committer writes them by COPY, and the
    slot's mark in the table ``_krishiv_marks`` of the same schema, in one transaction: readers see an epoch of a slot
    as a whole. Constraints and triggers of the table are looked at by the server, and only then.
    """

    _fitting: Fitting | None = None
    _committing: _Committing | None = None

    def open(self, ctx: SinkContext) -> None:
        """Look at the table, which is made if it is missing; the committer makes the table of marks besides."""
        with self._database.connected(f"table {self.table}", application_name(ctx)) as connection:
            table = self._ready(connection, ctx)
            marks = Marks(table.schema, table.name)
            if ctx.slot is None:
                marks.make(connection)
        self._fitting = table.fitting(ctx.schema)
        super().open(replace(ctx, schema=self._fitting.schema))
        if ctx.slot is None:
            self._committing = _Committing(Connections(self._database, application_name(ctx)), table, marks)

    def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows.

        Raises
        ------
        UnstorableValue
            If a row can never be stored.
        """
        if self._fitting is None:
            raise ValueError("the sink is not open")
        super().write(self._fitting.fit(batch))

    def close(self) -> None:
        """Close connections; a transaction that is open is rolled back."""
        super().close()
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.connections.close()

    def capabilities(self) -> SinkCapabilities:
        """Two-phase and recoverable. Each slot's share of an epoch appears as a whole, slots one after the other."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode."""
        return {"mode": self.mode}

    # ---------------------------------------------------------------- what StagedSink asks for

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Move the mark and insert the rows, in one transaction."""
        committing = self._opened_committer()
        with committing.connections.borrowed(f"table {committing.table.shown}") as connection:
            try:
                with connection.transaction():
                    committing.marks.move(connection, self.ctx, slot, previous, epoch, token)
                    failpoint("commit.during")
                    committing.copy(connection, batches)
                    failpoint("commit.during")
            except Exception as error:
                if getattr(error, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise self._busy(connection, slot, error) from error

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch in the mark of `slot`, or None."""
        committing = self._opened_committer()
        with committing.connections.borrowed("the marks") as connection:
            return committing.marks.read(connection, lineage, self.ctx.sink_id, slot)

    def marks(self, job: str) -> Sequence[Mark]:
        """Return every mark for this table that belongs to `job`."""
        committing = self._opened_committer()
        with committing.connections.borrowed("the marks") as connection:
            return committing.marks.of_job(connection, job)

    # ---------------------------------------------------------------- helpers

    def _busy(self, connection: Any, slot: int, error: Exception) -> TargetBusy:
        """Return the error about a lock that was not to be had, once older attempts that may hold it are ended."""
        ended = end_older_attempts(connection, self.ctx)
        what = "connections of older attempts were ended" if ended else "another transaction holds a lock"
        table = self._opened_committer().table.shown
        return TargetBusy(f"table {table}, slot {slot}: {what}: {error}", after=0.05 if ended else 0.5, table=table)

    def _opened_committer(self) -> _Committing:
        if self._committing is None:
            raise ValueError("the sink is not open as a committer")
        return self._committing

    def _check_new(self, connection: Any, table: Table, ctx: SinkContext) -> None:
        if Marks(table.schema, table.name).speak_of(connection, ctx.lineage, ctx.sink_id):
            raise TableMissing(
                f"table {table.shown} is gone, with what this job wrote to it before",
                hint="restore it; or make it anew: the job then goes on behind what was lost",
                table=table.shown,
            )

    def _rights(self, connection: Any, table: Table) -> list[Right]:
        rights = super()._rights(connection, table)
        if table.oid is not None:
            rights.append(on_table(table, "INSERT"))
        marks = find_table(connection, MARKS, table.schema)
        if marks.oid is None:
            return [*rights, on_schema("CREATE", table.schema)]
        return [*rights, on_table(marks, "SELECT", "INSERT", "UPDATE")]


_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class _Committing:
    """What an open committer holds."""

    connections: Connections
    table: Table
    marks: Marks

    def copy(self, connection: Any, batches: Iterator[pa.RecordBatch]) -> None:
        """Insert `batches`. They are in the types that the columns had when they were staged."""
        first = next(batches, None)
        if first is None:
            return
        fitting = self.table.fitting(first.schema)
        rows = chain((first,), batches)
        fitted = rows if first.schema == fitting.schema else map(fitting.fit, rows)
        copy_rows(connection, self.table.sql, fitted, fitting.schema)
