"""What the demo has to know of its input before it starts: the files, how many rows, and how far out of order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["count_rows", "disorder"]

_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def count_rows(files: Sequence[str]) -> dict[str, int]:
    """Return the rows of each Parquet file, by its path."""
    return {file: int(pq.read_metadata(file).num_rows) for file in files}


def disorder(files: Sequence[str], column: str) -> int:
    """Return how far behind an earlier row any row is, read in the order of `files`.

    A watermark that stays this far behind makes no row late.

    Parameters
    ----------
    column : str
        A timestamp column. Rows without a value are passed over: the job itself refuses them.

    Returns
    -------
    int
        Microseconds, rounded up; 0 if the rows are in order.
    """
    newest: int | None = None
    farthest, per_second = 0, 1_000_000
    for times, unit in _times(files, column):
        per_second = _TICKS[unit]
        leading = np.maximum.accumulate(times if newest is None else np.concatenate(([newest], times)))
        farthest = max(farthest, int((leading[-len(times) :] - times).max()))
        newest = int(leading[-1])
    return -(-farthest * 1_000_000 // per_second)


def _times(files: Sequence[str], column: str) -> Iterator[tuple[NDArray[np.int64], str]]:
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[column]):
                values = batch.column(0).drop_null()
                if len(values) and pa.types.is_timestamp(values.type):
                    yield values.view(pa.int64()).to_numpy(), values.type.unit
