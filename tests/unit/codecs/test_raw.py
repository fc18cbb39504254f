"""Values as they are: bytes and text."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FormatUnfit, UnsupportedColumn
from krishiv_connectors.codecs import RawFormat, StringFormat
from tests.unit.codecs.support import bad_places, check_isolation, records

RAW = pa.schema([("value", pa.binary())])
TEXT = pa.schema([("value", pa.string())])


def test_raw_values_are_rows_and_tombstones_are_null() -> None:
    decoded = RawFormat().decoder(None).decode([b"\xff\n", b"", None])
    assert decoded.batch.schema == RAW
    assert decoded.batch.to_pydict() == {"value": [b"\xff\n", b"", None]}
    assert decoded.bad == ()


def test_text_that_is_not_utf8_is_bad() -> None:
    decoded = StringFormat().decoder(None).decode([b"\xff", "é\n".encode(), None, b"", b"a\xc3"])
    assert decoded.batch.schema == TEXT
    assert decoded.batch.to_pydict() == {"value": ["é\n", None, ""]}
    assert bad_places(decoded) == [0, 4]
    assert "at byte 1" in decoded.bad[1].error


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=20))
def test_bytes_that_are_no_text_harm_no_other(order: list[bool]) -> None:
    check_isolation(StringFormat().decoder(None), [b"good"] * 20, [b"\xff"] * 20, order)


@settings(deadline=None)
@given(records(RAW))
def test_raw_rows_come_back_from_their_encoding(rows: pa.RecordBatch) -> None:
    values = RawFormat().encoder(rows.schema).encode(rows)
    assert RawFormat().decoder(None).decode(values.to_pylist()).batch.equals(rows)


@settings(deadline=None)
@given(records(TEXT))
def test_text_rows_come_back_from_their_encoding(rows: pa.RecordBatch) -> None:
    values = StringFormat().encoder(rows.schema).encode(rows)
    assert StringFormat().decoder(None).decode(values.to_pylist()).batch.equals(rows)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)])
def test_raw_encodes_one_binary_column_of_any_name(kind: pa.DataType) -> None:
    rows = pa.record_batch({"payload": pa.array([b"ab", None], kind)})
    assert RawFormat().encoder(rows.schema).encode(rows).to_pylist() == [b"ab", None]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_string_encodes_one_text_column_of_any_name(kind: pa.DataType) -> None:
    rows = pa.record_batch({"line": pa.array(["ab", None], kind)})
    values = StringFormat().encoder(rows.schema).encode(rows)
    assert values.type == pa.large_binary()
    assert values.to_pylist() == [b"ab", None]


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        (RawFormat(), TEXT),
        (RawFormat(), pa.schema([("a", pa.binary()), ("b", pa.binary())])),
        (RawFormat(), pa.schema([])),
        (StringFormat(), RAW),
        (StringFormat(), pa.schema([("n", pa.int64())])),
    ],
)
def test_other_columns_are_refused(form: RawFormat, schema: pa.Schema) -> None:
    with pytest.raises(UnsupportedColumn, match="exactly one"):
        form.encoder(schema)


def test_schema_other_than_the_formats_own_is_refused() -> None:
    assert RawFormat().decoder(RAW).columns() == RAW
    with pytest.raises(FormatUnfit, match="always gives one column"):
        RawFormat().decoder(TEXT)


def test_rows_of_no_columns_still_have_a_number() -> None:
    assert RawFormat().decoder(None).decode([b"a", b"b"], []).batch.num_rows == 2
