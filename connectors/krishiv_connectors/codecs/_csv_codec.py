"""CSV: one row per message, without a header."""

from __future__ import annotations

import io
import secrets
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pac
import pyarrow.types as pat

from krishiv_connectors._errors import FormatUnfit, UnencodableRow, UnsupportedColumn, UnsupportedField
from krishiv_connectors.codecs._apart import Malformed, decode_apart, with_bad
from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder, Format
from krishiv_connectors.files._csv_format import check_types
from krishiv_connectors.files._text_format import BOM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CsvFormat"]

_NEWLINE, _QUOTE = b'\n"'


class CsvFormat(Format):
    """One CSV row per message, as RFC 4180 has it, in UTF-8, without a header.

    Parameters
    ----------
    delimiter : str
        What stands between two cells: one ASCII character.

    Notes
    -----
    A cell without quotes that is empty is null; ``""`` is the empty text. A quoted cell may hold newlines. A line end
    after the row is passed over. A tombstone is bad. An empty message is one empty cell.
    """

    def __init__(self, delimiter: str = ",") -> None:
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
            raise FormatUnfit(
                f"{delimiter!r} cannot stand between the cells of a CSV row",
                hint='choose one ASCII character, such as "," or ";" or "\\t"',
                format="csv",
            )
        self._delimiter = delimiter

    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder to the columns of `schema`, by position."""
        if schema is None or not len(schema):
            raise FormatUnfit(
                "CSV messages do not say what their columns are: a schema is missing",
                hint="pass schema=pa.schema(...), its columns in the order of the cells",
                format="csv",
            )
        check_types(schema)
        return _CsvDecoder(schema, self._delimiter)

    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder of all columns, in their order."""
        encoder = _CsvEncoder(self._delimiter)
        encoder.check(schema)
        return encoder

    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the format's name and its delimiter."""
        return {"format": "csv", "delimiter": self._delimiter}


class _CsvDecoder(Decoder):
    """Rows in one parse, each with a mark in a cell of its own at its end.

    The mark is not to be guessed. So if there are as many rows as values and each ends in the mark, then no row holds
    more or less than one value: a quote that is never closed would have swallowed a mark, and a row too many would
    lack one.
    """

    def __init__(self, schema: pa.Schema, delimiter: str) -> None:
        self._schema = schema
        mark = secrets.token_hex(6)
        self._end = f"{delimiter}{mark}\n".encode()
        self._mark = pa.scalar(mark)
        # Cells are found by place: names may repeat, and none may be the mark's.
        self._cells = [f"{index}" for index in range(len(schema))]
        self._parse = pac.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False)

    def columns(self) -> pa.Schema:
        return self._schema

    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        wanted = self.wanted(columns)
        places: Sequence[int] = range(len(values))
        bad: list[BadValue] = []
        if None in values:
            bad = [BadValue(place, "a tombstone, which has no value") for place in places if values[place] is None]
            places = [place for place in places if values[place] is not None]
            values = [values[place] for place in places]
        texts: Sequence[bytes] = values  # type: ignore[assignment]  # no None among them
        return with_bad(decode_apart(texts, lambda part: self._decode(part, wanted), wanted), places, bad)

    def _decode(self, texts: Sequence[bytes], wanted: pa.Schema) -> pa.RecordBatch:
        data = self._end.join(texts) + self._end
        if data.count(b"\n") != len(texts) or b"\r" in data:
            data = self._end.join([text.rstrip(b"\r\n") for text in texts]) + self._end
        if data.startswith(BOM):
            data = BOM + data  # the parser takes one away, from the first value alone
        table = self._read(data, wanted)
        marked = pc.sum(pc.equal(table.column(-1), self._mark)).as_py()
        if not table.num_rows == marked == len(texts):
            raise Malformed("not exactly one row: a stray quote or line end")
        columns = table.combine_chunks().to_batches()[0].columns[:-1]
        if not columns:
            return table.select([]).to_batches()[0]
        return pa.RecordBatch.from_arrays(columns, schema=wanted)

    def _read(self, data: bytes, wanted: pa.Schema) -> pa.Table:
        names = [self._cells[self._schema.get_field_index(name)] for name in wanted.names]
        types = {cell: field.type for cell, field in zip(names, wanted, strict=True)}
        try:
            return pac.read_csv(
                pa.BufferReader(data),
                read_options=pac.ReadOptions(
                    column_names=[*self._cells, "mark"], use_threads=False, block_size=len(data) + 1
                ),
                parse_options=self._parse,
                convert_options=pac.ConvertOptions(
                    column_types={**types, "mark": pa.string()},
                    include_columns=[*names, "mark"],
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as error:
            raise Malformed(str(error).splitlines()[0].replace(self._mark.as_py(), "(end)")) from error


class _CsvEncoder(Encoder):
    def __init__(self, delimiter: str) -> None:
        self._options = pac.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="needed")

    def check(self, schema: pa.Schema) -> None:
        if not len(schema):
            raise UnsupportedColumn("a CSV row has at least one cell", hint="select the columns to write")
        for field in schema:
            try:
                check_types(pa.schema([field]))
                self._write(pa.RecordBatch.from_pylist([], schema=pa.schema([field])))
                readable = not pat.is_fixed_size_binary(field.type) and not pat.is_binary(field.type)
            except (UnsupportedField, pa.ArrowException):
                readable = False
            if not readable:
                raise UnsupportedColumn(
                    f"column {field.name!r} holds {field.type}, which cannot be written as CSV",
                    hint="turn it into text or a number with with_columns before write",
                    column=field.name,
                )

    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        if not rows.num_rows:
            return pa.array([], pa.large_binary())
        try:
            text = self._write(rows)
        except pa.ArrowException as error:
            raise UnencodableRow(
                f"rows cannot be written as CSV: {str(error).splitlines()[0]}",
                hint="turn the column into text with with_columns before write",
            ) from error
        lines = _lines(text)
        assert len(lines) == rows.num_rows
        return pc.binary_slice(lines, 0, -1)  # without the newline

    def _write(self, rows: pa.RecordBatch) -> bytes:
        sink = io.BytesIO()
        pac.write_csv(rows, sink, self._options)
        return sink.getvalue()


def _lines(text: bytes) -> pa.Array:
    """Return well-formed CSV as its rows: they end at the newlines with an even number of quotes before them."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE) + 1
    ends = ends[np.searchsorted(np.flatnonzero(data == _QUOTE), ends) % 2 == 0]
    offsets = np.concatenate([np.zeros(1, np.int64), ends.astype(np.int64)])
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    )
