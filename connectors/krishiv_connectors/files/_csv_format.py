"""CSV: where its rows end, and how they become columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pac

from krishiv_connectors._errors import BadCsvRow, SchemaChanged, UnsupportedField
from krishiv_connectors.files._text_format import BOM, Malformed, TextFormat

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CsvFormat", "CsvOptions", "check_types"]

_THREAD_BYTES = 1 << 20
_QUOTE = 34
_ROW_NUMBER = re.compile(r"Row #(\d+)")


@dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How a CSV file is written; see `CsvSource`."""

    header: bool = True
    delimiter: str = ","
    null_values: tuple[str, ...] = ("",)
    newlines_in_values: bool = False


def check_types(schema: pa.Schema) -> None:
    """Raise `UnsupportedField` if CSV text cannot become a column of one of these types."""
    for field in schema:
        try:
            pac.read_csv(
                pa.BufferReader(b"\n"),
                read_options=pac.ReadOptions(column_names=[field.name], use_threads=False),
                convert_options=pac.ConvertOptions(column_types={field.name: field.type}),
            )
        except pa.ArrowNotImplementedError as error:
            raise UnsupportedField(
                f"column {field.name!r}: CSV text cannot become {field.type}",
                hint="read it as pa.string() and convert it in the pipeline",
                column=field.name,
                type=str(field.type),
            ) from error


class CsvFormat(TextFormat):
    """CSV as RFC 4180 has it, in UTF-8."""

    bad_record = BadCsvRow
    blank = b"\r\n"

    def __init__(self, expected: pa.Schema, columns: pa.Schema, options: CsvOptions) -> None:
        self._expected = expected
        self._columns = columns
        self._options = options
        self._names: list[str] = expected.names

    def begin(self, path: str, file: BinaryIO, *, complete: bool) -> int | None:
        """Read the header line: which column is where.

        Raises
        ------
        SchemaChanged
            If it lacks a column.
        """
        first = file.readline() if self._options.header else file.read(len(BOM))
        mark = len(BOM) if first.startswith(BOM) else 0
        if not self._options.header:
            return mark
        if not first:
            return 0 if complete else None
        if not complete and not first.endswith(b"\n"):
            return None
        line = first[mark:].decode().rstrip("\r\n")
        self._names = next(csv.reader([line], delimiter=self._options.delimiter), [])
        for name in self._expected.names:
            if self._names.count(name) != 1:
                raise self._bad_header(path, name, line)
        return len(first)

    def decode(self, data: bytes) -> pa.RecordBatch:
        """Return rows as the columns asked for."""
        table = self._read(data)
        if table.num_rows != self.count(data) and table.num_rows != len(self.record_starts(data)):
            raise Malformed(f"{table.num_rows} rows where {len(self.record_starts(data))} were expected: stray quotes?")
        if data.count(b"\r") != data.count(b"\r\n") and table.num_rows > 1:
            raise Malformed("a carriage return within a row")
        self._check_quotes(data)
        batches = table.combine_chunks().to_batches()
        if not batches:
            return pa.RecordBatch.from_pylist([], schema=self._columns)
        return pa.RecordBatch.from_arrays(batches[0].columns, schema=self._columns)

    def suspect(self, data: bytes) -> int | None:
        """Return the row that the parser names, which it does when it works on one thread."""
        try:
            self._read(data, threads=False)
        except Malformed as error:
            named = _ROW_NUMBER.search(str(error))
            return None if named is None else int(named[1]) - 1
        return None

    def complete_length(self, data: bytes) -> int:
        """Return the bytes up to the end of the last whole row."""
        if not self._quoted(data):
            return super().complete_length(data)
        ends = self.record_ends(data)
        if len(ends) and ends[-1] == len(data) and not self._is_whole(data):
            ends = ends[:-1]
        return int(ends[-1]) if len(ends) else 0

    def record_ends(self, data: bytes) -> NDArray[np.int64]:
        """Return where rows end: at line ends with an even number of quotes before them."""
        ends = super().record_ends(data)
        if not self._quoted(data):
            return ends
        quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == _QUOTE)
        whole = np.searchsorted(quotes, ends) % 2 == 0
        if len(whole):
            whole[-1] |= ends[-1] == len(data)
        selected: NDArray[np.int64] = ends[whole]
        return selected

    def count(self, data: bytes) -> int:
        """Return the number of rows."""
        return len(self.record_ends(data)) if self._quoted(data) else super().count(data)

    def _quoted(self, data: bytes) -> bool:
        return self._options.newlines_in_values and b'"' in data

    def _is_whole(self, data: bytes) -> bool:
        return data.endswith(b"\n") and data.count(b'"') % 2 == 0

    def _check_quotes(self, data: bytes) -> None:
        """Raise if the last row's quote is never closed: the parser takes the end of the text for the end of it."""
        quoted = self._quoted(data)
        last = data[int(self.record_starts(data)[-1]) if quoted else data.rfind(b"\n", 0, len(data) - 1) + 1 :]
        if b'"' not in last:
            return
        line = last if last.endswith(b"\n") else last + b"\n"
        if (quoted and data.count(b'"') % 2) or self._read(line + line).num_rows != 2:
            raise Malformed("a quote is opened and not closed")

    def _read(self, data: bytes, *, threads: bool = True) -> pa.Table:
        if not data.strip(self.blank):
            return self._columns.empty_table()
        options = self._options
        try:
            return pac.read_csv(
                pa.BufferReader(data),
                read_options=pac.ReadOptions(
                    column_names=self._names,
                    use_threads=threads and len(data) > _THREAD_BYTES,
                    block_size=_THREAD_BYTES if threads else len(data),
                ),
                parse_options=pac.ParseOptions(
                    delimiter=options.delimiter, newlines_in_values=options.newlines_in_values
                ),
                convert_options=pac.ConvertOptions(
                    column_types=self._columns,
                    include_columns=self._columns.names,
                    null_values=list(options.null_values),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            raise Malformed(str(error).splitlines()[0]) from error

    def _bad_header(self, path: str, name: str, line: str) -> SchemaChanged:
        what = "more than one column" if name in self._names else "no column"
        return SchemaChanged(
            f"{path!r} has {what} {name!r} in its header: {line[:200]}",
            hint="the first line names the columns; header=False if there is no such line",
            path=path,
            column=name,
        )
