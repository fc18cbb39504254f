"""Which Arrow types an Iceberg table stores, and as what: https://iceberg.apache.org/spec/#primitive-types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import TableMismatch, UnsupportedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_columns", "readable_schema", "stored_schema"]

_INTS = (pat.is_int8, pat.is_int16, pat.is_int32, pat.is_uint8, pat.is_uint16)
_LONGS = (pat.is_int64, pat.is_uint32)
_TEXT = (pat.is_string, pat.is_large_string, pat.is_string_view)
_BYTES = (pat.is_binary, pat.is_large_binary, pat.is_binary_view)
_LISTS = (pat.is_list, pat.is_large_list, pat.is_fixed_size_list, pat.is_list_view, pat.is_large_list_view)
_SAME = (pat.is_float32, pat.is_float64, pat.is_boolean, pat.is_date32, pat.is_fixed_size_binary, pat.is_decimal128)
_LOSSLESS_UNITS = ("s", "ms", "us")


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns as an Iceberg table has them: what rows x `schema` are cast to, without loss.

    Raises
    ------
    UnsupportedColumn
        If a type has no equal in Iceberg (format version 2).
    """
    return pa.schema([pa.field(field.name, _stored(field.type, field), nullable=True) for field in schema])


def _stored(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    if pat.is_dictionary(kind):
        return _stored(kind.value_type, field)
    for fits, stored in (
        (_INTS, pa.int32()),
        (_LONGS, pa.int64()),
        ((pat.is_float16,), pa.float32()),
        (_SAME, kind),
        (_TEXT, pa.string()),
        (_BYTES, pa.binary()),
    ):
        if any(is_kind(kind) for is_kind in fits) and not isinstance(kind, pa.BaseExtensionType):
            return stored
    if (pat.is_decimal(kind)) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if pat.is_timestamp(kind) and kind.unit in _LOSSLESS_UNITS:
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pat.is_time(kind) and kind.unit in _LOSSLESS_UNITS:
        return pa.time64("us")
    return _stored_nested(kind, field)


def _stored_nested(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    if any(is_kind(kind) for is_kind in _LISTS):
        return pa.list_(pa.field("element", _stored(kind.value_type, field)))
    if pat.is_struct(kind) and kind.num_fields:
        return pa.struct([pa.field(each.name, _stored(each.type, field)) for each in kind])
    if pat.is_map(kind):
        return pa.map_(_stored(kind.key_type, field), _stored(kind.item_type, field))
    raise UnsupportedColumn(
        f"column {field.name!r} of type {field.type} cannot be stored in an Iceberg table",
        hint=_hint(kind),
        column=field.name,
    )


def _hint(kind: pa.DataType) -> str:
    if pat.is_unsigned_integer(kind):
        return "Iceberg has signed integers only: cast it to a decimal, or to int64 if its values fit, before write"
    if pat.is_timestamp(kind) or pat.is_time(kind):
        return "Iceberg counts microseconds: cast it to microseconds before write"
    return "cast it to a number, text, binary or a timestamp with with_columns before write"


def readable_schema(table: Any) -> pa.Schema:
    """Return the columns of a table or a snapshot (a pyiceberg schema), as a source gives them."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return pa.schema([pa.field(f.name, _small(f.type)) for f in schema_to_pyarrow(table, include_field_ids=False)])


def _small(kind: pa.DataType) -> pa.DataType:
    """Return a type with 32-bit offsets where pyiceberg gives 64, and without a note of what may be null."""
    if pat.is_large_string(kind):
        return pa.string()
    if pat.is_large_binary(kind):
        return pa.binary()
    if any(is_kind(kind) for is_kind in _LISTS):
        return pa.list_(pa.field("element", _small(kind.value_type)))
    if pat.is_struct(kind):
        return pa.struct([pa.field(each.name, _small(each.type)) for each in kind])
    return pa.map_(_small(kind.key_type), _small(kind.item_type)) if pat.is_map(kind) else kind


def check_columns(place: str, table: Any, rows: pa.Schema) -> None:
    """Raise `TableMismatch` if rows x `rows` (as `stored_schema` gives it) do not fit into `table`.

    Parameters
    ----------
    table : pyiceberg.schema.Schema
        Its columns. A row's may be narrower, as an int32 in a long is.
    """
    known = readable_schema(table)
    for name in rows.names:
        if name not in known.names:
            raise _mismatch(place, name, "is not in the table", "add it to the table, or leave it out of the rows")
        found, wanted = known.field(name).type, rows.field(name).type
        if not _fits(wanted, found):
            raise _mismatch(place, name, f"is {found} in the table, and {wanted} in the rows", "cast it before write")
    for field in table.fields:
        if field.name in rows.names:
            continue
        if field.required:
            raise _mismatch(place, field.name, "may not be null and is not in the rows", "add it to the rows")
        if getattr(field, "write_default", None) is not None:
            raise _mismatch(place, field.name, "has a default and is not in the rows", "add it to the rows")


def _fits(rows: pa.DataType, table: pa.DataType) -> bool:
    """Whether each value of one type is one of the other."""
    if pat.is_decimal128(rows) and pat.is_decimal128(table):
        return bool(rows.scale == table.scale and rows.precision <= table.precision)
    pairs: Sequence[tuple[pa.DataType, pa.DataType]] = ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))
    return bool(rows == table or (rows, table) in pairs)


def _mismatch(place: str, column: str, what: str, hint: str) -> TableMismatch:
    return TableMismatch(f"{place}: column {column!r} {what}", hint=hint, table=place, column=column)
