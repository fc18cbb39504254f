"""NDJSON: which values fit which column."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from krishiv_connectors._errors import UnsupportedField
from krishiv_connectors.files import JsonSource
from tests.unit.sources.support import available, context, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_guarantees import SkippableError


def read(path: Path, text: bytes, **fields: pa.DataType) -> tuple[list[Any], list[SkippableError]]:
    """Return the rows of a file with this text, and the errors of its bad lines."""
    path.write_bytes(text)
    errors: list[SkippableError] = []
    source = JsonSource(path, pa.schema(list(fields.items())))
    table = read_all(source, context(bad_rows=errors.append))
    assert table.schema == source.schema()
    return table.to_pylist(), errors


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (pa.int8(), "-128", -128),
        (pa.uint64(), "18446744073709551615", 2**64 - 1),
        (pa.float64(), "1", 1.0),
        (pa.float32(), "0.5", 0.5),
        (pa.bool_(), "true", True),
        (pa.string(), '"n\\u00e9\\n"', "né\n"),
        (pa.large_string(), '"x"', "x"),
        (pa.string(), '{"q": 1}', '{"q": 1}'),
        (pa.timestamp("us", tz="UTC"), '"2024-01-02T03:04:05.5Z"', datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        (pa.timestamp("ms"), '"2024-01-02 03:04:05"', datetime(2024, 1, 2, 3, 4, 5)),
        (pa.date32(), '"2024-01-02"', date(2024, 1, 2)),
        (pa.decimal128(10, 2), '"1.25"', Decimal("1.25")),
        (pa.list_(pa.int32()), "[1, null]", [1, None]),
        (pa.struct([("x", pa.int16()), ("y", pa.string())]), '{"x": 1, "z": 2}', {"x": 1, "y": None}),
        (pa.list_(pa.struct([("t", pa.date32())])), '[{"t": "2024-01-02"}]', [{"t": date(2024, 1, 2)}]),
        (pa.dictionary(pa.int32(), pa.string()), '"x"', "x"),
        (pa.int64(), "null", None),
    ],
)
def test_value_becomes_its_type(tmp_path: Path, kind: pa.DataType, text: str, value: Any) -> None:
    found, errors = read(tmp_path / "a", f'{{"v": {text}}}\n{{}}\n'.encode(), v=kind)
    assert found == [{"v": value}, {"v": None}]
    assert errors == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.int8(), "300"),
        (pa.uint32(), "-1"),
        (pa.int64(), "1.5"),
        (pa.int64(), '"1"'),
        (pa.int64(), "true"),
        (pa.int64(), "99999999999999999999"),
        (pa.float64(), "1e999"),
        (pa.bool_(), "1"),
        (pa.timestamp("us", tz="UTC"), '"2024-01-02T03:04:05"'),
        (pa.timestamp("us", tz="UTC"), "1700000000"),
        (pa.date32(), '"yesterday"'),
        (pa.decimal128(4, 2), '"1.255"'),
        (pa.list_(pa.int64()), "5"),
        (pa.list_(pa.int64()), '["x"]'),
        (pa.struct([("x", pa.int64())]), '{"x": "y"}'),
    ],
)
def test_value_that_does_not_fit_makes_a_bad_line(tmp_path: Path, kind: pa.DataType, text: str) -> None:
    found, errors = read(tmp_path / "a", f'{{"v": null}}\n{{"v": {text}}}\n{{"v": null}}\n'.encode(), v=kind)
    assert found == [{"v": None}, {"v": None}]
    assert [error.fields["row"] for error in errors] == [2]


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"5",
        b"[1, 2]",
        b'{"v": 1',
        b'{"v": 1}}',
        b'{"v": 1}{"v": 2}',
        b'{"v": 1} x',
        b'{"v": 01}',
        b'{"v": 1,}',
        b"\x00",
        b'{"v\xff": 1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_line_that_is_no_object_is_a_bad_line(tmp_path: Path, line: bytes) -> None:
    found, errors = read(tmp_path / "a", b'{"v": 7}\n' + line + b'\n{"v": 8}\n', v=pa.int64())
    assert found == [{"v": 7}, {"v": 8}]
    assert [error.fields["raw"] for error in errors] == [line]


@pytest.mark.parametrize("kind", [pa.binary(), pa.map_(pa.string(), pa.int64()), pa.time64("us"), pa.duration("us")])
def test_column_type_that_json_cannot_become_is_refused_at_once(tmp_path: Path, kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedField, match="column 'x'"):
        JsonSource(tmp_path, pa.schema([("s", pa.struct([("x", kind)]))]))


def test_odd_names_are_keys_like_others(tmp_path: Path) -> None:
    text = b'{"a b": 1, "say \\"hi\\"": 2, "class": 3}\n'
    found, errors = read(tmp_path / "a", text + b'{"a b": "x"}\n' + text, **{n: pa.int64() for n in ODD_NAMES})
    assert found == [dict(zip(ODD_NAMES, (1, 2, 3), strict=True))] * 2
    assert [error.fields["row"] for error in errors] == [2]


ODD_NAMES = ("a b", 'say "hi"', "class")


def test_follow_takes_a_last_line_that_is_a_whole_object(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"v": 1}\n{"v": 2}')
    source = JsonSource(tmp_path, pa.schema([("v", pa.int64())]), follow=True, settle=3_600.0)
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert available(reader, 2) == [{"v": 1}, {"v": 2}]
        path.write_bytes(b'{"v": 1}\n{"v": 2}\n{"v": 3}\n')
        assert available(reader, 1) == [{"v": 3}]
