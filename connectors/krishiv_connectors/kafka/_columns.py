"""Columns of rows in the shapes that messages have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from krishiv_connectors._errors import UnencodableRow
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["as_bytes", "as_headers", "as_milliseconds", "check_column", "first"]


def check_column(
    schema: pa.Schema, option: str, name: str | None, fits: Sequence[Callable[[pa.DataType], bool]], wanted: str
) -> None:
    """Raise `ConfigurationError` if a column that an option names is missing, or none of `fits` takes its type."""
    if name is None:
        return
    if name not in schema.names:
        raise ConfigurationError(
            f"{option}={name!r}: there is no such column", hint=f"the columns are {', '.join(schema.names)}"
        )
    kind = schema.field(name).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if fits and not any(test(kind) for test in fits):
        raise ConfigurationError(
            f"{option}={name!r}: the column is of type {kind}", hint=f"it has to be {wanted}: cast it before the sink"
        )


def first(where: pa.Array) -> int:
    """Return the number of the first row that is true."""
    return int(pc.index(where, True).as_py())


def as_bytes(column: pa.Array) -> pa.Array:
    """Return text, binary or whole numbers as binary; numbers as decimal text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    return column.cast(pa.binary())


def as_milliseconds(column: pa.Array, name: str) -> pa.Array:
    """Return times as milliseconds since 1970; 0, Kafka's word for now, where there is none."""
    times = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    early = pc.fill_null(pc.less(times, 0), False)
    if pc.any(early, min_count=0).as_py():
        row = first(early)
        raise UnencodableRow(
            f"row {row} has a time before 1970 in column {name!r}", hint="Kafka's timestamps begin there", row=row
        )
    return pc.fill_null(times, 0)


def as_headers(rows: pa.RecordBatch, headers: str | Mapping[str, str]) -> pa.Array:
    """Return the headers of each row as a map of text to binary."""
    if isinstance(headers, str):
        return rows.column(headers).cast(pa.map_(pa.string(), pa.binary()))
    count, number = rows.num_rows, len(headers)
    by_header = pa.concat_arrays([as_bytes(rows.column(column)) for column in headers.values()])
    by_row = np.arange(count * number).reshape(number, count).T.ravel()
    names = pa.array(list(headers) * count, pa.string())
    offsets = pa.array(np.arange(0, count * number + 1, number), pa.int32())
    return pa.MapArray.from_arrays(offsets, names, by_header.take(pa.array(by_row)))
