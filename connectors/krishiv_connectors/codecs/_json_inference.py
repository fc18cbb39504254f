"""The columns of JSON messages, told from some of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException, PolarsError

from krishiv_connectors._errors import NothingToInfer
from krishiv_connectors.codecs._json_codec import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["infer_json_schema"]


def infer_json_schema(values: Sequence[bytes | None]) -> pa.Schema:
    """Return columns that hold all of `values`.

    Integers are int64, other numbers double, strings string (dates and times among them), objects structs, arrays
    lists; a key that was null whenever it was there is a string. A key with values of several kinds becomes what
    holds them all: double for numbers, else string.

    Parameters
    ----------
    values : sequence of bytes or None
        Messages. Those that are not JSON objects are passed over.

    Raises
    ------
    NothingToInfer
        If none of them is an object with a key.
    """
    schema = _inferred(list(_objects(values)))
    fields = [pa.field(name, _arrow_type(kind)) for name, kind in schema.items()]
    if not fields:
        raise NothingToInfer(
            f"none of {len(values)} messages is a JSON object with a key: their columns cannot be inferred",
            hint="pass schema=pa.schema(...), or start again when messages have arrived",
        )
    return pa.schema(fields)


def _objects(values: Sequence[bytes | None]) -> Iterator[bytes]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    for value in values:
        try:
            if value and decoder.decode(value):
                yield one_line(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue


def _inferred(lines: list[bytes]) -> pl.Schema:
    if not lines:
        return pl.Schema()
    try:
        return pl.read_ndjson(io.BytesIO(b"\n".join(lines)), infer_schema_length=None).schema
    except (PolarsError, PanicException) as error:
        raise NothingToInfer(
            f"the columns of the messages cannot be inferred: {str(error).splitlines()[0][:200]}",
            hint="pass schema=pa.schema(...)",
        ) from error


def _arrow_type(kind: pl.DataType) -> pa.DataType:
    if kind.is_integer():
        return pa.int64()
    if kind.is_float() or kind.is_decimal():
        return pa.float64()
    if kind == pl.Boolean:
        return pa.bool_()
    if isinstance(kind, pl.List):
        return pa.list_(_arrow_type(_instance(kind.inner)))
    if isinstance(kind, pl.Struct) and kind.fields:
        return pa.struct([(field.name, _arrow_type(_instance(field.dtype))) for field in kind.fields])
    return pa.string()


def _instance(kind: Any) -> pl.DataType:
    """Return a type as polars' own inference gives it: never a bare class."""
    assert isinstance(kind, pl.DataType)
    return kind
