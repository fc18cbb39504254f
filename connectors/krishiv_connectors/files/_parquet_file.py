"""One Parquet file: its footer, its columns, and its rows in stretches of row groups."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from krishiv_connectors._errors import SchemaChanged
from krishiv_connectors.files._identity import FileIdentity, changed, unreadable_as

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Chunk", "ParquetFile", "has_footer"]

CHUNK_ROWS = 65_536
"""Rows decoded at once. Never changed: digests of rows are taken over chunks."""

_MAGIC = b"PAR1"
_TICKS_PER_SECOND = {"milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}


def has_footer(path: str) -> bool:
    """Whether a Parquet file is complete: writers add the footer last."""
    with unreadable_as(path), open(path, "rb") as file:
        return _footer_length(file.seek(0, 2), _tail(file)) is not None


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file, the first being row `first` of the file."""

    first: int
    batch: pa.RecordBatch

    @property
    def end(self) -> int:
        """The number of the row after the last."""
        return int(self.first + self.batch.num_rows)


class ParquetFile:
    """An open Parquet file.

    Attributes
    ----------
    identity : FileIdentity
        Of the file that is open.
    footer : str
        XXH3-128 of the footer, hex.
    rows : int
        Rows in the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity = FileIdentity.of(path)
        with unreadable_as(path):
            self.footer = _footer_digest(path)
            self._handle = pa.OSFile(path)
            try:
                # Without pre-buffering one row group's columns are held, with it those of the whole file.
                self._file = pq.ParquetFile(self._handle, pre_buffer=False, page_checksum_verification=True)
            except BaseException:
                self._handle.close()
                raise
        self._metadata = self._file.metadata
        sizes = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self.rows: int = self._starts[-1]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close(force=True)
        self._handle.close()

    def check_unchanged(self) -> None:
        """Raise `FileChanged` if the path holds another file than the one that is open, or the same one rewritten."""
        if os.path.exists(self.path) and FileIdentity.of(self.path) != self.identity:
            raise changed(self.path, "it was written to or replaced while it was read")

    def schema(self) -> pa.Schema:
        """Return the columns, all nullable: whether a column may be null differs between files of one table."""
        with unreadable_as(self.path):
            found = self._file.schema_arrow
        twice = next((name for name in found.names if found.names.count(name) > 1), None)
        if twice is not None:
            raise self._schema_error(twice, f"has two columns named {twice!r}")
        return pa.schema([pa.field(field.name, field.type) for field in found])

    def check_columns(self, expected: pa.Schema, *, closed: bool) -> None:
        """Raise if this file's columns are not those of the source; `closed`: others may not be there either.

        Raises
        ------
        SchemaChanged
            Naming the file and the first column that is missing, of another type, or new.
        """
        found = self.schema()
        for field in expected:
            if field.name not in found.names:
                raise self._schema_error(field.name, f"has no column {field.name!r} ({field.type})")
            if (type_ := found.field(field.name).type) != field.type:
                raise self._schema_error(field.name, f"has column {field.name!r} as {type_}, not as {field.type}")
        new = [name for name in found.names if name not in expected.names]
        if closed and new:
            raise self._schema_error(new[0], f"has a column {new[0]!r} that the files before it lack")

    def locate(self, row: int) -> tuple[int, int]:
        """Return (row group, row in it) of row `row` of the file; past the end: (number of groups, 0)."""
        group = bisect_right(self._starts, row) - 1
        return group, row - self._starts[group]

    def row_number(self, group: int, row: int) -> int | None:
        """Return the number in the file of row `row` of row group `group`; None if there is no such place."""
        if not 0 <= group < len(self._starts):
            return None
        number = self._starts[group] + row
        return number if number <= self.rows else None

    def chunks(self, row: int, columns: list[str]) -> Iterator[Chunk]:
        """Yield chunks, the one that holds row `row` first. Row groups before its stretch are not read."""
        for groups in self._stretches():
            first, end = self._starts[groups[0]], self._starts[groups[-1] + 1]
            if end <= row:
                continue
            for batch in self._file.iter_batches(CHUNK_ROWS, row_groups=groups, columns=columns):
                chunk = Chunk(first, batch.select(columns))
                first = chunk.end
                if first > row:
                    yield chunk

    def minimum(self, column: str) -> int | None:
        """Return the least value of timestamp `column` by the statistics, microseconds; None if they do not say."""
        index = next((i for i in range(self._metadata.num_columns) if self._path_of(i) == column), None)
        if index is None:
            return None
        ticks = _ticks_per_second(self._file.schema.column(index))
        least: list[int] = []
        for group in range(self._metadata.num_row_groups):
            chunk = self._metadata.row_group(group).column(index)
            statistics = chunk.statistics
            if statistics is not None and statistics.has_min_max:
                least.append(statistics.min_raw)
            elif chunk.num_values and not _all_null(statistics, chunk.num_values):
                return None
        return None if ticks is None or not least else min(least) * 1_000_000 // ticks

    def _path_of(self, index: int) -> str:
        return str(self._file.schema.column(index).path)

    def _stretches(self) -> Iterator[list[int]]:
        """Yield runs of row groups, each of `CHUNK_ROWS` or more rows: reading many small groups one by one is slow."""
        run: list[int] = []
        for group in range(len(self._starts) - 1):
            run.append(group)
            if self._starts[group + 1] - self._starts[run[0]] >= CHUNK_ROWS:
                yield run
                run = []
        if run:
            yield run

    def _schema_error(self, column: str, what: str) -> SchemaChanged:
        return SchemaChanged(
            f"{self.path!r} {what}",
            hint="all files of a source have the same columns; rewrite this one, or read it with a source of its own",
            path=self.path,
            column=column,
        )


def _tail(file: Any) -> bytes:
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    return bytes(file.read(8))


def _footer_length(size: int, tail: bytes) -> int | None:
    """Return the bytes of the footer, from the last 8 bytes of the file; None if these are not the end of one."""
    if size < 12 or not tail.endswith(_MAGIC):
        return None
    length = int.from_bytes(tail[:4], "little")
    return length if length + 12 <= size else None


def _footer_digest(path: str) -> str:
    with open(path, "rb") as file:
        tail = _tail(file)
        size = file.seek(0, 2)
        length = _footer_length(size, tail)
        if length is None:
            raise pa.ArrowInvalid("it does not end in a Parquet footer; it is truncated, or no Parquet file")
        file.seek(size - 8 - length)
        return xxhash.xxh3_128_hexdigest(file.read(length))


def _ticks_per_second(column: Any) -> int | None:
    kind = json.loads(column.logical_type.to_json())
    if kind.get("Type") != "Timestamp":
        return None
    return _TICKS_PER_SECOND.get(str(kind.get("timeUnit", "")))


def _all_null(statistics: Any, values: int) -> bool:
    return bool(statistics is not None and statistics.has_null_count and statistics.null_count == values)
