"""The input: Nexmark bids in Parquet files of 5 million rows, 10,000 auctions and 500 s of event time each.

Made once and kept. Every file has the same bids, and event times that go on where the file before ended.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import krishiv_stream as ks
from krishiv_connectors import SourceContext

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ROWS", "SECONDS", "Bids"]

ROWS = 5_000_000
"""In a file."""
SECONDS = 500
"""Of event time in a file."""
AUCTIONS = 10_000
_COLUMNS = ("auction", "bidder", "price")
_START = 1_700_000_000_000_000
"""Event time of the first row, microseconds since 1970 UTC: a multiple of 10 s."""


class Bids:
    """The files in one folder, and views of some of them.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, count: int) -> None:
        """Make the first `count` files, those that are missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        missing = [number for number in range(count) if not self._path(number).exists()]
        if not missing:
            return
        columns = _columns()
        for number in missing:
            self._write(columns, number)

    def warm(self, count: int) -> None:
        """Read the first `count` files once, so that no run pays for the disk and another does not."""
        for number in range(count):
            with self._path(number).open("rb") as file:
                while file.read(1 << 24):
                    pass

    def small(self, rows: int = 100_000) -> Path:
        """Return a folder with one file of a few rows: what a process warms up with."""
        view = self._folder / "small"
        if not view.exists():
            self.make(1)
            view.mkdir()
            with pq.ParquetFile(self._path(0)) as file:
                first = next(file.iter_batches(rows))
            pq.write_table(pa.Table.from_batches([first]), view / "bids.parquet")
        return view

    def view(self, files: int, passes: int = 1) -> Path:
        """Return a folder that holds the first `files` files `passes` times, as hard links.

        With more than one pass event time is not in order over the whole.
        """
        view = self._folder / f"view-{files}x{passes}"
        shutil.rmtree(view, ignore_errors=True)
        view.mkdir()
        for number in range(files * passes):
            os.link(self._path(number % files), view / f"{number:05d}.parquet")
        return view

    def drop_views(self) -> None:
        """Remove every view; the files stay."""
        for view in self._folder.glob("view-*"):
            shutil.rmtree(view)

    def _path(self, number: int) -> Path:
        return self._folder / f"bids-{number:04d}.parquet"

    def _write(self, columns: dict[str, pa.ChunkedArray], number: int) -> None:
        start = _START + number * SECONDS * 1_000_000
        times = start + np.arange(ROWS) * (SECONDS * 1_000_000 // ROWS)
        table = pa.table({**columns, "date_time": pa.array(times).cast(pa.timestamp("us", tz="UTC"))})
        unfinished = self._path(number).with_suffix(".tmp")
        pq.write_table(table, unfinished)
        unfinished.rename(self._path(number))


def _columns() -> dict[str, pa.ChunkedArray]:
    # No auction is hot: every window has as many groups as there can be.
    source = ks.NexmarkSource(ROWS, auctions=AUCTIONS, events_per_second=ROWS / SECONDS, hot_auction_ratio=1)
    (split,) = source.splits()
    reader = source.open(split, None, SourceContext(columns=_COLUMNS))
    batches: list[pa.RecordBatch] = []
    while not reader.finished:
        batch = reader.read()
        if batch is not None:
            batches.append(batch)
    bids = pa.Table.from_batches(batches)
    return {name: bids.column(name) for name in _COLUMNS}
