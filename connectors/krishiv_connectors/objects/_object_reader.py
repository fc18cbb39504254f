"""Reads one Parquet object from an exact row, fetching and decoding ahead on another thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from krishiv_connectors._source import Reader
from krishiv_connectors.files._identity import unreadable_as
from krishiv_connectors.files._partitions import NULL
from krishiv_connectors.files._read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from krishiv_connectors.objects._object_file import ObjectFile

__all__ = ["ObjectPosition", "ObjectReader", "folder_values"]

ObjectPosition = dict[str, Any] | None
"""``{"row", "etag"}``: the next row, and the object that it is in; None: nothing was read."""


def folder_values(path: str) -> dict[str, str | None]:
    """Return what folders ``column=value`` of `path` say, outermost first."""
    pairs = [folder.partition("=") for folder in path.split("/")[:-1] if "=" in folder]
    return {unquote(name): None if value == NULL else unquote(value) for name, _, value in pairs}


class ObjectReader(Reader["ObjectPosition"]):
    """Reads one object.

    Parameters
    ----------
    open_file : callable
        Opens it; called on the thread that decodes.
    row : int
        The first to return.
    schema : pa.Schema
        The columns to return.
    expected : pa.Schema
        The columns that the object must have, folders among them; `closed`: and no others.
    folders : mapping
        Values of the columns that are folders.
    """

    def __init__(
        self,
        open_file: Callable[[], ObjectFile],
        etag: str,
        row: int,
        *,
        schema: pa.Schema,
        expected: pa.Schema,
        closed: bool,
        folders: dict[str, str | None],
        batch_rows: int,
        name: str,
    ) -> None:
        self._open_file, self._etag, self._next = open_file, etag, row
        self._schema, self._expected, self._closed = schema, expected, closed
        self._folders, self._batch_rows, self._name = folders, batch_rows, name
        self._touched = row > 0
        self._finished = False
        self._ahead = ReadAhead(self._decode(row), f"read {name}")

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows."""
        if self._finished:
            return None
        batch = self._ahead.take()
        if batch is None:
            self._finished = self._ahead.exhausted
            return None
        self._next += batch.num_rows
        self._touched = True
        return batch

    def position(self) -> ObjectPosition:
        """Return where the next row is."""
        return {"row": self._next, "etag": self._etag} if self._touched else None

    @property
    def finished(self) -> bool:
        """Whether every row was returned."""
        return self._finished

    def close(self) -> None:
        """Stop decoding."""
        self._ahead.close()

    def _decode(self, row: int) -> Generator[pa.RecordBatch]:
        file = self._open_file()
        try:
            own = pa.schema([field for field in self._expected if field.name not in self._folders])
            file.check_columns(own, closed=self._closed)
            stored = [name for name in self._schema.names if name not in self._folders]
            # Rows of no columns would have no number.
            columns = stored or own.names[:1]
            if row < file.rows:
                with unreadable_as(self._name):
                    for chunk in file.chunks(row, columns):
                        yield from self._cut(chunk.batch.slice(max(0, row - chunk.first)))
        finally:
            file.close()

    def _cut(self, rows: pa.RecordBatch) -> Generator[pa.RecordBatch]:
        for start in range(0, rows.num_rows, self._batch_rows):
            part = rows.slice(start, self._batch_rows)
            arrays = [self._column(part, field) for field in self._schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _column(self, rows: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name not in self._folders:
            return rows.column(field.name)
        value = pa.scalar(self._folders[field.name], pa.string()).cast(field.type)
        return pa.repeat(value, rows.num_rows)
