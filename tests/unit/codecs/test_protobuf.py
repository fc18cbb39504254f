"""Protobuf messages, bare and with the id of their schema."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FormatUnfit, RegistryRejected, UnencodableRow, UnsupportedColumn
from krishiv_connectors.codecs import ProtobufFormat, SchemaRegistry
from krishiv_connectors.codecs._protobuf_types import descriptor_of, message_path
from tests.unit.codecs.protos import SHOP, field, file_set
from tests.unit.codecs.support import bad_places, check_isolation, records

if TYPE_CHECKING:
    from tests.support.schema_registry import StandInRegistry

SET = file_set(SHOP)
FORM = ProtobufFormat(SET, "shop.Order")
DECODER = FORM.decoder(None)
ORDER: Any = GetMessageClass(descriptor_of(SET, "shop.Order"))
SHOP_TEXT = base64.b64encode(ORDER.DESCRIPTOR.file.serialized_pb).decode()

GOOD: list[bytes] = [ORDER(id=number, name="n" * number).SerializeToString() for number in range(12)]
BAD: list[bytes | None] = [
    None,
    GOOD[3][:-1],
    GOOD[3] + b"\x0c",
    GOOD[3] + b"\x08",
    b"\x12\x02\xff\xfe",
    b"\x00\x01",
    b"\x12\xff\xff\xff\xff\x0f",
    b"not a message",
]

# What round trips: a oneof has one member at most, so none of its columns is here.
ROUND_TRIP = pa.schema(
    [DECODER.columns().field(name) for name in DECODER.columns().names if name not in {"state", "card", "cash"}]
)


def order(**fields: Any) -> bytes:
    """Return a message."""
    encoded: bytes = ORDER(**fields).SerializeToString()
    return encoded


def test_fields_become_columns() -> None:
    value = order(
        id=1,
        name="a",
        at={"seconds": 1_700_000_000, "nanos": 1_999},
        state=1,
        tags=["x", "y"],
        counts={"k": 2},
        lines=[{"sku": "s", "count": 3}],
        raw=b"\xff",
        big=2**63,
        delta=-5,
        maybe={"value": 0},
        cash=9,
    )
    decoded = DECODER.decode([value, b""])
    assert decoded.bad == ()
    row, empty = decoded.batch.to_pylist()
    assert row == {
        "id": 1,
        "name": "a",
        "note": None,
        "amount": 0.0,
        "at": datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC),
        "state": "SENT",
        "tags": ["x", "y"],
        "counts": [("k", 2)],
        "lines": [{"sku": "s", "count": 3}],
        "first": None,
        "raw": b"\xff",
        "big": 2**63,
        "delta": -5,
        "maybe": 0,
        "card": None,
        "cash": 9,
        "paid": False,
    }
    assert (empty["id"], empty["note"], empty["maybe"], empty["tags"]) == (0, None, None, [])


@pytest.mark.parametrize("value", BAD)
def test_bad_value_is_named_and_its_neighbours_are_rows(value: bytes | None) -> None:
    decoded = DECODER.decode([GOOD[1], value, GOOD[2]])
    assert bad_places(decoded) == [1]
    assert decoded.batch.column("id").to_pylist() == [1, 2]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_bad_values_anywhere_harm_no_other(data: st.DataObject) -> None:
    bad = data.draw(st.lists(st.sampled_from(BAD), max_size=6))
    good = data.draw(st.lists(st.sampled_from(GOOD), max_size=12))
    places = data.draw(st.permutations([True] * len(good) + [False] * len(bad)))
    check_isolation(DECODER, good, bad, list(places))


@settings(deadline=None, max_examples=60)
@given(records(ROUND_TRIP))
def test_rows_come_back_from_their_encoding(rows: pa.RecordBatch) -> None:
    values = FORM.encoder(rows.schema).encode(rows)
    assert values.type == pa.large_binary()
    decoded = DECODER.decode(values.to_pylist(), rows.schema.names)
    assert decoded.bad == ()
    assert decoded.batch.to_pylist(maps_as_pydicts="strict") == rows.to_pylist(maps_as_pydicts="strict")


@settings(deadline=None, max_examples=60)
@given(records(ROUND_TRIP.empty_table().select(["id", "name", "note", "amount", "raw", "big", "delta", "paid"]).schema))
def test_messages_are_what_protobufs_own_library_reads(rows: pa.RecordBatch) -> None:
    values = FORM.encoder(rows.schema).encode(rows).to_pylist()
    for value, row in zip(values, rows.to_pylist(), strict=True):
        message = ORDER.FromString(value)
        assert message.HasField("note") == (row["note"] is not None)
        row["note"] = row["note"] or ""
        assert {name: getattr(message, name) for name in row} == row


def test_map_entry_without_a_value_is_an_entry() -> None:
    # Protobuf lets writers leave out what is the default.
    assert DECODER.decode([b"\x42\x03\x0a\x01k"]).batch.column("counts").to_pylist() == [[("k", 0)]]


def test_last_member_of_a_oneof_counts() -> None:
    both = order(card="x") + order(cash=5)
    assert DECODER.decode([both], ["card", "cash"]).batch.to_pylist() == [{"card": None, "cash": 5}]


def test_parts_of_a_message_are_merged() -> None:
    parts = order(first={"sku": "a"}, tags=["x"]) + order(first={"count": 2}, tags=["y"])
    assert DECODER.decode([parts], ["first", "tags"]).batch.to_pylist() == [
        {"first": {"sku": "a", "count": 2}, "tags": ["x", "y"]}
    ]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_messages_are_what_protobufs_own_library_makes_of_them(data: st.DataObject) -> None:
    whole = order(
        id=5, name="n", note="m", tags=["a"], counts={"k": 2}, first={"sku": "s"}, raw=b"r", card="c", paid=True
    )
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(whole)))])
    decoded = DECODER.decode([cut])
    try:
        message = ORDER.FromString(cut)
    except DecodeError:
        assert bad_places(decoded) == [0]
        return
    (row,) = decoded.batch.to_pylist()
    assert (row["id"], row["name"], row["tags"]) == (message.id, message.name, list(message.tags))
    assert dict(row["counts"]) == dict(message.counts)
    assert row["card"] == (message.card if message.WhichOneof("by") == "card" else None)
    assert row["first"] == (
        {"sku": message.first.sku, "count": message.first.count} if message.HasField("first") else None
    )


def test_enum_number_without_a_name_is_its_digits() -> None:
    assert DECODER.decode([order(state=7)]).batch.column("state").to_pylist() == ["7"]


def test_columns_asked_for_come_in_that_order() -> None:
    decoded = DECODER.decode([*GOOD[1:3], None], ["name", "id"])
    assert decoded.batch.to_pydict() == {"name": ["n", "nn"], "id": [1, 2]}
    assert DECODER.decode(GOOD[1:3], []).batch.num_rows == 2


def test_message_is_found_in_its_class_its_descriptor_and_a_file_set() -> None:
    columns = DECODER.columns()
    assert ProtobufFormat(ORDER).decoder(columns).columns() == columns
    assert ProtobufFormat(ORDER.DESCRIPTOR).decoder(None).columns() == columns


@pytest.mark.parametrize(
    ("message", "name"),
    [(SET, None), (SET, "shop.Nothing"), (b"\xff", "shop.Order"), (SHOP.SerializeToString(), "shop.Order"), (5, None)],
)
def test_what_is_no_message_is_refused(message: Any, name: str | None) -> None:
    with pytest.raises(FormatUnfit):
        ProtobufFormat(message, name)


def test_schema_other_than_the_messages_is_refused() -> None:
    with pytest.raises(FormatUnfit, match="other columns"):
        FORM.decoder(pa.schema([("id", pa.int64())]))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"id": pa.int64(), "more": pa.int64()}, "'more' is not in shop.Order"),
        ({"id": pa.list_(pa.int64())}, "'id' holds"),
        ({"name": pa.int64()}, "'name' holds int64"),
    ],
)
def test_columns_that_the_message_lacks_are_refused(columns: dict[str, pa.DataType], why: str) -> None:
    with pytest.raises(UnsupportedColumn, match=why):
        FORM.encoder(pa.schema(list(columns.items())))


def test_columns_are_converted_where_no_value_changes() -> None:
    rows = pa.record_batch({"id": pa.array([1], pa.int8()), "name": pa.array(["a"]).dictionary_encode()})
    assert FORM.encoder(rows.schema).encode(rows).to_pylist() == [order(id=1, name="a")]


@pytest.mark.parametrize(
    "rows",
    [
        pa.record_batch({"id": pa.array([1, None], pa.int64())}),
        pa.record_batch({"id": pa.array([1, 2**63], pa.uint64())}),
        pa.record_batch({"tags": pa.array([["a"], None], pa.list_(pa.string()))}),
        pa.record_batch({"state": ["NEW", "LOST"]}),
        pa.record_batch({"counts": pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))}),
        pa.record_batch({"counts": pa.array([[("a", None)]], pa.map_(pa.string(), pa.int64()))}),
        pa.record_batch({"card": [None, "x"], "cash": pa.array([1, 2], pa.int64())}),
    ],
)
def test_value_that_the_message_cannot_hold_is_an_error_and_not_left_out(rows: pa.RecordBatch) -> None:
    with pytest.raises(UnencodableRow):
        FORM.encoder(rows.schema).encode(rows)


def test_error_names_the_row() -> None:
    rows = pa.record_batch({"state": ["NEW", "SENT", "LOST"]})
    with pytest.raises(UnencodableRow) as caught:
        FORM.encoder(rows.schema).encode(rows)
    assert caught.value.fields == {"row": 2, "column": "state"}


def test_not_a_number_is_encoded_and_maps_in_any_order() -> None:
    counts = pa.array([[("b", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))
    rows = pa.record_batch({"amount": [float("nan")], "counts": counts})
    assert len(FORM.encoder(rows.schema).encode(rows)) == 1


def test_messages_are_framed_with_the_id_and_the_place_of_their_message(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    rows = pa.record_batch({"id": [7]})
    form = ProtobufFormat(SET, "shop.Order", registry).for_subject("orders-value")
    encoder = form.encoder(rows.schema)
    assert stand_in.schemas == []
    # One index, the second message of its file: both zigzag.
    assert encoder.encode(rows).to_pylist() == [b"\0\0\0\0\1\x02\x02" + order(id=7)]
    assert stand_in.schemas[0]["schema"] == SHOP_TEXT
    line = ProtobufFormat(SET, "shop.Order.Line", registry, "lines-value")
    rows = pa.record_batch({"sku": ["a"]})
    assert line.encoder(rows.schema).encode(rows).to_pylist() == [b"\0\0\0\0\1\x04\x02\x02\x0a\x01a"]
    assert message_path(descriptor_of(SET, "shop.Order.Line")) == [1, 1]


def test_first_message_of_its_file_has_the_short_form(registry: SchemaRegistry) -> None:
    form = ProtobufFormat(SET, "shop.Other", registry, "other-value")
    rows = pa.record_batch({"x": [1]})
    assert form.encoder(rows.schema).encode(rows).to_pylist() == [b"\0\0\0\0\1\0\x08\x01"]
    assert form.decoder(None).decode([b"\0\0\0\0\1\0\x08\x01", b"\0\0\0\0\1\x02\0\x08\x02"]).batch.to_pydict() == {
        "x": [1, 2]
    }


def test_imported_files_are_registered_first(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    importer = FileDescriptorProto(name="app.proto", package="app", syntax="proto3", dependency=["shop.proto"])
    importer.message_type.add(name="Sale", field=[field(1, "order", ".shop.Order")])
    form = ProtobufFormat(file_set(importer, SHOP), "app.Sale", registry, "sales-value")
    rows = pa.RecordBatch.from_pylist([{"order": None}], schema=form.decoder(None).columns())
    assert form.encoder(rows.schema).encode(rows).to_pylist() == [b"\0\0\0\0\2\0"]
    assert stand_in.subjects == {"shop.proto": [1], "sales-value": [2]}
    assert stand_in.schemas[1]["references"] == [{"name": "shop.proto", "subject": "shop.proto", "version": 1}]


def test_decoder_asks_for_each_schema_once(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    stand_in.register("orders-value", SHOP_TEXT, "PROTOBUF")
    decoder = ProtobufFormat(SET, "shop.Order", registry).decoder(None)
    values = [b"\0\0\0\0\1\x02\x02" + value for value in GOOD]
    assert decoder.decode(values).batch.column("id").to_pylist() == list(range(12))
    assert decoder.decode(values).bad == ()
    assert stand_in.requests == ["GET /schemas/ids/1"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "no schema id"),
        (b"\0\0\0\0\1", "indexes are cut short"),
        (b"\0\0\0\0\1\x04\x02", "indexes are cut short"),
        (b"\0\0\0\0\1\xff\xff\xff\xff\xff\xff", "indexes are cut short"),
        (b"\0\0\0\0\1\x01", "indexes are cut short"),
        (b"\0\0\0\0\1\0" + GOOD[1], "message shop.Other, not shop.Order"),
        (b"\0\0\0\0\1\x02\x08" + GOOD[1], r"no message at \[4\]"),
        (b"\0\0\0\0\1\x02\x01" + GOOD[1], r"no message at \[-1\]"),
        (b"\0\0\0\0\1\x04\x02\x01" + GOOD[1], r"no message at \[1, -1\]"),
        (b"\0\0\0\0\2\x02\x02" + GOOD[1], "schema id 2 is AVRO, not Protobuf"),
        (b"\0\0\0\0\3\x02\x02" + GOOD[1], "schema id 3 is not in the registry"),
    ],
)
def test_value_with_a_wrong_header_is_bad(
    stand_in: StandInRegistry, registry: SchemaRegistry, value: bytes, why: str
) -> None:
    stand_in.register("orders-value", SHOP_TEXT, "PROTOBUF")
    stand_in.register("other", '{"type": "record", "name": "R", "fields": []}')
    good = b"\0\0\0\0\1\x02\x02" + GOOD[2]
    decoded = ProtobufFormat(SET, "shop.Order", registry).decoder(None).decode([good, value, good])
    assert bad_places(decoded) == [1]
    assert decoded.batch.num_rows == 2
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(decoded.bad[0].error)


def test_message_is_found_by_its_name_in_a_file_with_another_order(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    moved = FileDescriptorProto(package="shop", message_type=list(reversed(SHOP.message_type)))
    stand_in.register("orders-value", base64.b64encode(moved.SerializeToString()).decode(), "PROTOBUF")
    decoder = ProtobufFormat(SET, "shop.Order", registry).decoder(None)
    assert decoder.decode([b"\0\0\0\0\1\0" + GOOD[2]]).bad == ()
    assert bad_places(decoder.decode([b"\0\0\0\0\1\x02\x02" + GOOD[2]])) == [0]


def test_registry_that_shows_only_text_is_trusted_with_the_place(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    text = 'syntax = "proto3"; package shop; message Other {} message Order {}'
    stand_in.schemas.append({"schema": text, "schemaType": "PROTOBUF", "references": []})
    decoder = ProtobufFormat(SET, "shop.Order", registry).decoder(None)
    decoded = decoder.decode([b"\0\0\0\0\1\x02\x02" + GOOD[2], b"\0\0\0\0\1\0" + GOOD[2]])
    assert bad_places(decoded) == [1]


def test_without_auto_register_a_schema_that_is_not_there_is_an_error(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    rows = pa.record_batch({"id": [7]})
    form = ProtobufFormat(SET, "shop.Order", registry, "orders-value", auto_register=False)
    with pytest.raises(RegistryRejected, match="40401"):
        form.encoder(rows.schema).encode(rows)
    stand_in.register("orders-value", SHOP_TEXT, "PROTOBUF")
    assert form.encoder(rows.schema).encode(rows).to_pylist() == [b"\0\0\0\0\1\x02\x02\x08\x07"]


def test_registry_without_a_subject_is_refused_when_one_is_needed(registry: SchemaRegistry) -> None:
    with pytest.raises(FormatUnfit, match="subject"):
        ProtobufFormat(SET, "shop.Order", registry).encoder(pa.schema([("id", pa.int64())]))


def test_config_tells_what_bytes_mean() -> None:
    config = FORM.config()
    assert (config["format"], config["message"], config["registry"]) == ("protobuf", "shop.Order", False)
    assert len(str(config["schema_sha256"])) == 64
