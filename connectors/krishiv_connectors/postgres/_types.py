"""How Arrow columns become PostgreSQL columns: what a table is declared as, and what a column of one can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import TableMismatch, UnsupportedColumn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAME_BYTES", "Column", "declared", "mismatch", "quoted", "wire_type"]

NAME_BYTES = 63
_DIGITS = 38
"""Digits of a decimal that can be encoded."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
    kind : str
        PostgreSQL's short name of the type: ``"int8"``, ``"numeric"``, ``"_text"`` (an array).
    shown : str
        The type as people write it: ``"numeric(9,2)"``.
    modifier : int
        Length or precision as the catalog keeps it; -1: none.
    required : bool
        Whether it refuses nulls.
    filled : bool
        Whether it has a value for rows that bring none.
    written : bool
        Whether rows may bring one.
    """

    name: str
    kind: str
    shown: str
    modifier: int = -1
    required: bool = False
    filled: bool = False
    written: bool = True

    @property
    def length(self) -> int | None:
        """Characters that a text may have at most."""
        return self.modifier - 4 if self.kind == "varchar" and self.modifier > 0 else None

    @property
    def digits(self) -> tuple[int, int] | None:
        """Precision and scale of a number that has them."""
        if self.kind != "numeric" or self.modifier < 0:
            return None
        bits = self.modifier - 4
        scale = bits & 0x7FF  # eleven bits, signed
        return bits >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def declared(schema: pa.Schema) -> dict[str, str]:
    """Return the PostgreSQL type of each column of a table that is made for rows x `schema`.

    Raises
    ------
    UnsupportedColumn
        If there is none, or no column can have this name.
    """
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise _unsupported(name, "appears twice", "rename one of them before write")
        if not name or "\0" in name or len(name.encode()) > NAME_BYTES:
            raise _unsupported(name, f"has no name of 1 to {NAME_BYTES} bytes", "rename it before write")
    return {field.name: _declared(field.name, field.type) for field in schema}


def _declared(name: str, kind: pa.DataType) -> str:
    plain = _plain(kind)
    if _is_uuid(kind):
        return "uuid"
    if pat.is_list(plain) or pat.is_large_list(plain):
        if _is_nested(plain.value_type):
            raise _unsupported(name, f"of type {kind} cannot be stored in PostgreSQL", "flatten it before write")
        return _declared(name, plain.value_type) + "[]"
    if pat.is_decimal(plain):
        if plain.precision > _DIGITS:
            raise _unsupported(name, f"of type {kind} has more than {_DIGITS} digits", "cast it before write")
        return f"numeric({plain.precision},{plain.scale})"
    for is_kind, made in _DECLARED:
        if is_kind(plain):
            return made
    raise _unsupported(name, f"of type {kind} cannot be stored in PostgreSQL", "cast it with with_columns before write")


def wire_type(field: pa.Field, column: Column, table: str) -> pa.DataType:
    """Return the type of Arrow arrays that hold `field`'s values as they are sent to `column`.

    Raises
    ------
    TableMismatch
        If the column cannot hold every value.
    """
    if not column.written:
        raise mismatch(table, field.name, "makes its values itself", "drop it from the rows, or from the table")
    found = _wire(_plain(field.type), column.kind, column)
    if found is None:
        wanted = _declared(field.name, field.type)
        hint = f"make the column {wanted}, or cast it to fit with with_columns before write"
        raise mismatch(table, field.name, f"is {column.shown} and cannot hold every {field.type}", hint)
    return found


def mismatch(table: str, column: str, what: str, hint: str) -> TableMismatch:
    """Return the error about a column that does not fit."""
    return TableMismatch(f"table {table}: column {column!r} {what}", hint=hint, table=table, column=column)


def _wire(kind: pa.DataType, wanted: str, column: Column) -> pa.DataType | None:
    if wanted.startswith("_"):
        if not (pat.is_list(kind) or pat.is_large_list(kind)) or _is_nested(kind.value_type):
            return None
        item = _wire(_plain(kind.value_type), wanted[1:], column)
        return None if item is None else pa.list_(item)
    if wanted == "numeric":
        return _numeric(kind, column.digits)
    if wanted not in _WIRE:
        return None
    wire, takes = _WIRE[wanted]
    if pat.is_null(kind) or takes(kind):
        return _large(kind, wire)
    return None


def _large(kind: pa.DataType, wire: pa.DataType) -> pa.DataType:
    """Return the type that is sent: what may be larger than 2 GB in a batch stays so."""
    if pat.is_large_string(kind):
        return pa.large_string()
    return pa.large_binary() if pat.is_large_binary(kind) else wire


def _numeric(kind: pa.DataType, digits: tuple[int, int] | None) -> pa.DataType | None:
    if pat.is_null(kind):
        return pa.decimal128(1, 0)
    if pat.is_integer(kind):
        precision, scale = _INTEGER_DIGITS[kind.bit_width] + pat.is_uint64(kind), 0
    elif pat.is_decimal(kind) and kind.precision <= _DIGITS:
        precision, scale = kind.precision, kind.scale
    else:
        return None
    if digits is not None and (digits[1] < scale or digits[0] - digits[1] < precision - scale):
        return None
    return pa.decimal128(precision, scale)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: without dictionary or extension."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if pat.is_dictionary(kind) else kind


def _is_uuid(kind: pa.DataType) -> bool:
    return bool(isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid")


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pat.is_nested(_plain(kind)))


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pat.is_string, pat.is_large_string, pat.is_string_view))


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pat.is_binary, pat.is_large_binary, pat.is_binary_view, pat.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _is_local(kind: pa.DataType) -> bool:
    return bool(pat.is_timestamp(kind) and kind.tz is None)


def _is_moment(kind: pa.DataType) -> bool:
    return bool(pat.is_timestamp(kind) and kind.tz is not None)


def _integer_up_to(bits: int) -> Callable[[pa.DataType], bool]:
    def takes(kind: pa.DataType) -> bool:
        return bool(pat.is_integer(kind) and kind.bit_width + pat.is_unsigned_integer(kind) <= bits)

    return takes


def _is_short_float(kind: pa.DataType) -> bool:
    return bool(pat.is_float16(kind) or pat.is_float32(kind))


def _is_uuid_width(kind: pa.DataType) -> bool:
    return bool(pat.is_fixed_size_binary(kind) and kind.byte_width == 16)


def _unsupported(column: str, what: str, hint: str) -> UnsupportedColumn:
    return UnsupportedColumn(f"column {column!r} {what}", hint=hint, column=column)


_INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}
_DECLARED: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pat.is_boolean, "boolean"),
    (_integer_up_to(16), "smallint"),
    (_integer_up_to(32), "integer"),
    (_integer_up_to(64), "bigint"),
    (pat.is_uint64, "numeric(20,0)"),
    (_is_short_float, "real"),
    (pat.is_float64, "double precision"),
    (_is_text, "text"),
    (pat.is_null, "text"),
    (_is_bytes, "bytea"),
    (pat.is_date, "date"),
    (pat.is_time, "time"),
    (_is_local, "timestamp"),
    (_is_moment, "timestamp with time zone"),
    (pat.is_duration, "interval"),
)
_WIRE: dict[str, tuple[pa.DataType, Callable[[pa.DataType], bool]]] = {
    "bool": (pa.bool_(), pat.is_boolean),
    "int2": (pa.int16(), _integer_up_to(16)),
    "int4": (pa.int32(), _integer_up_to(32)),
    "int8": (pa.int64(), _integer_up_to(64)),
    "float4": (pa.float32(), _is_short_float),
    "float8": (pa.float64(), pat.is_floating),
    "text": (pa.string(), _is_text),
    "varchar": (pa.string(), _is_text),
    "bytea": (pa.binary(), _is_bytes),
    "uuid": (pa.binary(16), _is_uuid_width),
    "date": (pa.date32(), pat.is_date),
    "time": (pa.time64("us"), pat.is_time),
    "timestamp": (pa.timestamp("us"), _is_local),
    "timestamptz": (pa.timestamp("us", tz="UTC"), _is_moment),
    "interval": (pa.duration("us"), pat.is_duration),
}
"""By type of the column: the Arrow type whose encoding it takes, and which values of others it can hold."""
