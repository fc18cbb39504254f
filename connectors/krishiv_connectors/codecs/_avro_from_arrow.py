"""An Avro schema for rows that come without one."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn

__all__ = ["avro_schema_of"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIMPLE = (
    (pat.is_boolean, "boolean"),
    (pat.is_int64, "long"),
    (pat.is_uint32, "long"),
    (lambda kind: pat.is_integer(kind) and not pat.is_uint64(kind), "int"),
    (pat.is_float64, "double"),
    (pat.is_floating, "float"),
    (pat.is_string, "string"),
    (pat.is_large_string, "string"),
    (pat.is_string_view, "string"),
    (pat.is_binary, "bytes"),
    (pat.is_large_binary, "bytes"),
    (pat.is_binary_view, "bytes"),
    (pat.is_date, {"type": "int", "logicalType": "date"}),
    (pat.is_null, "null"),
)


def avro_schema_of(schema: pa.Schema, name: str = "Row") -> str:
    """Return an Avro record schema, as JSON, for rows of `schema`.

    Fields have the columns' names. Nullable columns are unions with null, null by default.

    Raises
    ------
    UnsupportedColumn
        If a column's name or type has no counterpart in Avro.
    """
    return json.dumps({"type": "record", "name": name, "fields": [_field(field, name) for field in schema]})


def _field(field: pa.Field, path: str) -> dict[str, Any]:
    if not _NAME.fullmatch(field.name):
        raise UnsupportedColumn(
            f"column {field.name!r} cannot be an Avro field: names are letters, digits and _",
            hint="rename the column before write",
            column=field.name,
        )
    kind = _nullable(field, f"{path}_{field.name}")
    return {"name": field.name, "type": kind} | ({"default": None} if field.nullable else {})


def _nullable(field: pa.Field, path: str) -> Any:
    kind = _type(field.type, path)
    return ["null", kind] if field.nullable and kind != "null" else kind


def _type(kind: pa.DataType, path: str) -> Any:
    if pat.is_dictionary(kind):
        return _type(kind.value_type, path)
    if pat.is_struct(kind):
        return {"type": "record", "name": path, "fields": [_field(child, path) for child in kind]}
    if pat.is_map(kind) and pat.is_string(kind.key_type):
        return {"type": "map", "values": _nullable(kind.item_field, f"{path}_value")}
    if pat.is_list(kind) or pat.is_large_list(kind):
        return {"type": "array", "items": _nullable(kind.value_field, f"{path}_item")}
    if pat.is_fixed_size_binary(kind) and not pat.is_decimal(kind):
        return {"type": "fixed", "name": path, "size": kind.byte_width}
    if pat.is_decimal(kind):
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}
    if pat.is_time(kind):
        return _of_unit("int" if kind.unit in ("s", "ms") else "long", "time", kind.unit)
    if pat.is_timestamp(kind):
        return _of_unit("long", "local-timestamp" if kind.tz is None else "timestamp", kind.unit)
    for fits, simple in _SIMPLE:
        if fits(kind):
            return simple
    raise UnsupportedColumn(
        f"column {path.partition('_')[2]!r} holds {kind}, which Avro has no type for",
        hint="turn it into text or a number with with_columns before write",
        column=path.partition("_")[2],
    )


def _of_unit(base: str, what: str, unit: str) -> dict[str, str]:
    """Return a logical type; what is finer than microseconds must be whole microseconds."""
    return {"type": base, "logicalType": f"{what}-{'millis' if unit in ('s', 'ms') else 'micros'}"}
