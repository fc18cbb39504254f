"""Avro messages, bare and with the id of their schema."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FormatUnfit, RegistryRejected, UnencodableRow, UnsupportedColumn
from krishiv_connectors.codecs import AvroFormat, SchemaRegistry
from krishiv_connectors.codecs._avro_from_arrow import avro_schema_of
from tests.unit.codecs.support import bad_places, check_isolation, records

if TYPE_CHECKING:
    from tests.support.schema_registry import StandInRegistry


def record(*fields: tuple[str, Any], **defaults: Any) -> str:
    """Return the text of a record schema."""
    described = [
        {"name": name, "type": kind} | ({"default": defaults[name]} if name in defaults else {})
        for name, kind in fields
    ]
    return json.dumps({"type": "record", "name": "Order", "fields": described})


def written(schema: str, row: dict[str, Any], number: int | None = None) -> bytes:
    """Return a message as another producer would write it."""
    stream = io.BytesIO()
    if number is not None:
        stream.write(b"\0" + number.to_bytes(4, "big"))
    fastavro.schemaless_writer(stream, json.loads(schema), row)
    return stream.getvalue()


V1 = record(("id", "long"), ("name", "string"))
V2 = record(("id", "long"), ("name", "string"), ("note", ["null", "string"]), note=None)
DECODER = AvroFormat(V1).decoder(None)
GOOD = [written(V1, {"id": number, "name": "n" * number}) for number in range(12)]
BAD: list[bytes | None] = [
    None,
    b"",
    b"\x02",
    GOOD[3] + b"x",
    GOOD[3] + GOOD[4],
    GOOD[3][:-1],
    b"\x02\x04\xff\xfe",
    b"\x02\x01",
]

ROUND_TRIP = pa.schema(
    [
        pa.field("b", pa.bool_(), nullable=False),
        ("i", pa.int32()),
        ("l", pa.int64()),
        ("f", pa.float32()),
        ("d", pa.float64()),
        pa.field("s", pa.string(), nullable=False),
        ("raw", pa.binary()),
        ("fixed", pa.binary(4)),
        ("date", pa.date32()),
        ("millis", pa.timestamp("ms", "UTC")),
        ("micros", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("us")),
        ("time", pa.time32("ms")),
        ("finer", pa.time64("us")),
        ("dec", pa.decimal128(10, 2)),
        ("list", pa.list_(pa.int64())),
        ("map", pa.map_(pa.string(), pa.float64())),
        ("struct", pa.struct([("x", pa.int64()), pa.field("y", pa.string(), nullable=False)])),
        ("deep", pa.list_(pa.struct([("z", pa.list_(pa.string()))]))),
    ]
)


@settings(deadline=None, max_examples=60)
@given(records(ROUND_TRIP))
def test_rows_come_back_from_their_encoding(rows: pa.RecordBatch) -> None:
    form = AvroFormat(avro_schema_of(ROUND_TRIP))
    values = form.encoder(rows.schema).encode(rows)
    assert values.type == pa.large_binary()
    decoder = form.decoder(None)
    assert [(field.name, field.nullable) for field in decoder.columns()] == [(f.name, f.nullable) for f in ROUND_TRIP]
    decoded = decoder.decode(values.to_pylist())
    assert decoded.bad == ()
    assert decoded.batch.to_pylist() == rows.to_pylist()


@pytest.mark.parametrize("value", BAD)
def test_bad_value_is_named_and_its_neighbours_are_rows(value: bytes | None) -> None:
    decoded = DECODER.decode([GOOD[1], value, GOOD[2]])
    assert bad_places(decoded) == [1]
    assert decoded.batch.to_pylist() == [{"id": 1, "name": "n"}, {"id": 2, "name": "nn"}]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_bad_values_anywhere_harm_no_other(data: st.DataObject) -> None:
    bad = data.draw(st.lists(st.sampled_from(BAD), max_size=6))
    good = data.draw(st.lists(st.sampled_from(GOOD), max_size=12))
    order = data.draw(st.permutations([True] * len(good) + [False] * len(bad)))
    check_isolation(DECODER, good, bad, list(order))


def test_value_that_no_column_can_hold_is_bad() -> None:
    schema = record(("d", {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1}))
    values = [b"\x02\x0f", b"\x08\x7f\xff\xff\xff", b"\x02\x10"]
    decoded = AvroFormat(schema).decoder(None).decode(values)
    assert bad_places(decoded) == [1]
    assert [str(row["d"]) for row in decoded.batch.to_pylist()] == ["1.5", "1.6"]


def test_time_out_of_range_is_bad() -> None:
    schema = record(("t", {"type": "long", "logicalType": "timestamp-micros"}))
    far = written(record(("t", "long")), {"t": 2**62})
    decoded = AvroFormat(schema).decoder(None).decode([far, written(schema, {"t": datetime(2024, 1, 1, tzinfo=UTC)})])
    assert bad_places(decoded) == [0]
    assert decoded.batch.num_rows == 1


def test_columns_asked_for_come_in_that_order() -> None:
    assert DECODER.decode(GOOD[1:2], ["name", "id"]).batch.to_pydict() == {"name": ["n"], "id": [1]}
    assert DECODER.decode([*GOOD[:2], None], []).batch.num_rows == 2


def test_columns_of_a_named_type_can_be_asked_for_without_the_one_that_defines_it() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}
    schema = record(("first", inner), ("second", ["null", "Inner"]))
    value = written(schema, {"first": {"x": 1}, "second": {"x": 2}})
    decoded = AvroFormat(schema).decoder(None).decode([value], ["second"])
    assert decoded.batch.to_pylist() == [{"second": {"x": 2}}]


def test_messages_are_framed_with_the_id_of_their_schema(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    rows = pa.RecordBatch.from_pylist([{"id": 7, "name": "a"}], schema=DECODER.columns())
    form = AvroFormat(V1, registry).for_subject("orders-value")
    stand_in.register("other", V2)
    encoder = form.encoder(rows.schema)
    assert stand_in.subjects == {"other": [1]}  # nothing is registered before there are rows
    assert encoder.encode(rows).to_pylist() == [written(V1, {"id": 7, "name": "a"}, number=2)]
    assert stand_in.subjects["orders-value"] == [2]


def test_decoder_asks_for_each_schema_once(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    number = stand_in.register("orders-value", V1)
    decoder = AvroFormat(V1, registry).decoder(None)
    values = [written(V1, {"id": i, "name": ""}, number) for i in range(5)]
    assert decoder.decode(values).batch.column("id").to_pylist() == [0, 1, 2, 3, 4]
    assert decoder.decode(values).bad == ()
    assert stand_in.requests == ["GET /schemas/ids/1"]


def test_unknown_id_is_a_bad_value_until_the_registry_knows_it(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    decoder = AvroFormat(V1, registry).decoder(None)
    value = written(V1, {"id": 1, "name": "a"}, number=1)
    assert decoder.decode([value]).bad[0].error == "schema id 1 is not in the registry"
    stand_in.register("orders-value", V1)
    assert decoder.decode([value]).bad == ()


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0", b"\1\0\0\0\1\2\2a", b"plain text"])
def test_value_without_a_header_is_bad(stand_in: StandInRegistry, registry: SchemaRegistry, value: bytes) -> None:
    stand_in.register("orders-value", V1)
    decoded = AvroFormat(V1, registry).decoder(None).decode([value])
    assert "no schema id" in decoded.bad[0].error


def test_older_and_newer_writers_are_resolved_to_the_readers_schema(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    first, second = stand_in.register("orders-value", V1), stand_in.register("orders-value", V2)
    values = [
        written(V1, {"id": 1, "name": "a"}, first),
        written(V2, {"id": 2, "name": "b", "note": "c"}, second),
    ]
    old = AvroFormat(V1, registry).decoder(None).decode(values)
    assert old.batch.to_pylist() == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    new = AvroFormat(registry=registry, evolution="evolve", subject="orders-value").decoder(None).decode(values)
    assert new.batch.to_pylist() == [{"id": 1, "name": "a", "note": None}, {"id": 2, "name": "b", "note": "c"}]


def test_writer_that_cannot_be_resolved_is_bad_and_its_schema_named(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    stand_in.levels[""] = "NONE"
    good = stand_in.register("orders-value", V1)
    lacking = record(("id", "long"))
    other = record(("id", "string"), ("name", "string"))
    values = [
        written(V1, {"id": 1, "name": "a"}, good),
        written(lacking, {"id": 2}, stand_in.register("orders-value", lacking)),
        written(other, {"id": "x", "name": "c"}, stand_in.register("orders-value", other)),
        written(V1, {"id": 4, "name": "d"}, good),
    ]
    decoded = AvroFormat(V1, registry).decoder(None).decode(values)
    assert decoded.batch.column("id").to_pylist() == [1, 4]
    assert [value.error[:14] for value in decoded.bad] == ["schema id 2: d", "schema id 3: d"]


def test_readers_schema_stays_what_was_the_latest_at_the_start(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    stand_in.register("orders-value", V1)
    form = AvroFormat(registry=registry, evolution="evolve", subject="orders-value")
    assert form.decoder(None).columns().names == ["id", "name"]
    stand_in.register("orders-value", V2)
    assert form.decoder(None).columns().names == ["id", "name"]


def test_schema_of_another_kind_is_a_bad_value(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    number = stand_in.register("other", "", "PROTOBUF")
    decoded = AvroFormat(V1, registry).decoder(None).decode([written(V1, {"id": 1, "name": "a"}, number)])
    assert "PROTOBUF, not Avro" in decoded.bad[0].error


def test_schema_may_refer_to_others(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    customer = json.dumps({"type": "record", "name": "shop.Customer", "fields": [{"name": "name", "type": "string"}]})
    stand_in.register("customer", customer)
    order = record(("by", "shop.Customer"))
    references = [{"name": "shop.Customer", "subject": "customer", "version": 1}]
    number = stand_in.register("orders-value", order, references=references)
    decoder = AvroFormat(registry=registry, subject="orders-value").decoder(None)
    value = b"\0" + number.to_bytes(4, "big") + b"\x02a"
    assert decoder.decode([value]).batch.to_pylist() == [{"by": {"name": "a"}}]


def test_without_auto_register_the_latest_schema_is_written(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    stand_in.register("orders-value", V2)
    rows = pa.record_batch({"id": [1], "name": ["a"]})
    form = AvroFormat(registry=registry, subject="orders-value", auto_register=False)
    assert form.encoder(rows.schema).encode(rows).to_pylist() == [b"\0\0\0\0\1\x02\x02a\0"]
    assert not any(request.startswith("POST") for request in stand_in.requests)


def test_without_auto_register_a_schema_that_is_not_there_is_an_error(
    stand_in: StandInRegistry, registry: SchemaRegistry
) -> None:
    stand_in.register("orders-value", V1)
    form = AvroFormat(V2, registry, subject="orders-value", auto_register=False)
    rows = pa.record_batch({"id": [1], "name": ["a"]})
    with pytest.raises(RegistryRejected, match="40403"):
        form.encoder(rows.schema).encode(rows)
    assert stand_in.subjects == {"orders-value": [1]}


def test_schema_that_is_not_compatible_is_not_registered(stand_in: StandInRegistry, registry: SchemaRegistry) -> None:
    stand_in.register("orders-value", record(("id", "long")))
    rows = pa.record_batch({"id": [1], "name": ["a"]})
    with pytest.raises(RegistryRejected, match="409"):
        AvroFormat(V1, registry, subject="orders-value").encoder(rows.schema).encode(rows)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"id": pa.int64(), "name": pa.string(), "more": pa.string()}, "'more' is not in the Avro schema"),
        ({"id": pa.int64(), "name": pa.int64()}, "'name' holds int64, where the Avro schema has string"),
        ({"id": pa.list_(pa.int64()), "name": pa.string()}, "'id' holds"),
        ({"id": pa.int64()}, "'name' is in the Avro schema without a default"),
    ],
)
def test_columns_that_do_not_fit_the_schema_are_refused(columns: dict[str, pa.DataType], why: str) -> None:
    with pytest.raises(UnsupportedColumn, match=why):
        AvroFormat(V1).encoder(pa.schema(list(columns.items())))


def test_columns_are_converted_where_no_value_changes() -> None:
    rows = pa.record_batch({"id": pa.array([1], pa.uint64()), "name": pa.array(["a"]).dictionary_encode()})
    assert AvroFormat(V1).encoder(rows.schema).encode(rows).to_pylist() == [b"\x02\x02a"]


@pytest.mark.parametrize(
    "rows",
    [
        pa.record_batch({"id": pa.array([1, None], pa.int64()), "name": ["a", "b"]}),
        pa.record_batch({"id": pa.array([1, 2**63], pa.uint64()), "name": ["a", "b"]}),
        pa.record_batch({"id": pa.array([1, 1.5], pa.float64()), "name": ["a", "b"]}),
    ],
)
def test_row_that_does_not_fit_is_an_error(rows: pa.RecordBatch) -> None:
    with pytest.raises(UnencodableRow):
        AvroFormat(V1).encoder(rows.schema).encode(rows)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schema": V1, "evolution": "other"},
        {"schema": V1, "evolution": "evolve"},
        {"schema": "{"},
        {"schema": '"string"'},
        {"schema": '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "Unknown"}]}'},
    ],
)
def test_options_that_make_no_format_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(FormatUnfit):
        AvroFormat(**options)


def test_registry_without_a_subject_is_refused_when_one_is_needed(registry: SchemaRegistry) -> None:
    with pytest.raises(FormatUnfit, match="subject"):
        AvroFormat(registry=registry).decoder(None)
    with pytest.raises(FormatUnfit, match="subject"):
        AvroFormat(V1, registry).encoder(DECODER.columns())


def test_schema_other_than_avros_own_is_refused() -> None:
    assert AvroFormat(V1).decoder(DECODER.columns()).columns() == DECODER.columns()
    with pytest.raises(FormatUnfit, match="other columns"):
        AvroFormat(V1).decoder(pa.schema([("id", pa.int64())]))


def test_config_tells_what_bytes_mean() -> None:
    config = AvroFormat(V1).config()
    assert config["format"] == "avro"
    assert config["schema_sha256"] != AvroFormat(V2).config()["schema_sha256"]
