"""Event-time columns as integers: ticks of their own unit, and microseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_stream._engine.errors import NullEventTime

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TICKS_PER_SECOND", "floor_to_microseconds", "known_ticks", "ticks", "ticks_of"]

TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def ticks(batch: pa.RecordBatch, column: str) -> NDArray[np.int64]:
    """Return timestamp `column` of `batch` as integers of its own unit, without a copy.

    Raises
    ------
    NullEventTime
        If a row has none.
    """
    values = batch.column(batch.schema.get_field_index(column))
    if values.null_count:
        raise NullEventTime(
            f"{values.null_count} of {len(values)} rows have no {column!r}, which is their event time",
            hint=f"drop such rows with filter(col({column!r}).is_not_null()) before the window, or mend the input",
            column=column,
        )
    return np.asarray(values.view(pa.int64()).to_numpy(zero_copy_only=True))


def known_ticks(batch: pa.RecordBatch, column: str) -> NDArray[np.int64]:
    """Return timestamp `column` of the rows of `batch` that have one, as integers of its own unit."""
    values = batch.column(batch.schema.get_field_index(column))
    return ticks(batch.filter(values.is_valid()) if values.null_count else batch, column)


def ticks_of(microseconds: int, unit: str) -> int:
    """Return `microseconds` in ticks of `unit`, rounded down."""
    return microseconds * TICKS_PER_SECOND[unit] // 1_000_000


def floor_to_microseconds(value: int, unit: str) -> int:
    """Return `value` ticks of `unit` in microseconds, rounded down."""
    return value * 1_000_000 // TICKS_PER_SECOND[unit]
