"""Avro types as column types, and back."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from krishiv_connectors._errors import UnsupportedColumn, UnsupportedField
from krishiv_connectors.codecs._avro_from_arrow import avro_schema_of
from krishiv_connectors.codecs._avro_types import AvroSchema

NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}]}


def column(kind: Any) -> pa.Field:
    """Return the column of a field of this type."""
    text = json.dumps({"type": "record", "name": "R", "fields": [{"name": "v", "type": kind}]})
    return AvroSchema.parse(text).columns.field("v")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("boolean", pa.bool_()),
        ("int", pa.int32()),
        ("long", pa.int64()),
        ("float", pa.float32()),
        ("double", pa.float64()),
        ("bytes", pa.binary()),
        ("string", pa.string()),
        ({"type": "fixed", "name": "F", "size": 3}, pa.binary(3)),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, pa.string()),
        ({"type": "int", "logicalType": "date"}, pa.date32()),
        ({"type": "int", "logicalType": "time-millis"}, pa.time32("ms")),
        ({"type": "long", "logicalType": "time-micros"}, pa.time64("us")),
        ({"type": "long", "logicalType": "timestamp-millis"}, pa.timestamp("ms", "UTC")),
        ({"type": "long", "logicalType": "timestamp-micros"}, pa.timestamp("us", "UTC")),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, pa.timestamp("ms")),
        ({"type": "long", "logicalType": "not-known"}, pa.int64()),
        ({"type": "string", "logicalType": "uuid"}, pa.string()),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, pa.decimal128(9, 2)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 50}, pa.decimal256(50, 0)),
        (
            {"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 9, "scale": 1},
            pa.decimal128(9, 1),
        ),
        ({"type": "map", "values": "int"}, pa.map_(pa.string(), pa.field("value", pa.int32(), nullable=False))),
        (POINT, pa.struct([pa.field("x", pa.int32(), nullable=False)])),
    ],
)
def test_type_has_its_column_type(kind: Any, expected: pa.DataType) -> None:
    assert column(kind) == pa.field("v", expected, nullable=False)
    assert column(["null", kind]) == pa.field("v", expected, nullable=True)


def test_nullability_is_kept_within_arrays() -> None:
    assert column({"type": "array", "items": ["string", "null"]}).type.value_field.nullable
    assert not column({"type": "array", "items": "string"}).type.value_field.nullable


def test_union_of_one_type_is_that_type() -> None:
    assert column(["long"]) == pa.field("v", pa.int64(), nullable=False)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (["null", "string", "long"], "a union of 2 types"),
        (NODE, "holds itself"),
        ({"type": "array", "items": "null"}, "take no bytes"),
        ({"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}, "take no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "Zero", "size": 0}}, "take no bytes"),
    ],
)
def test_type_without_a_column_type_is_refused(kind: Any, what: str) -> None:
    with pytest.raises(UnsupportedField, match=what) as caught:
        column(kind)
    assert caught.value.fields["column"] in {"v", "next"}


@pytest.mark.parametrize(
    ("kind", "back"),
    [
        (pa.int8(), pa.int32()),
        (pa.uint16(), pa.int32()),
        (pa.uint32(), pa.int64()),
        (pa.float16(), pa.float32()),
        (pa.large_string(), pa.string()),
        (pa.large_binary(), pa.binary()),
        (pa.dictionary(pa.int32(), pa.string()), pa.string()),
        (pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")),
        (pa.timestamp("ns"), pa.timestamp("us")),
        (pa.time32("s"), pa.time32("ms")),
        (pa.large_list(pa.int64()), pa.list_(pa.int64())),
        (pa.null(), pa.null()),
    ],
)
def test_column_type_has_its_nearest_avro_type(kind: pa.DataType, back: pa.DataType) -> None:
    schema = AvroSchema.parse(avro_schema_of(pa.schema([("v", kind)])))
    assert schema.columns == pa.schema([pa.field("v", back)])


def test_records_within_records_have_names_of_their_own() -> None:
    point = pa.struct([("at", pa.struct([("x", pa.int64())]))])
    schema = pa.schema([("a", point), ("b", pa.list_(point))])
    assert AvroSchema.parse(avro_schema_of(schema)).columns.field("b").type.value_type == point


@pytest.mark.parametrize(
    "field",
    [
        pa.field("v", pa.uint64()),
        pa.field("v", pa.duration("us")),
        pa.field("v", pa.map_(pa.int64(), pa.int64())),
        pa.field("with space", pa.int64()),
        pa.field("1st", pa.int64()),
    ],
)
def test_column_without_an_avro_type_is_refused(field: pa.Field) -> None:
    with pytest.raises(UnsupportedColumn, match=field.name):
        avro_schema_of(pa.schema([field]))
