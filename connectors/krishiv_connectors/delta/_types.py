"""Which Arrow types a Delta table stores, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import TableMismatch, UnsupportedColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_columns", "columns_of", "delta_json", "new_columns", "same_type", "stored_schema"]

_PLAIN = (pat.is_int8, pat.is_int16, pat.is_int32, pat.is_int64, pat.is_float32, pat.is_float64, pat.is_boolean)
_TEXT = (pat.is_string, pat.is_large_string, pat.is_string_view)
_BYTES = (pat.is_binary, pat.is_large_binary, pat.is_binary_view, pat.is_fixed_size_binary)
_LISTS = (pat.is_list, pat.is_large_list, pat.is_fixed_size_list, pat.is_list_view, pat.is_large_list_view)
_LOSSLESS_UNITS = ("s", "ms", "us")


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns as a Delta table has them: what rows x `schema` are cast to, without loss.

    Raises
    ------
    UnsupportedColumn
        If a type has no equal in Delta.
    """
    return pa.schema([pa.field(field.name, _stored(field.type, field), nullable=True) for field in schema])


def _stored(kind: pa.DataType, field: pa.Field) -> pa.DataType:
    if pat.is_dictionary(kind):
        return _stored(kind.value_type, field)
    if any(is_kind(kind) for is_kind in _PLAIN) or pat.is_date32(kind) or pat.is_decimal128(kind):
        return kind
    if any(is_kind(kind) for is_kind in _TEXT):
        return pa.string()
    if any(is_kind(kind) for is_kind in _BYTES):
        return pa.binary()
    if pat.is_timestamp(kind) and kind.unit in _LOSSLESS_UNITS:
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if any(is_kind(kind) for is_kind in _LISTS):
        return pa.list_(pa.field("element", _stored(kind.value_type, field)))
    if pat.is_struct(kind):
        return pa.struct([pa.field(each.name, _stored(each.type, field)) for each in kind])
    if pat.is_map(kind):
        return pa.map_(_stored(kind.key_type, field), _stored(kind.item_type, field))
    raise UnsupportedColumn(
        f"column {field.name!r} of type {field.type} cannot be stored in a Delta table",
        hint=_hint(kind),
        column=field.name,
    )


def _hint(kind: pa.DataType) -> str:
    if pat.is_unsigned_integer(kind):
        return "Delta has signed integers only: cast it to a wider one, or to a decimal, before write"
    if pat.is_timestamp(kind):
        return "Delta counts microseconds: cast it to timestamp[us] before write"
    return "cast it to a number, text, binary or a timestamp with with_columns before write"


def delta_json(schema: pa.Schema) -> str:
    """Return columns, x `stored_schema`, as Delta writes them down."""
    import deltalake

    return str(deltalake.Schema.from_arrow(schema).to_json())


def columns_of(text: str) -> pa.Schema:
    """Return what `delta_json` wrote down."""
    import deltalake

    return pa.schema(deltalake.Schema.from_json(text).to_arrow())


def new_columns(table: pa.Schema, rows: pa.Schema) -> list[str]:
    """Return the columns of `rows` that `table` has not."""
    return [name for name in rows.names if name not in table.names]


def check_columns(uri: str, table: pa.Schema, rows: pa.Schema, *, adding: bool, partitions: Sequence[str]) -> None:
    """Raise `TableMismatch` if rows x `rows` (as `stored_schema` gives it) do not fit into `table`.

    Parameters
    ----------
    adding : bool
        Columns that `table` has not are added to it.
    """
    for name in rows.names:
        if name not in table.names:
            if not adding:
                hint = 'add it, leave it out of the rows, or write with schema_evolution="add_columns"'
                raise _mismatch(uri, name, "is not in the table", hint)
            if name in partitions:
                raise _mismatch(uri, name, "is to be a partition column and is not in the table", "rewrite the table")
        elif not same_type(table.field(name).type, rows.field(name).type):
            found, wanted = table.field(name).type, rows.field(name).type
            raise _mismatch(uri, name, f"is {found} in the table, and {wanted} in the rows", "cast it before write")
    for field in table:
        if not field.nullable and field.name not in rows.names:
            raise _mismatch(uri, field.name, "may not be null and is not in the rows", "add it to the rows")


def same_type(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types are the same but for names of list elements and for what may be null."""
    return bool(_plain(one) == _plain(other))


def _plain(kind: pa.DataType) -> pa.DataType:
    if pat.is_list(kind) or pat.is_large_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type)))
    if pat.is_struct(kind):
        return pa.struct([pa.field(each.name, _plain(each.type)) for each in kind])
    if pat.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if any(is_kind(kind) for is_kind in _TEXT):
        return pa.string()
    return pa.binary() if any(is_kind(kind) for is_kind in _BYTES) else kind


def _mismatch(uri: str, column: str, what: str, hint: str) -> TableMismatch:
    return TableMismatch(f"{uri}: column {column!r} {what}", hint=hint, table=uri, column=column)
