"""Harnesses of the sources that come with krishiv-stream. What fills them shares no code with what reads."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_conformance._harness import SourceHarness
from krishiv_conformance._rows import SCHEMA, rows_of
from krishiv_connectors import CsvSource, JsonSource, NexmarkSource, ParquetSource, SourceContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from krishiv_conformance._rows import Row

__all__ = [
    "CsvFollowHarness",
    "CsvSourceHarness",
    "JsonFollowHarness",
    "JsonSourceHarness",
    "NexmarkSourceHarness",
    "ParquetFollowHarness",
    "ParquetSourceHarness",
    "json_line",
]

_SETTLE = 0.05
"""Seconds without a change after which a followed text file is finished; here a file appears whole."""


class ParquetSourceHarness(SourceHarness):
    """Parquet files with small row groups, so that positions fall inside of them and between."""

    connector = ParquetSource
    follow = False

    def make(self, workdir: Path) -> ParquetSource:
        """Return the source."""
        return ParquetSource(workdir / "*.parquet", follow=self.follow, schema=SCHEMA)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Write one file."""
        _appear(workdir / f"part-{part}.parquet", lambda path: pq.write_table(rows, path, row_group_size=23))


class CsvSourceHarness(SourceHarness):
    """CSV files with a header."""

    connector = CsvSource
    follow = False

    def make(self, workdir: Path) -> CsvSource:
        """Return the source."""
        return CsvSource(workdir / "*.csv", SCHEMA, follow=self.follow, settle=_SETTLE)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Write one file."""

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(rows.schema.names)
                for id, name, amount, at in rows_of(rows):
                    writer.writerow([id, name, "" if amount is None else repr(amount), _iso(at)])

        _appear(workdir / f"part-{part}.csv", write)


class JsonSourceHarness(SourceHarness):
    """NDJSON files."""

    connector = JsonSource
    follow = False

    def make(self, workdir: Path) -> JsonSource:
        """Return the source."""
        return JsonSource(workdir / "*.ndjson", SCHEMA, follow=self.follow, settle=_SETTLE)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Write one file."""

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json_line(row) + "\n" for row in rows_of(rows))

        _appear(workdir / f"part-{part}.ndjson", write)


class ParquetFollowHarness(ParquetSourceHarness):
    """The same, waiting for new files."""

    variant = "follow"
    follow = True


class CsvFollowHarness(CsvSourceHarness):
    """The same, waiting for new files."""

    variant = "follow"
    follow = True


class JsonFollowHarness(JsonSourceHarness):
    """The same, waiting for new files."""

    variant = "follow"
    follow = True


class NexmarkSourceHarness(SourceHarness):
    """The bids of a seeded auction."""

    connector = NexmarkSource

    def make(self, workdir: Path) -> NexmarkSource:
        """Return the source."""
        return NexmarkSource(events=400, seed=7, splits=4)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Refuse: the source makes its own rows."""
        raise AssertionError("a generator is not filled")

    def own_rows(self, workdir: Path) -> pa.Table:
        """Return what one uninterrupted reader gives."""
        source = self.make(workdir)
        batches: list[pa.RecordBatch] = []
        for split in source.splits():
            reader = source.open(split, None, SourceContext())
            while not reader.finished:
                batch = reader.read()
                if batch is not None:
                    batches.append(batch)
            reader.close()
        return pa.Table.from_batches(batches, schema=source.schema())


def json_line(row: Row) -> str:
    """Return a row x `SCHEMA` as a JSON object."""
    id, name, amount, at = row
    return json.dumps({"id": id, "name": name, "amount": amount, "at": _iso(at)})


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def _appear(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` write a file elsewhere, and let it appear at `path` as a whole."""
    hidden = path.with_name(f".{path.name}.tmp")
    write(hidden)
    hidden.rename(path)
