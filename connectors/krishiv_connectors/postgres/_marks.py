"""Marks of applied epochs: a row per lineage, sink and slot, moved in the transaction that writes the epoch's rows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from krishiv_checkpoint import Mark
from krishiv_connectors._errors import MarkMoved
from krishiv_connectors.postgres._types import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors._sink import SinkContext

__all__ = ["MARKS", "Marks", "application_name", "end_older_attempts"]

MARKS = "_krishiv_marks"
_COLUMNS = """
    lineage text NOT NULL,
    sink text NOT NULL,
    slot integer NOT NULL,
    job text NOT NULL,
    target text NOT NULL,
    epoch bigint NOT NULL,
    token bigint NOT NULL,
    moved_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (lineage, sink, slot)"""
_END_OLDER = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND application_name LIKE %s AND split_part(application_name, '/', 4) ~ '^[0-9]{1,18}$'
  AND split_part(application_name, '/', 4)::bigint < %s"""


@dataclass(frozen=True)
class Marks:
    """The table of marks in a schema, for one target.

    Parameters
    ----------
    schema : str
        Where the target is.
    target : str
        The target's name: `marks` gives no other's.
    """

    schema: str
    target: str

    @property
    def sql(self) -> str:
        """The table as statements name it."""
        return f"{quoted(self.schema)}.{MARKS}"

    def make(self, connection: Any) -> None:
        """Make the table if it is missing."""
        from psycopg.errors import DuplicateTable

        # Behind the lock a server process may still remember that there was none.
        with suppress(DuplicateTable), connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self.sql,))
            if connection.execute("SELECT to_regclass(%s)", (self.sql,)).fetchone()[0] is None:
                connection.execute(f"CREATE TABLE {self.sql} ({_COLUMNS})")

    def read(self, connection: Any, lineage: str, sink: str, slot: int) -> int | None:
        """Return the epoch in a mark, or None."""
        query = f"SELECT epoch FROM {self.sql} WHERE lineage = %s AND sink = %s AND slot = %s"
        row = connection.execute(query, (lineage, sink, slot)).fetchone()
        return None if row is None else int(row[0])

    def speak_of(self, connection: Any, lineage: str, sink: str) -> bool:
        """Whether there is a mark of this sink for this target."""
        if connection.execute("SELECT to_regclass(%s)", (self.sql,)).fetchone()[0] is None:
            return False
        query = f"SELECT EXISTS (SELECT FROM {self.sql} WHERE lineage = %s AND sink = %s AND target = %s)"
        return bool(connection.execute(query, (lineage, sink, self.target)).fetchone()[0])

    def of_job(self, connection: Any, job: str) -> Sequence[Mark]:
        """Return every mark that a job called `job` left for this target."""
        query = (
            f"SELECT lineage, slot, epoch FROM {self.sql} WHERE job = %s AND target = %s ORDER BY lineage, sink, slot"
        )
        rows = connection.execute(query, (job, self.target)).fetchall()
        return [Mark(lineage, job, slot, epoch) for lineage, slot, epoch in rows]

    def move(self, connection: Any, ctx: SinkContext, slot: int, previous: int, epoch: int, token: int) -> None:
        """Move a mark from `previous` to `epoch` within the open transaction. Another one that moves it is waited for.

        Raises
        ------
        MarkMoved
            If it is not `previous`.
        """
        if previous == 0:
            statement = f"""
                INSERT INTO {self.sql} (epoch, token, job, target, lineage, sink, slot)
                VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (lineage, sink, slot) DO NOTHING"""
            last: tuple[int, ...] = ()
        else:
            statement = f"""
                UPDATE {self.sql} SET epoch = %s, token = %s, job = %s, target = %s, moved_at = now()
                WHERE lineage = %s AND sink = %s AND slot = %s AND epoch = %s"""
            last = (previous,)
        values = (epoch, token, ctx.job, self.target, ctx.lineage, ctx.sink_id, slot, *last)
        if connection.execute(statement, values).rowcount != 1:
            raise MarkMoved(
                f"table {self.schema}.{self.target}, slot {slot}: the mark does not say epoch {previous}",
                hint="another attempt applied epochs of this sink, or the database was restored from a backup",
                expected=previous,
            )


def application_name(ctx: SinkContext) -> str:
    """Return the name under which the server knows the connections of an attempt's sink."""
    return f"{_family(ctx)}{ctx.token}"


def end_older_attempts(connection: Any, ctx: SinkContext) -> int:
    """End the connections that older attempts of this sink left: a stopped process holds locks in open transactions.

    The token tells which are older: an attempt that wakes up ends none of a newer one (P11). Returns how many.
    """
    pattern = _family(ctx).replace("_", r"\_") + "%"
    return int(connection.execute(_END_OLDER, (pattern, ctx.token)).fetchone()[0])


def _family(ctx: SinkContext) -> str:
    return f"krishiv/{ctx.lineage}/{crc32(ctx.sink_id.encode()):08x}/"
