"""NDJSON: one JSON object per line."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.types as pat
from polars.exceptions import PanicException, PolarsError

from krishiv_connectors._errors import BadJsonLine, UnsupportedField
from krishiv_connectors.files._text_format import BOM, Malformed, TextFormat

if TYPE_CHECKING:
    from polars.datatypes import DataType, DataTypeClass

__all__ = ["JsonFormat", "json_type", "shape_decoder"]

_OLDEST = pl.CompatLevel.oldest()


class JsonFormat(TextFormat):
    """JSON objects, one per line, in UTF-8.

    Polars decodes lines, strictly, to the nearest of its own types (dates and times as text: its own parsing of them
    takes ten times as long); Arrow casts these, strictly, to the types of the schema.
    """

    bad_record = BadJsonLine
    blank = b" \t\r\n"

    def __init__(self, columns: pa.Schema) -> None:
        self._columns = columns
        self._types = {field.name: json_type(field) for field in columns}

    def begin(self, path: str, file: BinaryIO, *, complete: bool) -> int | None:
        """Pass over a byte order mark."""
        return len(BOM) if file.read(len(BOM)) == BOM else 0

    def decode(self, data: bytes) -> pa.RecordBatch:
        """Return lines as the columns asked for: a key that is missing is null, others are ignored."""
        if not data.strip(self.blank):
            return pa.RecordBatch.from_pylist([], schema=self._columns)
        rows = self.parse(data)
        if rows.num_rows != self.count(data) and rows.num_rows != len(self.record_starts(data)):
            raise Malformed(f"{rows.num_rows} objects in {len(self.record_starts(data))} lines")
        return rows

    def parse(self, data: bytes) -> pa.RecordBatch:
        """Return the objects in lines as rows: one for each line that is not blank.

        Raises
        ------
        Malformed
            If a line that is not blank is not exactly one object, or does not fit the columns.
        """
        try:
            table = pl.read_ndjson(io.BytesIO(data), schema=self._types).to_arrow(compat_level=_OLDEST)
            table = table.cast(self._columns).combine_chunks()
        except (PolarsError, PanicException, pa.ArrowInvalid) as error:
            raise Malformed(str(error).splitlines()[0]) from error
        return next(iter(table.to_batches()), None) or pa.RecordBatch.from_pylist([], schema=self._columns)

    def suspect(self, data: bytes) -> int | None:
        """Return the first line that has another shape than the columns."""
        shape = shape_decoder(self._columns)
        for index, line in enumerate(line for line in data.split(b"\n") if line.strip(self.blank)):
            try:
                shape.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return index
        return None

    def ends_by_itself(self, data: bytes) -> bool:
        """Whether `data` is a whole object: no longer line that begins so could be one."""
        try:
            self.decode(data)
        except Malformed:
            return False
        return True


def json_type(field: pa.Field) -> DataType | DataTypeClass:
    """Return what JSON values of `field` are decoded to before the cast.

    Raises
    ------
    UnsupportedField
        If no JSON value can become one of this type.
    """
    kind = field.type
    if pat.is_boolean(kind):
        return pl.Boolean
    if pat.is_uint64(kind):
        return pl.UInt64
    if pat.is_integer(kind):
        return pl.Int64
    if pat.is_floating(kind):
        return pl.Float64
    if pat.is_list(kind) or pat.is_large_list(kind):
        return pl.List(json_type(kind.value_field))
    if pat.is_struct(kind):
        return pl.Struct({child.name: json_type(child) for child in kind})
    if _from_text(kind):
        return pl.String
    raise UnsupportedField(
        f"column {field.name!r}: JSON cannot become {kind}",
        hint="read it as pa.string() and convert it in the pipeline",
        column=field.name,
        type=str(kind),
    )


def shape_decoder(columns: pa.Schema) -> msgspec.json.Decoder[Any]:
    """Return a decoder that fails, quickly, on most lines that do not fit the columns."""
    usable = [field for field in columns if field.name.isprintable() and not {'"', "\\"}.intersection(field.name)]
    names = {f"field_{index}": field.name for index, field in enumerate(usable)}
    fields = [(name, _shape(field.type), None) for name, field in zip(names, usable, strict=True)]
    return msgspec.json.Decoder(msgspec.defstruct("Shape", fields, rename=names))


def _shape(kind: pa.DataType) -> Any:
    if pat.is_boolean(kind):
        return bool | None
    if pat.is_integer(kind):
        return int | None
    return float | None if pat.is_floating(kind) else Any


def _from_text(kind: pa.DataType) -> bool:
    if pat.is_dictionary(kind):
        return _from_text(kind.value_type)
    return any(is_(kind) for is_ in (pat.is_string, pat.is_large_string, pat.is_timestamp, pat.is_date, pat.is_decimal))
