"""Reads one range of a query in the order of its keys, decoding ahead on another thread."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from krishiv_connectors._source import Reader
from krishiv_connectors.files._read_ahead import ReadAhead
from krishiv_connectors.postgres._errors import KeyNotUnique, QueryUnfit, SplitUnfit
from krishiv_connectors.postgres._reading import Fetch
from krishiv_connectors.postgres._values import holds_infinite
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from krishiv_connectors.postgres._database import Database

__all__ = ["RangeReader"]


class RangeReader(Reader["list[str]"]):
    """Reads the rows of a statement.

    Parameters
    ----------
    read, given : pa.Schema
        The columns that the statement gives, and those that the reader is to return.
    keys : tuple of str
        The columns that the rows are ordered by; empty: there are no positions.
    position : list of str
        The key of the row before the first, as texts, which the statement gives again; empty: there is none.
    """

    def __init__(
        self,
        database: Database,
        statement: str,
        *,
        read: pa.Schema,
        given: pa.Schema,
        keys: tuple[str, ...],
        position: list[str],
        batch_rows: int,
    ) -> None:
        self._database, self._statement = database, statement
        self._read, self._given, self._keys = read, given, keys
        self._position = position
        self._batch_rows = batch_rows
        self._ready: deque[pa.RecordBatch] = deque()
        self._fetch: Fetch | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._ahead = ReadAhead(self._batches(), "read a query")

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows."""
        if not self._ready:
            batch = self._ahead.take()
            if batch is None:
                return None
            self._ready.extend(batch.slice(at, self._batch_rows) for at in range(0, batch.num_rows, self._batch_rows))
        piece = self._ready.popleft()
        if self._keys:
            self._position = self._key(piece, piece.num_rows - 1)
        return piece.select(self._given.names)

    def position(self) -> list[str]:
        """Return the key of the row that was read last; empty: none was, or rows have no keys."""
        return self._position

    @property
    def finished(self) -> bool:
        """Whether every row was returned."""
        return not self._ready and self._ahead.exhausted

    def close(self) -> None:
        """Have the server stop, and close the connection."""
        with self._lock, suppress(KrishivError):
            self._closed = True
            if self._fetch is not None:
                self._fetch.cancel()
        self._ahead.close()

    # ---------------------------------------------------------------- on the other thread

    def _batches(self) -> Generator[pa.RecordBatch]:
        """Run the statement, and give what comes behind the position."""
        fetch = Fetch(self._database, self._statement)
        try:
            with self._lock:
                self._fetch = None if self._closed else fetch
            if not self._closed:
                yield from self._behind(fetch.batches(), self._position)
        except KrishivError:
            if not self._closed:  # else it was cancelled
                raise
        finally:
            with self._lock:
                self._fetch = None
            fetch.close()

    def _behind(self, batches: Iterable[pa.RecordBatch], before: list[str]) -> Generator[pa.RecordBatch]:
        """Leave out the row with the key `before`, and make sure that all others have keys of their own.

        Raises
        ------
        KeyNotUnique
        """
        again = bool(before)  # the statement gives the row at the position once more, if it is still there
        for batch in batches:
            if not batch.num_rows:
                continue
            rows = self._typed(batch)
            if self._keys:
                self._check_keys(rows)
                first, last = self._key(rows, 0), self._key(rows, rows.num_rows - 1)
                if first == before and not again:
                    raise self._not_unique(first)
                rows = rows.slice(1) if first == before else rows
                before, again = last, False
            if rows.num_rows:
                yield rows

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [_cast(array, field) for array, field in zip(batch.columns, self._read, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self._read)

    def _check_keys(self, rows: pa.RecordBatch) -> None:
        same: Any = None
        for name in self._keys:
            column = rows.column(name)
            if column.null_count:
                hint = "filter such rows in the query, or replace the null with coalesce"
                raise SplitUnfit(f"column {name!r} has nulls, and rows are ordered by it", hint=hint, column=name)
            equal = pc.equal(column.slice(1), column.slice(0, rows.num_rows - 1))
            same = equal if same is None else pc.and_(same, equal)
        if pc.any(same).as_py():
            raise self._not_unique(self._key(rows, pc.index(same, pa.scalar(True)).as_py()))

    def _key(self, rows: pa.RecordBatch, row: int) -> list[str]:
        return [str(rows.column(name)[row].cast(pa.string()).as_py()) for name in self._keys]

    def _not_unique(self, key: list[str]) -> KeyNotUnique:
        shown = ", ".join(f"{name}={value}" for name, value in zip(self._keys, key, strict=True))
        return KeyNotUnique(
            f"the query gives several rows with {shown}: after a failure nobody could tell which of them were read",
            hint=f"order by columns that differ for every row: order_by=({', '.join(map(repr, self._keys))}, ...)",
            key=key,
        )


def _cast(array: pa.Array, field: pa.Field) -> pa.Array:
    stored = array.storage if isinstance(array, pa.ExtensionArray) else array
    if holds_infinite(stored):
        raise _unreadable(field, "infinity")
    try:
        return stored.cast(field.type)
    except pa.ArrowInvalid as error:
        raise _unreadable(field, str(error)) from None


def _unreadable(field: pa.Field, what: str) -> QueryUnfit:
    return QueryUnfit(
        f"the query's column {field.name!r} has a value that is no {field.type}: {what}",
        hint="filter such rows in the query, or cast the column to text there",
        column=field.name,
        type=str(field.type),
    )
