"""Exactly once into a SQLite table: rows and the epoch's mark in one transaction."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_checkpoint import Mark, failpoint
from krishiv_connectors._errors import BadOutputPath, MarkMoved, OutputFailed, OutputFull, TargetBusy
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors.sqlite._sqlite_schema import (
    check_columns,
    create_table,
    quoted,
    storable,
    to_columns,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Iterator, Sequence

    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext

__all__ = ["SqliteSink"]

MARKS = "_krishiv_marks"
_CREATE_MARKS = f"""
CREATE TABLE IF NOT EXISTS {MARKS} (
    lineage TEXT NOT NULL,
    sink TEXT NOT NULL,
    slot INTEGER NOT NULL,
    job TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    token INTEGER NOT NULL,
    PRIMARY KEY (lineage, sink, slot)
) WITHOUT ROWID"""
_MOVE_MARK = f"""
INSERT INTO {MARKS} (lineage, sink, slot, job, epoch, token) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (lineage, sink, slot) DO UPDATE SET job = excluded.job, epoch = excluded.epoch, token = excluded.token"""
# Rows in one INSERT: a statement per row costs half as much again (measured; more than 100 values gain no more).
_VALUES_IN_STATEMENT = 100


class SqliteSink(StagedSink):
    """Appends rows to a table of a SQLite database, exactly once.

    Parameters
    ----------
    path : path
        The database file. Made if it is missing; its directory must exist.
    table : str
        The table. Made from the schema if it is missing; else its columns must fit.
    busy_timeout : float
        Seconds that a commit waits for another process that writes to the database, before it is tried later.

    Notes
    -----
    The marks of all sinks are in the table ``_krishiv_marks`` of the same database. The database is switched to WAL
    with ``synchronous=FULL``: a commit that returned survives a power loss. Integers, floats and booleans are stored
    as numbers, text and binary as they are, times, dates and decimals as text that sorts by value where they are not
    negative. SQLite stores NaN as NULL.
    """

    def __init__(self, path: str | os.PathLike[str], table: str, *, busy_timeout: float = 5.0) -> None:
        self._path = Path(path).resolve()
        self.table = table
        self._busy_timeout = busy_timeout
        self._connection: sqlite3.Connection | None = None
        self._lock: threading.Lock | None = None

    def open(self, ctx: SinkContext) -> None:
        """Open the database (the committer) or nothing yet (a slot's writer: its rows wait in the store)."""
        super().open(ctx)
        if ctx.slot is not None:
            return
        self._lock = threading.Lock()
        with self._errors():
            self._connection = self._connect("rwc")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            # Who wrote the last transaction may have died before the disk had it; a mark read here has to last.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._connection.execute(_CREATE_MARKS)
            create_table(self._connection, self.table, ctx.schema)

    def close(self) -> None:
        """Close the database."""
        super().close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ---------------------------------------------------------------- what StagedSink asks for

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Insert the rows and move the mark, in one transaction."""
        with self._transaction() as connection:
            found = self._mark(connection, self.ctx.lineage, slot) or 0
            if found != previous:
                raise MarkMoved(
                    f"table {self.table}, slot {slot}: the mark says epoch {found}, not {previous}",
                    hint="another attempt applied epochs of this sink, or the database was restored from a backup",
                    found=found,
                )
            for batch in batches:
                self._insert(connection, batch)
            mark = (self.ctx.lineage, self.ctx.sink_id, slot, self.ctx.job, epoch, token)
            connection.execute(_MOVE_MARK, mark)
            failpoint("commit.during")

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch in the mark of `slot`, or None."""
        with self._locked() as connection:
            return self._mark(connection, lineage, slot)

    def marks(self, job: str) -> Sequence[Mark]:
        """Return every mark in this database that belongs to `job`, of whatever table."""
        with self._locked() as connection:
            rows = connection.execute(
                f"SELECT lineage, slot, epoch FROM {MARKS} WHERE job = ? ORDER BY lineage, sink, slot", (job,)
            ).fetchall()
        return [Mark(lineage, job, slot, epoch) for lineage, slot, epoch in rows]

    # ---------------------------------------------------------------- before the job runs

    def check(self, schema: pa.Schema) -> None:
        """Raise if the database cannot be made, a type cannot be stored, or an existing table has other columns."""
        storable(schema)
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise BadOutputPath(
                f"there can be no database at {self._path}",
                hint="name a file in a directory that exists",
                path=str(self._path),
            )
        if self._path.exists():
            with self._errors(), closing(self._connect("rw")) as connection:
                check_columns(connection, self.table, schema)

    # ---------------------------------------------------------------- the database

    def _insert(self, connection: sqlite3.Connection, batch: pa.RecordBatch) -> None:
        names = ", ".join(map(quoted, batch.schema.names))
        one = f"({', '.join('?' * batch.num_columns)})"
        at_once = max(1, _VALUES_IN_STATEMENT // batch.num_columns)
        rows = zip(*to_columns(batch), strict=True)
        insert = f"INSERT INTO {quoted(self.table)} ({names}) VALUES "
        full, rest = divmod(batch.num_rows, at_once)
        values = chain.from_iterable(islice(rows, full * at_once))
        pieces = zip(*[values] * (at_once * batch.num_columns), strict=True)
        connection.executemany(insert + ", ".join([one] * at_once), pieces)
        if rest:
            connection.executemany(insert + one, rows)

    def _mark(self, connection: sqlite3.Connection, lineage: str, slot: int) -> int | None:
        row = connection.execute(
            f"SELECT epoch FROM {MARKS} WHERE lineage = ? AND sink = ? AND slot = ?",
            (lineage, self.ctx.sink_id, slot),
        ).fetchone()
        return None if row is None else int(row[0])

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._locked() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _locked(self) -> Generator[sqlite3.Connection]:
        """The one connection, for one thread at a time: slots may be committed from several."""
        if self._connection is None or self._lock is None:
            raise ValueError("the sink is not open as a committer")
        with self._lock, self._errors():
            yield self._connection

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )

    @contextmanager
    def _errors(self) -> Generator[None]:
        """Turn SQLite's errors into those that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            # Extended codes keep the plain one in their lowest byte.
            match getattr(error, "sqlite_errorcode", 0) & 0xFF:
                case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                    raise TargetBusy(f"database {self._path} is locked by another writer", after=0.5) from error
                case sqlite3.SQLITE_FULL:
                    raise OutputFull(
                        f"no space left for database {self._path}",
                        hint="free space, then run the job again: it resumes from its last checkpoint",
                        path=str(self._path),
                    ) from error
                case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                    raise OutputFailed(
                        f"database {self._path} cannot be written: {error}",
                        hint="see that its directory exists and this user may write there, then run the job again: "
                        "it resumes from its last checkpoint",
                        path=str(self._path),
                    ) from error
                case _:
                    raise OutputFailed(
                        f"database {self._path}, table {self.table}: {error}",
                        hint="mend the database, then run the job again: it resumes from its last checkpoint",
                        path=str(self._path),
                    ) from error
