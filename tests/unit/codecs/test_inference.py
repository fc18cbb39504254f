"""Columns told from JSON messages."""

from __future__ import annotations

import pyarrow as pa
import pytest

from krishiv_connectors._errors import NothingToInfer
from krishiv_connectors.codecs import JsonFormat, infer_json_schema


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([b'{"v": 1}', b'{"v": -2}'], pa.int64()),
        ([b'{"v": 1}', b'{"v": 2.5}'], pa.float64()),
        ([b'{"v": true}'], pa.bool_()),
        ([b'{"v": "x"}'], pa.string()),
        ([b'{"v": "2024-01-01"}'], pa.string()),
        ([b'{"v": null}'], pa.string()),
        ([b'{"v": 1}', b'{"v": "x"}'], pa.string()),
        ([b'{"v": null}', b'{"v": 1}', b"{}"], pa.int64()),
        ([b'{"v": [1, 2]}', b'{"v": []}'], pa.list_(pa.int64())),
        ([b'{"v": []}'], pa.list_(pa.string())),
        ([b'{"v": {"x": 1, "y": null}}'], pa.struct([("x", pa.int64()), ("y", pa.string())])),
        ([b'{"v": [{"x": 1.5}]}'], pa.list_(pa.struct([("x", pa.float64())]))),
        ([b'{\n"v": 1\n}'], pa.int64()),
    ],
)
def test_key_becomes_a_column_that_holds_its_values(values: list[bytes], kind: pa.DataType) -> None:
    schema = infer_json_schema(values)
    assert schema == pa.schema([("v", kind)])
    assert JsonFormat().decoder(schema).decode(values).bad == ()


def test_keys_of_all_messages_are_columns() -> None:
    many = [b'{"a": 1}'] * 2000 + [b'{"b": "x"}']
    assert infer_json_schema(many) == pa.schema([("a", pa.int64()), ("b", pa.string())])


def test_messages_that_are_no_objects_are_passed_over() -> None:
    assert infer_json_schema([None, b"", b"[1]", b"{", b"\xff", b'{"a": 1}']) == pa.schema([("a", pa.int64())])


@pytest.mark.parametrize("values", [[], [None], [b"{}"], [b"5", b"{"]])
def test_nothing_to_infer_from_is_an_error(values: list[bytes | None]) -> None:
    with pytest.raises(NothingToInfer) as caught:
        infer_json_schema(values)
    assert "schema=" in caught.value.hint
