"""CSV: headers, quotes, types."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import SchemaChanged, UnsupportedField
from krishiv_connectors.files import CsvSource, _text_blocks
from tests.unit.sources.support import available, context, position_after, read_all, read_split

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_guarantees import SkippableError

PAIR = pa.schema([("a", pa.int64()), ("s", pa.string())])


def read(path: Path, text: bytes, schema: pa.Schema = PAIR, **options: Any) -> tuple[list[Any], list[SkippableError]]:
    """Return the rows of a file with this text, and the errors of its bad rows."""
    path.write_bytes(text)
    errors: list[SkippableError] = []
    table = read_all(CsvSource(path, schema, **options), context(bad_rows=errors.append))
    return table.to_pylist(), errors


def test_columns_are_found_by_name_and_others_ignored(tmp_path: Path) -> None:
    found, errors = read(tmp_path / "a.csv", b's,extra,"a"\nx,?,1\ny,?,2\n')
    assert found == [{"a": 1, "s": "x"}, {"a": 2, "s": "y"}]
    assert errors == []


def test_files_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,s\n1,x\n")
    (tmp_path / "2.csv").write_bytes(b"s,a\ny,2\n")
    assert read_all(CsvSource(tmp_path, PAIR)).column("a").to_pylist() == [1, 2]


@pytest.mark.parametrize("header", [b"a,t", b"s", b"a,a,s", b"1,x"])
def test_header_without_a_column_names_the_file_and_the_column(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(header + b"\n1,x\n")
    source = CsvSource(path, PAIR)
    with pytest.raises(SchemaChanged, match=r"a\.csv' has (no|more than one) column '[as]'") as caught:
        source.open(source.splits()[0], None, context())
    assert caught.value.fields["path"] == str(path)
    assert caught.value.fields["column"] in ("a", "s")
    assert "header=False" in caught.value.hint


def test_without_header_the_schema_names_all_columns_in_order(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"1,x\n2,y\n", header=False)[0] == [{"a": 1, "s": "x"}, {"a": 2, "s": "y"}]


def test_delimiter_and_null_values_can_be_chosen(tmp_path: Path) -> None:
    found, _ = read(tmp_path / "a.csv", b"a;s\nNA;NA\n;\n3;x,y\n", delimiter=";", null_values=("", "NA"))
    assert found == [{"a": None, "s": "NA"}, {"a": None, "s": ""}, {"a": 3, "s": "x,y"}]


@pytest.mark.parametrize(
    "line",
    [
        b"1",
        b"1,x,2",
        b"q,x",
        b"1.5,x",
        b"99999999999999999999,x",
        b"1,\xff",
        b'1,"open',
        b"1,x\r2,y",
    ],
)
def test_bad_row_does_not_spoil_its_neighbours(tmp_path: Path, line: bytes) -> None:
    found, errors = read(tmp_path / "a.csv", b"a,s\n7,before\n" + line + b"\n8,after\n")
    assert found == [{"a": 7, "s": "before"}, {"a": 8, "s": "after"}]
    assert [error.fields["raw"] for error in errors] == [line]
    last, errors = read(tmp_path / "a.csv", b"a,s\n7,before\n" + line)
    assert last == [{"a": 7, "s": "before"}]
    assert [error.fields["raw"] for error in errors] == [line]


def test_quote_opened_in_one_row_is_not_closed_in_another(tmp_path: Path) -> None:
    found, errors = read(tmp_path / "a.csv", b'a,s\n1,"open\n2,x"\n3,"y"\n')
    assert found == [{"a": 2, "s": 'x"'}, {"a": 3, "s": "y"}]
    assert [error.fields["raw"] for error in errors] == [b'1,"open']


def test_quotes_follow_rfc_4180(tmp_path: Path) -> None:
    text = b'a,s\n1,"x,y"\n2,"say ""hi"""\n"3",""\n4,5" nail\n'
    assert [row["s"] for row in read(tmp_path / "a.csv", text)[0]] == ["x,y", 'say "hi"', "", '5" nail']


def test_values_may_hold_line_ends_if_told_so(tmp_path: Path) -> None:
    text = b'a,s\n1,"two\nlines"\n2,one\n\n3,"x\n\ny"'
    found, errors = read(tmp_path / "a.csv", text, newlines_in_values=True)
    assert found == [{"a": 1, "s": "two\nlines"}, {"a": 2, "s": "one"}, {"a": 3, "s": "x\n\ny"}]
    assert errors == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.text(st.sampled_from('ab,"\n \t'), max_size=8), max_size=12),
    size=st.integers(3, 40),
    resume=st.integers(1, 12),
)
def test_any_text_with_line_ends_comes_back_whatever_the_blocks(
    tmp_path: Path, values: list[str], size: int, resume: int
) -> None:
    quoted = [value.replace('"', '""') for value in values]
    text = "".join(f'{number},"{value}"\n' for number, value in enumerate(quoted)).encode()
    path = tmp_path / "a.csv"
    path.write_bytes(text)
    source = CsvSource(path, PAIR, header=False, newlines_in_values=True)
    (split,) = source.splits()
    expected = [{"a": number, "s": value} for number, value in enumerate(values)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_text_blocks, "_READ_BYTES", size)
        assert read_all(source).to_pylist() == expected
        if resume <= len(values):
            position = position_after(source, split, resume)
            assert read_split(source, split, position).to_pylist() == expected[resume:]


def test_quote_that_is_never_closed_is_a_bad_row_with_line_ends_too(tmp_path: Path) -> None:
    found, errors = read(tmp_path / "a.csv", b'a,s\n1,x\n2,"open\n3,y\n', newlines_in_values=True)
    assert found == [{"a": 1, "s": "x"}]
    assert [error.fields["raw"] for error in errors] == [b'2,"open\n3,y']


@pytest.mark.parametrize("newlines", [False, True])
def test_quotes_that_are_even_but_not_closed_are_a_bad_row(tmp_path: Path, newlines: bool) -> None:
    found, errors = read(tmp_path / "a.csv", b'a,b,s\n1,"2","3"\n4,x"y,"z\n', newlines_in_values=newlines)
    assert found == [{"a": 1, "s": "3"}]
    assert [error.fields["raw"] for error in errors] == [b'4,x"y,"z']


def test_timestamps_are_iso_8601_with_an_offset_exactly_if_the_schema_has_a_zone(tmp_path: Path) -> None:
    zoned = pa.schema([("t", pa.timestamp("us", tz="UTC"))])
    found, errors = read(
        tmp_path / "a.csv", b"t\n2024-01-02T03:04:05.5Z\n2024-01-02 05:04:05+02:00\n2024-01-02\n", zoned
    )
    assert [row["t"] for row in found] == [
        datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC),
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    ]
    assert len(errors) == 1
    plain = pa.schema([("t", pa.timestamp("us"))])
    found, errors = read(tmp_path / "a.csv", b"t\n2024-01-02T03:04:05Z\n2024-01-02 03:04:05\n", plain)
    assert [row["t"] for row in found] == [datetime(2024, 1, 2, 3, 4, 5)]
    assert len(errors) == 1


def test_column_type_that_text_cannot_become_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedField, match="column 'l'") as caught:
        CsvSource(tmp_path, pa.schema([("a", pa.int64()), ("l", pa.list_(pa.int64()))]))
    assert caught.value.code == "KS-INPUT-TYPE"
    assert caught.value.fields["column"] == "l"


def test_follow_awaits_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a")
    source = CsvSource(tmp_path, PAIR, follow=True)
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert reader.read() is None
        assert reader.position() is None
        path.write_bytes(b"a,s\n1,x\n")
        assert available(reader, 1) == [{"a": 1, "s": "x"}]


def test_guarantee_config_holds_what_decides_where_rows_end(tmp_path: Path) -> None:
    one, two = CsvSource(tmp_path, PAIR), CsvSource(tmp_path, PAIR, newlines_in_values=True)
    assert one.guarantee_config() != two.guarantee_config()
