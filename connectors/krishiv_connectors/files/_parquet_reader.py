"""Reads one Parquet file from an exact row, decoding ahead on another thread."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from krishiv_connectors._source import Reader
from krishiv_connectors.files._identity import FileIdentity, changed, rows_digest, unreadable_as
from krishiv_connectors.files._parquet_file import ParquetFile, has_footer
from krishiv_connectors.files._read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_connectors.files._file_source import FilePosition
    from krishiv_connectors.files._parquet_file import Chunk

__all__ = ["ParquetReader"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prefix:
    """The first rows of a file, up to the end of a chunk: how many, and their digest."""

    rows: int
    digest: str

    def with_part(self, chunk: Chunk, row: int) -> str:
        """Return the digest up to row `row` of the file, which is in `chunk`, the chunk after these rows."""
        if row == self.rows:
            return self.digest
        # Taken, not sliced: the last byte of a sliced bitmap holds bits of the rows after it.
        return rows_digest(self.digest, chunk.batch.take(pa.array(np.arange(row - chunk.first))))


@dataclass(frozen=True)
class _Decoded:
    """A chunk, with the rows before it and those up to its end."""

    chunk: Chunk
    before: _Prefix
    after: _Prefix


class ParquetReader(Reader["FilePosition"]):
    """Reads one Parquet file.

    A position is ``{"group", "row", "size", "mtime_ns", "footer", "chained", "chain", "digest"}``: row `row` of row
    group `group` comes next; `digest` is that of all rows before it, `chain` that of the first `chained` of them.

    Parameters
    ----------
    schema : pa.Schema
        The columns to return.
    expected : pa.Schema
        The columns that the file must have; `closed`: and no others.
    await_footer : bool
        Return nothing, instead of an error, as long as the file has no footer.
    """

    def __init__(
        self,
        path: str,
        position: FilePosition,
        *,
        schema: pa.Schema,
        expected: pa.Schema,
        closed: bool,
        batch_rows: int,
        await_footer: bool,
    ) -> None:
        self._path = path
        self._schema = schema
        self._expected = expected
        self._closed = closed
        self._batch_rows = batch_rows
        self._stored = position
        self._file: ParquetFile | None = None
        self._ahead: ReadAhead[_Decoded] | None = None
        self._decoded: _Decoded | None = None
        self._next = 0
        self._rest: pa.RecordBatch | None = None
        self._finished = False
        self._seen: FileIdentity | None = None
        if await_footer:
            self._open_if_complete()
        else:
            self._open()

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows."""
        if self._file is None:
            self._open_if_complete()
        if self._file is None or self._finished:
            return None
        batch = self._rest if self._rest is not None else self._next_rows(self._file)
        if batch is None:
            return None
        if batch.num_rows > self._batch_rows:
            batch, self._rest = batch.slice(0, self._batch_rows), batch.slice(self._batch_rows)
        else:
            self._rest = None
        self._next += batch.num_rows
        return batch

    def position(self) -> FilePosition:
        """Return where the next row is; None as long as nothing was read, so that the file may still be mended."""
        if self._file is None or self._decoded is None:
            return self._stored
        decoded, next_ = self._decoded, self._next
        prefix = decoded.after if next_ == decoded.after.rows else decoded.before
        group, row = self._file.locate(next_)
        return {
            "group": group,
            "row": row,
            "size": self._file.identity.size,
            "mtime_ns": self._file.identity.mtime_ns,
            "footer": self._file.footer,
            "chained": prefix.rows,
            "chain": prefix.digest,
            "digest": prefix.with_part(decoded.chunk, next_),
        }

    @property
    def finished(self) -> bool:
        """Whether every row was returned."""
        return self._finished

    def close(self) -> None:
        """Stop decoding and close the file."""
        if self._ahead is not None:
            self._ahead.close()
        if self._file is not None:
            self._file.close()

    def _open_if_complete(self) -> None:
        identity = FileIdentity.of(self._path)
        if identity == self._seen:
            return
        if has_footer(self._path):
            self._open()
        elif self._seen is None:
            _LOG.info("%s has no Parquet footer yet; waiting for its writer", self._path)
        self._seen = identity

    def _open(self) -> None:
        file = ParquetFile(self._path)
        try:
            file.check_columns(self._expected, closed=self._closed)
            self._start(file)
        except BaseException:
            file.close()
            raise

    def _start(self, file: ParquetFile) -> None:
        prefix = self._nothing
        if self._stored is not None:
            prefix = _Prefix(self._stored["chained"], self._stored["chain"])
            self._next = self._resume(file, self._stored, prefix)
        self._file = file
        if self._next < file.rows:
            self._ahead = ReadAhead(self._decode(file, self._next, prefix), f"read {self._path}")
        else:
            self._finished = True

    @property
    def _nothing(self) -> _Prefix:
        return _Prefix(0, ",".join(self._schema.names))

    def _resume(self, file: ParquetFile, stored: dict[str, Any], prefix: _Prefix) -> int:
        """Return the number of the row to go on with, once what lies before it is known to be unchanged."""
        row = file.row_number(stored["group"], stored["row"])
        same = file.identity.is_at(stored) and file.footer == stored["footer"]
        if row is None or not (same or self._rows_unchanged(file, row, prefix, stored["digest"])):
            raise changed(self._path, "the rows before the position are not those that were read")
        return row

    def _rows_unchanged(self, file: ParquetFile, row: int, prefix: _Prefix, digest: str) -> bool:
        for decoded in self._decode(file, 0, self._nothing):
            if decoded.after.rows >= row:
                before = decoded.after if decoded.after.rows == prefix.rows else decoded.before
                return before == prefix and prefix.with_part(decoded.chunk, row) == digest
        return False

    def _decode(self, file: ParquetFile, row: int, prefix: _Prefix) -> Generator[_Decoded]:
        with unreadable_as(self._path):
            for chunk in file.chunks(row, list(self._schema.names)):
                after = _Prefix(chunk.end, rows_digest(prefix.digest, chunk.batch))
                yield _Decoded(chunk, prefix, after)
                prefix = after

    def _next_rows(self, file: ParquetFile) -> pa.RecordBatch | None:
        if self._ahead is None:
            return None
        decoded = self._ahead.take()
        if decoded is None:
            if self._ahead.exhausted:
                file.check_unchanged()
                self._finished = True
            return None
        self._decoded = decoded
        chunk = decoded.chunk
        rows = chunk.batch.slice(max(0, self._next - chunk.first))
        return pa.RecordBatch.from_arrays(rows.columns, schema=self._schema)
