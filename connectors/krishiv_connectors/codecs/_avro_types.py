"""Avro schemas and the Arrow columns that they stand for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import FormatUnfit, UnsupportedField
from krishiv_connectors._extras import need

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AvroSchema"]

_PRIMITIVES = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}
_MAX_DECIMAL128 = 38


@dataclass(frozen=True)
class AvroSchema:
    """A record schema, parsed.

    Parameters
    ----------
    text : str
        The schema as JSON.
    parsed : dict
        The same as fastavro reads it.
    columns : pa.Schema
        The record's fields. Nullable are those whose type is a union with null.
    """

    text: str
    parsed: dict[str, Any]
    columns: pa.Schema

    @classmethod
    def parse(cls, text: str, referenced: Sequence[str] = ()) -> AvroSchema:
        """Return the schema in `text`, which may use the names that those in `referenced` define.

        Raises
        ------
        FormatUnfit
            If it is no Avro schema of a record.
        UnsupportedField
            If a field has a type without a column type: a union of several, or a record that holds itself.
        """
        parsed, named = _parse(text, referenced)
        fields = [_field(field["name"], field["type"], named, ()) for field in parsed["fields"]]
        return cls(text, parsed, pa.schema(fields))

    @staticmethod
    def parse_writer(text: str, referenced: Sequence[str] = ()) -> dict[str, Any]:
        """Return a schema that messages are written with, parsed: its fields need not have column types.

        Raises
        ------
        FormatUnfit
            If it is no Avro schema of a record.
        """
        return _parse(text, referenced)[0]

    def only(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the parsed schema of a reader that wants these fields alone."""
        fields = {field["name"]: field for field in self.parsed["fields"]}
        return {**self.parsed, "fields": [fields[name] for name in names]}


def _parse(text: str, referenced: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema, and all named types by their names."""
    fastavro = need("fastavro", "avro")
    named: dict[str, Any] = {}
    try:
        for other in referenced:
            fastavro.parse_schema(_plain(json.loads(other)), named_schemas=named)
        parsed = fastavro.parse_schema(_plain(json.loads(text)), named_schemas=named)
    except (ValueError, TypeError, KeyError, AttributeError, fastavro.schema.UnknownType) as error:
        raise _not_a_schema(f"it does not parse: {error}") from error
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise _not_a_schema("it is not of a record")
    return parsed, named


def _not_a_schema(why: str) -> FormatUnfit:
    return FormatUnfit(
        f"this Avro schema cannot be used: {why}",
        hint='it is JSON text such as {"type": "record", "name": "Order", "fields": [...]}',
        format="avro",
    )


def _plain(schema: Any) -> Any:
    """Return `schema` with UUIDs as the strings that they are: Arrow has no better type for them."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("string", "fixed") and schema.get("logicalType") == "uuid":
        return {key: value for key, value in schema.items() if key != "logicalType"}
    return {key: value if key == "default" else _plain(value) for key, value in schema.items()}


def _field(name: str, kind: Any, named: dict[str, Any], within: tuple[str, ...]) -> pa.Field:
    """Return a column; `within` names the records that it is a part of."""
    nullable = kind == "null"
    if isinstance(kind, list):
        members = [member for member in kind if member != "null"]
        nullable = len(members) < len(kind)
        if len(members) > 1:
            raise _unsupported(name, f"a union of {len(members)} types", "make it one type, or a union of it and null")
        kind = members[0] if members else "null"
    return pa.field(name, _type(name, kind, named, within), nullable=nullable)


def _type(name: str, kind: Any, named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    if isinstance(kind, str):
        if kind == "null":
            return pa.null()
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        return _type(name, named[kind], named, within)
    base = kind["type"]
    if isinstance(base, dict | list):
        return _field(name, base, named, within).type
    match base:
        case "record":
            return _record(name, kind, named, within)
        case "enum":
            return pa.string()
        case "array":
            item = _field("item", kind["items"], named, within)
            if _may_be_empty(item.type):
                raise _unsupported(name, "an array of items that take no bytes", "store their number instead")
            return pa.list_(item)
        case "map":
            return pa.map_(pa.string(), _field("value", kind["values"], named, within))
        case _:
            return _scalar(name, kind, named, within)


def _scalar(name: str, kind: dict[str, Any], named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    base = kind["type"]
    logical = kind.get("logicalType")
    if logical == "decimal" and base in ("bytes", "fixed"):
        precision, scale = int(kind["precision"]), int(kind.get("scale", 0))
        return (pa.decimal128 if precision <= _MAX_DECIMAL128 else pa.decimal256)(precision, scale)
    if base == "fixed":
        return pa.binary(int(kind["size"]))
    # A logical type that is not known, or not of this type, is as if it were not there: so Avro has it.
    return _LOGICAL.get((base, str(logical))) or _type(name, base, named, within)


def _record(name: str, kind: dict[str, Any], named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    if kind["name"] in within:
        raise _unsupported(name, f"record {kind['name']}, which holds itself", "store it as text or bytes")
    inner = (*within, kind["name"])
    return pa.struct([_field(field["name"], field["type"], named, inner) for field in kind["fields"]])


def _may_be_empty(kind: pa.DataType) -> bool:
    """Whether a value may take no bytes, so that a few bytes could claim to be any number of them."""
    if pa.types.is_struct(kind):
        return all(not child.nullable and _may_be_empty(child.type) for child in kind)
    if pa.types.is_null(kind):
        return True
    return bool(pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0)


def _unsupported(name: str, what: str, hint: str) -> UnsupportedField:
    return UnsupportedField(f"Avro field {name!r} is {what}: no column type is", hint=hint, column=name, type=what)
