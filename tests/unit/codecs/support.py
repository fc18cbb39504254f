"""Rows of any content, and what holds for every format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_connectors.codecs import Decoded, Decoder

__all__ = ["bad_places", "check_isolation", "records"]

TEXT = st.text(max_size=8)
_TIMES = {"min_value": datetime(1700, 1, 1), "max_value": datetime(2250, 1, 1)}


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Return values of an Arrow type, finite where numbers are."""
    if pat.is_integer(kind):
        edge = 2 ** (kind.bit_width - 1)
        return st.integers(-edge, edge - 1) if pat.is_signed_integer(kind) else st.integers(0, 2 * edge - 1)
    if pat.is_floating(kind):
        return st.floats(allow_nan=False, allow_infinity=False, width=kind.bit_width)
    if pat.is_decimal(kind):
        digits = 10**kind.precision - 1
        return st.integers(-digits, digits).map(lambda number: _decimal(number, kind.scale))
    if pat.is_timestamp(kind):
        moments = st.datetimes(**_TIMES).map(lambda moment: _rounded(moment, kind.unit))
        return moments if kind.tz is None else moments.map(lambda moment: moment.replace(tzinfo=UTC))
    if pat.is_list(kind):
        return st.lists(_member(kind.value_field), max_size=3)
    if pat.is_map(kind):
        return st.dictionaries(TEXT, _member(kind.item_field), max_size=3).map(lambda items: list(items.items()))
    if pat.is_struct(kind):
        return st.fixed_dictionaries({child.name: _member(child) for child in kind})
    simple = {pa.bool_(): st.booleans(), pa.string(): TEXT, pa.binary(): st.binary(max_size=8), pa.date32(): st.dates()}
    if kind in simple:
        return simple[kind]
    if pat.is_time(kind):
        return st.times().map(lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000))
    assert pat.is_fixed_size_binary(kind), kind
    return st.binary(min_size=kind.byte_width, max_size=kind.byte_width)


def records(schema: pa.Schema, max_size: int = 6) -> st.SearchStrategy[pa.RecordBatch]:
    """Return batches of `schema`, with nulls where it allows them."""
    row = st.fixed_dictionaries({field.name: _member(field) for field in schema})
    return st.lists(row, max_size=max_size).map(lambda rows: pa.RecordBatch.from_pylist(rows, schema=schema))


def bad_places(decoded: Decoded) -> list[int]:
    """Return the places of the bad values."""
    return [value.index for value in decoded.bad]


def check_isolation(decoder: Decoder, good: Sequence[bytes], bad: Sequence[bytes | None], order: list[bool]) -> None:
    """Check that good values become the rows they are by themselves, however bad ones are strewn among them.

    `order` says for each place whether a good value stands there.
    """
    sources = iter(good), iter(bad)
    values = [next(sources[not is_good]) for is_good in order]
    decoded = decoder.decode(values)
    assert bad_places(decoded) == [place for place, is_good in enumerate(order) if not is_good]
    assert all(value.error and "\n" not in value.error for value in decoded.bad)
    expected = [decoder.decode([value]).batch for value, is_good in zip(values, order, strict=True) if is_good]
    assert decoded.batch.schema == decoder.columns()
    assert decoded.batch.to_pylist() == [row for batch in expected for row in batch.to_pylist()]


def _member(field: pa.Field) -> st.SearchStrategy[Any]:
    values = values_of(field.type)
    return st.none() | values if field.nullable else values


def _decimal(number: int, scale: int) -> Any:
    return pa.scalar(number, pa.decimal128(38, 0)).as_py().scaleb(-scale)


def _rounded(moment: datetime, unit: str) -> datetime:
    step = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[unit]
    return moment.replace(microsecond=moment.microsecond // step * step)
