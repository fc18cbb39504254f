"""CSV messages."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FormatUnfit, UnsupportedColumn, UnsupportedField
from krishiv_connectors.codecs import CsvFormat
from tests.unit.codecs.support import bad_places, check_isolation, records

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
DECODER = CsvFormat().decoder(SCHEMA)
ROUND_TRIP = pa.schema(
    [
        ("s", pa.string()),
        ("i", pa.int64()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("t", pa.timestamp("us", "UTC")),
        ("d", pa.date32()),
        ("dec", pa.decimal128(10, 2)),
        ("last", pa.string()),
    ]
)
GOOD = [b'%d,"a, ""b"""' % number for number in range(10)] + [b'7,"two\nlines"', b"8,plain\r\n", b"9,", b',""']
BAD: list[bytes | None] = [
    None,
    b"",
    b"1",
    b"1,a,b",
    b"x,a",
    b'1,"open',
    b'1,"',
    b'close"',
    b'1,"a\nb',
    b"1,a\n2,b",
    b"1,a\r2,b",
    b"\n1,a",
    b"1,\xff",
]


@pytest.mark.parametrize("value", GOOD)
def test_good_value_is_one_row(value: bytes) -> None:
    decoded = DECODER.decode([value])
    assert decoded.bad == ()
    assert decoded.batch.num_rows == 1


def test_empty_cell_is_null_and_a_quoted_one_is_empty_text() -> None:
    assert DECODER.decode([b"1,", b'2,""', b",x"]).batch.to_pydict() == {"id": [1, 2, None], "name": [None, "", "x"]}


def test_quoted_newline_is_part_of_the_cell() -> None:
    assert DECODER.decode([b'1,"a\r\nb"', b"2,c"]).batch.column("name").to_pylist() == ["a\r\nb", "c"]


@pytest.mark.parametrize("value", BAD)
def test_bad_value_is_named_and_its_neighbours_are_rows(value: bytes | None) -> None:
    decoded = DECODER.decode([GOOD[0], value, GOOD[1]])
    assert bad_places(decoded) == [1]
    assert decoded.batch.column("id").to_pylist() == [0, 1]


def test_values_that_make_up_for_each_other_are_all_bad() -> None:
    # Read as one text these are three good rows: the first value's quote is closed in the second.
    assert bad_places(DECODER.decode([b'1,"a', b'b"', b"2,x\n3,y"])) == [0, 1, 2]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_bad_values_anywhere_harm_no_other(data: st.DataObject) -> None:
    bad = data.draw(st.lists(st.sampled_from(BAD), max_size=6))
    good = data.draw(st.lists(st.sampled_from(GOOD), max_size=12))
    order = data.draw(st.permutations([True] * len(good) + [False] * len(bad)))
    check_isolation(DECODER, good, bad, list(order))


@settings(deadline=None, max_examples=300)
@example([b'\r,"', b'"'])
@example([b"1,\r", b"1,\n"])
@example([b"\xef\xbb\xbf,", b"\xef\xbb\xbf,"])
@given(st.lists(st.text(alphabet='1a",\n\r\ufeff', max_size=8).map(str.encode), max_size=8))
def test_every_value_is_one_row_or_one_bad_value(values: list[bytes]) -> None:
    together = DECODER.decode(values)
    alone = [DECODER.decode([value]) for value in values]
    assert bad_places(together) == [place for place, decoded in enumerate(alone) if decoded.bad]
    assert together.batch.to_pylist() == [row for decoded in alone for row in decoded.batch.to_pylist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@settings(deadline=None, max_examples=60)
@given(rows=records(ROUND_TRIP))
def test_rows_come_back_from_their_encoding(delimiter: str, rows: pa.RecordBatch) -> None:
    form = CsvFormat(delimiter)
    values = form.encoder(rows.schema).encode(rows)
    assert len(values) == rows.num_rows
    decoded = form.decoder(ROUND_TRIP).decode(values.to_pylist())
    assert decoded.bad == ()
    assert decoded.batch.equals(rows)


@settings(deadline=None, max_examples=60)
@given(rows=records(pa.schema([("only", pa.string())])))
def test_rows_of_one_cell_come_back(rows: pa.RecordBatch) -> None:
    values = CsvFormat().encoder(rows.schema).encode(rows).to_pylist()
    assert CsvFormat().decoder(rows.schema).decode(values).batch.equals(rows)


def test_columns_asked_for_come_in_that_order_and_others_are_not_looked_at() -> None:
    decoded = DECODER.decode([b"x,a", b"2,b"], ["name"])
    assert decoded.batch.to_pydict() == {"name": ["a", "b"]}
    assert DECODER.decode([b"2,b"], ["name", "id"]).batch.to_pydict() == {"name": ["b"], "id": [2]}


def test_rows_of_no_columns_still_have_a_number() -> None:
    decoded = DECODER.decode([b"1,a", b"2,b", b"1"], [])
    assert (decoded.batch.num_rows, decoded.batch.num_columns) == (2, 0)
    assert bad_places(decoded) == [2]


def test_error_does_not_show_the_mark() -> None:
    assert DECODER.decode([b"1"]).bad[0].error.endswith("1,(end)")


def test_decoder_needs_a_schema_of_types_that_text_can_become() -> None:
    with pytest.raises(FormatUnfit, match="schema is missing"):
        CsvFormat().decoder(None)
    with pytest.raises(UnsupportedField, match="'v'"):
        CsvFormat().decoder(pa.schema([("v", pa.list_(pa.int64()))]))


@pytest.mark.parametrize("kind", [pa.binary(), pa.list_(pa.int64()), pa.struct([("x", pa.int64())])])
def test_encoder_refuses_types_that_a_cell_cannot_hold(kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn, match="'v'"):
        CsvFormat().encoder(pa.schema([("v", kind)]))


def test_encoder_refuses_rows_without_cells() -> None:
    with pytest.raises(UnsupportedColumn):
        CsvFormat().encoder(pa.schema([]))


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "é"])
def test_delimiter_that_cannot_be_one_is_refused(delimiter: str) -> None:
    with pytest.raises(FormatUnfit):
        CsvFormat(delimiter)
