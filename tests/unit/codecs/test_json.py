"""JSON messages."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FormatUnfit, UnsupportedColumn, UnsupportedField
from krishiv_connectors.codecs import JsonFormat, _apart, _json_codec
from krishiv_connectors.files._json_format import JsonFormat as JsonLines
from tests.unit.codecs.support import bad_places, check_isolation, records

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
DECODER = JsonFormat().decoder(SCHEMA)

ROUND_TRIP = pa.schema(
    [
        ("i", pa.int64()),
        ("u", pa.uint64()),
        ("small", pa.int8()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("s", pa.string()),
        ("t", pa.timestamp("us", "UTC")),
        ("local", pa.timestamp("ms")),
        ("d", pa.date32()),
        ("dec", pa.decimal128(10, 2)),
        ("list", pa.list_(pa.int64())),
        ("struct", pa.struct([("x", pa.int64()), ("y", pa.string())])),
        ("nested", pa.list_(pa.struct([("z", pa.string())]))),
    ]
)

GOOD = [b'{"id": %d, "name": "n"}' % number for number in range(20)]
BAD: list[bytes | None] = [
    None,
    b"",
    b" \t",
    b"{",
    b"}",
    b'{"id": 1} {"id": 2}',
    b'{"id": 1}{"id": 2}',
    b'{"id": 1}\n{"id": 2}',
    b"[]",
    b'[{"id": 1}, {"id": 2}]',
    b"null",
    b"5",
    b'{"id": "x"}',
    b'{"id": 1.5}',
    b'{"name": "\xff"}',
    b'{"name": "a\nb"}',
    b'{"name": "',
    b'"}',
    b'{"id": 1,',
    b"\xef\xbb\xbf{}",
    b'{"id": 99999999999999999999}',
]


def decode(*values: bytes | None, **fields: pa.DataType) -> tuple[list[Any], list[int]]:
    """Return the rows of these values and the places of the bad ones."""
    schema = pa.schema(list(fields.items())) if fields else SCHEMA
    decoded = JsonFormat().decoder(schema).decode(values)
    assert decoded.batch.schema == schema
    return decoded.batch.to_pylist(), bad_places(decoded)


def test_object_becomes_a_row_where_missing_keys_are_null_and_others_are_ignored() -> None:
    assert decode(b'{"id": 1, "name": "a"}', b'{"other": [1]}') == (
        [{"id": 1, "name": "a"}, {"id": None, "name": None}],
        [],
    )


def test_no_values_are_no_rows() -> None:
    assert decode() == ([], [])


def test_pretty_printed_object_is_one_row() -> None:
    pretty = json.dumps({"id": 1, "name": "a"}, indent=2).encode()
    assert decode(pretty, GOOD[5], pretty + b"\r\n")[0] == [
        {"id": 1, "name": "a"},
        {"id": 5, "name": "n"},
        {"id": 1, "name": "a"},
    ]


@pytest.mark.parametrize("value", BAD)
def test_bad_value_is_named_and_its_neighbours_are_rows(value: bytes | None) -> None:
    rows, bad = decode(GOOD[0], value, GOOD[1])
    assert bad == [1]
    assert [row["id"] for row in rows] == [0, 1]


def test_values_that_make_up_for_each_other_are_both_bad() -> None:
    # As many objects as values: one has none, the other two.
    assert decode(b" ", b'{"id": 1}\n{"id": 2}') == ([], [0, 1])
    assert decode(b'{"id": 1', b'} {"id": 2}') == ([], [0, 1])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_bad_values_anywhere_harm_no_other(data: st.DataObject) -> None:
    bad = data.draw(st.lists(st.sampled_from(BAD), max_size=6))
    good = data.draw(st.lists(st.sampled_from(GOOD), max_size=12))
    order = data.draw(st.permutations([True] * len(good) + [False] * len(bad)))
    check_isolation(DECODER, good, bad, list(order))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=12) | st.sampled_from(BAD) | st.sampled_from(GOOD), max_size=10))
def test_every_value_is_one_row_or_one_bad_value(values: list[bytes | None]) -> None:
    together = DECODER.decode(values)
    alone = [DECODER.decode([value]) for value in values]
    assert bad_places(together) == [place for place, decoded in enumerate(alone) if decoded.bad]
    assert together.batch.to_pylist() == [row for decoded in alone for row in decoded.batch.to_pylist()]


@settings(deadline=None, max_examples=60)
@given(records(ROUND_TRIP))
def test_rows_come_back_from_their_encoding(rows: pa.RecordBatch) -> None:
    values = JsonFormat().encoder(rows.schema).encode(rows)
    assert values.type == pa.large_binary()
    assert len(values) == rows.num_rows
    decoded = JsonFormat().decoder(ROUND_TRIP).decode(values.to_pylist())
    assert decoded.bad == ()
    assert decoded.batch.equals(rows)


def test_slice_of_rows_is_encoded_alone() -> None:
    rows = pa.record_batch({"id": [1, 2, 3]})
    assert JsonFormat().encoder(rows.schema).encode(rows.slice(1, 1)).to_pylist() == [b'{"id":2}']


def test_columns_asked_for_come_in_that_order_and_others_are_not_looked_at() -> None:
    decoded = DECODER.decode([b'{"id": "not a number", "name": "a"}', b'{"id": 1, "name": "b"}'], ["name"])
    assert decoded.batch.to_pydict() == {"name": ["a", "b"]}
    assert decoded.bad == ()
    assert DECODER.decode(GOOD[:1], ["name", "id"]).batch.schema.names == ["name", "id"]


def test_rows_of_no_columns_still_have_a_number() -> None:
    decoded = DECODER.decode([*GOOD[:3], None], [])
    assert (decoded.batch.num_rows, decoded.batch.num_columns) == (3, 0)
    assert bad_places(decoded) == [3]


def counted_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which the size of each whole-batch decode will be added, in bytes."""
    sizes: list[int] = []
    parse_lines = JsonLines.parse

    def counted(self: JsonLines, data: bytes) -> pa.RecordBatch:
        sizes.append(len(data))
        return parse_lines(self, data)

    monkeypatch.setattr(JsonLines, "parse", counted)
    return sizes


def test_good_values_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counted_decodes(monkeypatch)
    assert DECODER.decode(GOOD * 100).batch.num_rows == 2000
    assert len(sizes) == 1


def test_one_bad_value_of_ten_thousand_costs_few_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counted_decodes(monkeypatch)
    values = GOOD * 500
    values[7777] = b"{"
    assert bad_places(DECODER.decode(values)) == [7777]
    # All, what is before it, itself, what is after it.
    assert len(sizes) <= 4


def test_bad_value_that_looks_good_is_bisected(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counted_decodes(monkeypatch)
    schema = pa.schema([("at", pa.timestamp("us", "UTC"))])
    values = [b'{"at": "2024-01-01T00:00:00Z"}'] * 10_000
    values[1234] = b'{"at": "2024-01-01T99:00:00Z"}'
    assert bad_places(JsonFormat().decoder(schema).decode(values)) == [1234]
    assert len(sizes) <= 2 * 14 + 1
    assert sum(sizes) < 3.1 * sizes[0]


def test_all_bad_values_cost_one_decode_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = counted_decodes(monkeypatch)
    assert len(DECODER.decode([b"{"] * 500).bad) == 500
    assert len(sizes) == 501


def test_suspect_that_is_good_after_all_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json_codec, "_suspects", lambda schema, texts: [0, 1, 4])
    rows, bad = decode(*GOOD[:3], b"{", GOOD[4])
    assert [row["id"] for row in rows] == [0, 1, 2, 4]
    assert bad == [3]


def test_error_is_one_sentence_of_bounded_length() -> None:
    assert _apart.one_sentence(ValueError("a\n b" + "x" * 1000)).startswith("a bx")
    assert len(_apart.one_sentence("x" * 1000)) == 300


def test_decoder_needs_a_schema() -> None:
    with pytest.raises(FormatUnfit, match="schema is missing") as caught:
        JsonFormat().decoder(None)
    assert "infer_json_schema" in caught.value.hint


def test_decoder_refuses_types_that_json_cannot_become() -> None:
    with pytest.raises(UnsupportedField, match="'raw'"):
        JsonFormat().decoder(pa.schema([("raw", pa.binary())]))


def test_encoder_refuses_types_that_json_cannot_hold() -> None:
    with pytest.raises(UnsupportedColumn, match="'v'"):
        JsonFormat().encoder(pa.schema([("v", pa.list_(pa.binary()))]))
