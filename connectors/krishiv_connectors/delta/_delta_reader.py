"""Reads one share of a Delta table's files, version after version."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_connectors._errors import FileVanished, SchemaChanged, UnreadableFile
from krishiv_connectors._source import Reader
from krishiv_connectors.delta._errors import DeltaUnavailable, is_passing
from krishiv_connectors.delta._types import new_columns, same_type
from krishiv_connectors.files._read_ahead import ReadAhead
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_connectors.delta._delta_log import AddedFile, TableLog
    from krishiv_connectors.delta._table import TableAddress

__all__ = ["DeltaPosition", "DeltaReader"]

DeltaPosition = dict[str, Any]
"""``{"version", "snapshot", "file", "row"}``: whether the version's whole content is read or what it adds, and the next
row of which of its files."""

_LOOK = 1.0
"""Seconds between two looks for a new version."""


class DeltaReader(Reader[DeltaPosition]):
    """Reads every `share`-th file.

    Parameters
    ----------
    share : (int, int)
        Of how many shares which one.
    last : int or None
        The last version to be read; None: for ever.
    schema : pa.Schema
        The columns to return.
    known : pa.Schema or None
        All columns that the table may have; None: any, those in `schema` are read.
    """

    def __init__(
        self,
        address: TableAddress,
        log: TableLog,
        *,
        share: tuple[int, int],
        position: DeltaPosition,
        last: int | None,
        schema: pa.Schema,
        known: pa.Schema | None,
        batch_rows: int,
    ) -> None:
        self._address, self._log = address, log
        self._share, self._last = share, last
        self._schema, self._known, self._batch_rows = schema, known, batch_rows
        self._version: int = position["version"]
        self._snapshot: bool = position["snapshot"]
        self._number: int = position["file"]
        self._row: int = position["row"]
        self._files: list[AddedFile] | None = None
        self._ahead: ReadAhead[pa.RecordBatch] | None = None
        self._system: Any = None
        self._finished = last is not None and self._version > last
        self._next_look = 0.0

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows."""
        if self._finished or not self._open_file():
            return None
        assert self._ahead is not None
        batch = self._ahead.take()
        if batch is not None:
            self._row += batch.num_rows
            return batch
        if self._ahead.exhausted:
            self._close_file()
            self._number, self._row = self._number + 1, 0
        return None

    def position(self) -> DeltaPosition:
        """Return where the next row is."""
        return {"version": self._version, "snapshot": self._snapshot, "file": self._number, "row": self._row}

    @property
    def finished(self) -> bool:
        """Whether the last version has been read."""
        return self._finished

    def close(self) -> None:
        """Stop decoding."""
        self._close_file()

    def _open_file(self) -> bool:
        """Make sure that a file of this share is open; False if there is none now."""
        if self._ahead is not None:
            return True
        if self._files is None and not self._find_files():
            return False
        files = self._files or []
        number, count = self._share
        while self._number < len(files) and self._number % count != number:
            self._number += 1
        if self._number >= len(files):
            self._pass_version()
            return False
        decoded = self._decode(files[self._number], self._row)
        self._ahead = ReadAhead(decoded, f"read {files[self._number].path}")
        return True

    def _find_files(self) -> bool:
        """List the files of the version; False if it is not there yet."""
        if self._snapshot:
            self._files = self._log.snapshot(self._version).files
            return True
        now = time.monotonic()
        if now < self._next_look:
            return False
        try:
            added = self._log.added(self._version)
        except RetriableError:
            added = None
        if added is None:
            self._next_look = now + _LOOK
            return False
        if added.columns is not None:
            self._check_columns(added.columns)
        self._files = added.files
        return True

    def _check_columns(self, columns: pa.Schema) -> None:
        """Raise if the version gives the table columns that are not known, or other types."""
        place = f"version {self._version} of {self._address.uri}"
        unknown = [] if self._known is None else new_columns(self._known, columns)
        if unknown:
            raise SchemaChanged(
                f"{place} adds column {unknown[0]!r}",
                hint="to go on without it, give the columns that this job reads: schema=pa.schema([...]); to read it, "
                "begin a new job",
                path=self._address.uri,
                column=unknown[0],
            )
        for field in self._schema:
            if field.name in columns.names and not same_type(columns.field(field.name).type, field.type):
                raise SchemaChanged(
                    f"{place} makes column {field.name!r} {columns.field(field.name).type}, not {field.type}",
                    hint="read the versions before and from it on by jobs of their own",
                    path=self._address.uri,
                    column=field.name,
                )

    def _pass_version(self) -> None:
        self._version, self._snapshot = self._version + 1, False
        self._number = self._row = 0
        self._files = None
        self._finished = self._last is not None and self._version > self._last

    def _close_file(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    # ---------------------------------------------------------------- on the thread that decodes

    def _decode(self, added: AddedFile, row: int) -> Generator[pa.RecordBatch]:
        handle = self._handle(added)
        try:
            file = pq.ParquetFile(handle, pre_buffer=self._address.local is None)
            names = [name for name in self._schema.names if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row >= rows:
                    row -= rows
                    continue
                for batch in file.iter_batches(self._batch_rows, row_groups=[group], columns=names or None):
                    if row >= batch.num_rows:
                        row -= batch.num_rows
                        continue
                    yield self._complete(batch.slice(row), added)
                    row = 0
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(added, error) from error
        finally:
            handle.close()

    def _handle(self, added: AddedFile) -> Any:
        try:
            if self._address.local is not None:
                return pa.OSFile(str(self._address.local / added.path))
            return self._remote().open_input_file(added.path)
        except OSError as error:
            raise self._unreadable(added, error) from error

    def _remote(self) -> Any:
        if self._system is None:
            self._system = self._address.remote()
        return self._system

    def _complete(self, batch: pa.RecordBatch, added: AddedFile) -> pa.RecordBatch:
        """Add the partition's columns, and nulls for those that the file lacks."""
        columns: list[pa.Array] = []
        for field in self._schema:
            if field.name in added.partition:
                value = pa.array([added.partition[field.name]], pa.string())
                columns.append(_repeated(_parsed(value, field.type), batch.num_rows))
            elif field.name in batch.schema.names:
                columns.append(self._cast(batch.column(field.name), field, added))
            else:
                columns.append(pa.nulls(batch.num_rows, field.type))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _cast(self, column: pa.Array, field: pa.Field, added: AddedFile) -> pa.Array:
        if column.type == field.type:
            return column
        try:
            return column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaChanged(
                f"column {field.name!r} of {added.path} in {self._address.uri} is {column.type}, not {field.type}",
                hint="the column's type was changed: read the versions before and after it by jobs of their own",
                path=added.path,
                column=field.name,
            ) from error

    def _unreadable(self, added: AddedFile, error: Exception) -> Exception:
        place = f"{self._address.uri}/{added.path}"
        if isinstance(error, FileNotFoundError) or "not found" in str(error).lower():
            return FileVanished(
                f"{place!r} of version {self._version} is gone",
                hint="vacuum removed it: keep files longer than a job may stand still "
                '(delta.deletedFileRetentionDuration); or begin anew with restore="none" and another output',
                path=place,
            )
        if is_passing(error):
            return DeltaUnavailable(f"{place!r} cannot be read just now: {error}", uri=self._address.uri)
        return UnreadableFile(
            f"{place!r} cannot be read: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            hint="see that the storage answers, then run the job again: it goes on from its last checkpoint",
            path=place,
        )


def _parsed(value: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a partition's value, which the log keeps as text, as what it is."""
    if pa.types.is_timestamp(kind) and str(value[0]).endswith("Z"):
        return value.cast(pa.timestamp(kind.unit, "UTC")).cast(kind)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return value.cast(pa.timestamp(kind.unit)).cast(kind)
    return value.cast(kind)


def _repeated(value: pa.Array, rows: int) -> pa.Array:
    return pa.repeat(value[0], rows) if value[0].is_valid else pa.nulls(rows, value.type)
