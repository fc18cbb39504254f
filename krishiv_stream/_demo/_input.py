"""What the demo has to know of its input before it starts: the files, how many rows, and how far out of order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from krishiv_connectors import SourceContext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from krishiv_connectors import Source, Split

__all__ = ["InputFacts", "look_at"]

_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True)
class InputFacts:
    """What was seen of an input.

    Parameters
    ----------
    rows : dict of str to int
        Rows of each file, by its path, in reading order.
    disorder : int
        How far behind an earlier row any row is, in reading order; microseconds, rounded up. A watermark that stays
        this far behind makes no row late.
    """

    rows: dict[str, int]
    disorder: int

    @property
    def total(self) -> int:
        """Rows of all files."""
        return sum(self.rows.values())


def look_at(source: Source[Any], event_time: str) -> InputFacts:
    """Read the timestamp column `event_time` of every split of `source`.

    Rows without a time are passed over: the job itself refuses them.

    Raises
    ------
    KrishivError
        If a file cannot be read, or has other columns than the first; the same errors that the job would end in.
    """
    unit = source.schema().field(event_time).type.unit
    rows: dict[str, int] = {}
    newest, farthest = -(2**63), 0
    for split in source.splits():
        rows[split.id] = 0
        for values in _column(source, split, event_time):
            rows[split.id] += len(values)
            times = _ticks(values)
            if len(times):
                leading = np.maximum(np.maximum.accumulate(times), newest)
                farthest = max(farthest, int((leading - times).max()))
                newest = int(leading[-1])
    return InputFacts(rows, -(-farthest * 1_000_000 // _TICKS[unit]))


def _column(source: Source[Any], split: Split, name: str) -> Iterator[pa.Array]:
    reader = source.open(split, None, SourceContext(columns=(name,)))
    try:
        while not reader.finished:
            batch = reader.read()
            if batch is not None:
                yield batch.column(name)
    finally:
        reader.close()


def _ticks(values: pa.Array) -> NDArray[np.int64]:
    return np.asarray(values.drop_null().view(pa.int64()).to_numpy())
