"""The input that the demo makes for itself: Nexmark bids in Parquet files, a little out of order."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

import krishiv_stream as ks
from krishiv_connectors import SourceContext
from krishiv_stream._demo._question import Question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["write_bids"]

_COLUMNS = ("auction", "bidder", "price", "date_time")
_FILES = 4
_GROUP_ROWS = 131_072
_SHUFFLED = 1_000
"""Rows are shuffled within groups of so many: a tenth of a second of event time."""
_ABOVE = 1_000.0
"""Bids at no higher price are filtered out: one in six."""


def write_bids(folder: Path, *, rows: int, seed: int) -> Question:
    """Write `rows` bids into a few files in `folder`, and return what is asked of them."""
    folder.mkdir()
    bids = pa.Table.from_batches(list(_bids(rows, seed)))
    share = -(-rows // _FILES)
    for number in range(_FILES):
        part = bids.slice(number * share, share)
        pq.write_table(part, folder / f"bids-{number}.parquet", row_group_size=_GROUP_ROWS)
    return Question(
        pattern=f"{glob.escape(str(folder))}/*.parquet",
        event_time="date_time",
        key="auction",
        value="price",
        above=_ABOVE,
    )


def _bids(rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    source = ks.NexmarkSource(rows, seed=seed, out_of_order_group=_SHUFFLED)
    (split,) = source.splits()
    reader = source.open(split, None, SourceContext(columns=_COLUMNS))
    while not reader.finished:
        batch = reader.read()
        if batch is not None:
            yield batch
