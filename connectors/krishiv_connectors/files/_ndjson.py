"""Rows to lines of JSON, whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

__all__ = ["check_encodable", "encode_lines", "encode_objects"]


def encode_lines(rows: pa.Table | pa.RecordBatch) -> memoryview:
    """Return `rows` as UTF-8 text, one JSON object and a newline per row."""
    import polars as pl

    lines = (_objects(rows) + "\n").to_arrow(compat_level=pl.CompatLevel.oldest())
    # A large_string array: where each text begins, then all texts without gaps.
    _, offsets, text = lines.buffers()
    first = int.from_bytes(memoryview(offsets)[lines.offset * 8 :][:8], "little")
    end = int.from_bytes(memoryview(offsets)[(lines.offset + len(lines)) * 8 :][:8], "little")
    return memoryview(text)[first:end]


def encode_objects(rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """Return `rows` as a large_string array, one JSON object per row."""
    import polars as pl

    return _objects(rows).to_arrow(compat_level=pl.CompatLevel.oldest())


def _objects(rows: pa.Table | pa.RecordBatch) -> pl.Series:
    import polars as pl

    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    frame = frame.with_columns(pl.col(pl.Binary).bin.encode("base64"))
    return frame.to_struct().struct.json_encode()


def check_encodable(schema: pa.Schema) -> None:
    """Raise `UnsupportedColumn` if a column of `schema` cannot be written as JSON."""
    for field in schema:
        if _is_binary(field.type):
            continue  # written as base64
        for kind in _leaves(field.type):
            if _is_binary(kind) or pat.is_decimal256(kind) or pat.is_interval(kind) or pat.is_union(kind):
                raise UnsupportedColumn(
                    f"column {field.name!r} holds {kind}, which cannot be written as JSON",
                    hint="turn it into text or a number with with_columns before write",
                    column=field.name,
                )


def _leaves(kind: pa.DataType) -> Iterator[pa.DataType]:
    if pat.is_dictionary(kind):
        yield from _leaves(kind.value_type)
    elif pat.is_map(kind):
        yield from _leaves(kind.key_type)
        yield from _leaves(kind.item_type)
    elif kind.num_fields:
        for index in range(kind.num_fields):
            yield from _leaves(kind.field(index).type)
    else:
        yield kind


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_binary_view(kind) or pat.is_fixed_size_binary(kind)
    )
