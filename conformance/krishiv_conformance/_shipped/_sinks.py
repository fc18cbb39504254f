"""Harnesses of the sinks that come with krishiv-stream. Readers are polars and sqlite3, which the sinks do not use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import polars as pl

from krishiv_conformance._harness import SinkHarness
from krishiv_connectors import JsonSink, ParquetSink, SqliteSink

if TYPE_CHECKING:
    from io import BytesIO
    from pathlib import Path

    import pyarrow as pa

__all__ = ["JsonSinkHarness", "ParquetSinkHarness", "SqliteSinkHarness", "as_table", "json_frame"]

_OUTPUT = "output"
_DATABASE = "output.sqlite"
_TABLE = "rows"


class ParquetSinkHarness(SinkHarness):
    """Parquet files, read by polars, hidden folders included."""

    connector = ParquetSink

    def make(self, workdir: Path) -> ParquetSink:
        """Return the sink."""
        return ParquetSink(workdir / _OUTPUT)

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read every file below the output."""
        frames = [pl.read_parquet(path) for path in _files(workdir / _OUTPUT, "*.parquet")]
        return as_table(frames, schema)


class JsonSinkHarness(SinkHarness):
    """NDJSON files, read by polars."""

    connector = JsonSink

    def make(self, workdir: Path) -> JsonSink:
        """Return the sink."""
        return JsonSink(workdir / _OUTPUT)

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read every file below the output."""
        paths = [path for path in _files(workdir / _OUTPUT, "*.ndjson") if path.stat().st_size]
        frames = [json_frame(path, schema) for path in paths]
        return as_table(frames, schema)


class SqliteSinkHarness(SinkHarness):
    """A table of a SQLite database, read by sqlite3."""

    connector = SqliteSink

    def make(self, workdir: Path) -> SqliteSink:
        """Return the sink."""
        return SqliteSink(workdir / _DATABASE, _TABLE)

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the whole table, if it is there."""
        path = workdir / _DATABASE
        rows: list[Any] = []
        if path.exists():
            with closing(sqlite3.connect(path, timeout=30)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_TABLE,)).fetchone():
                    columns = ", ".join(f'"{name}"' for name in schema.names)
                    rows = connection.execute(f"SELECT {columns} FROM {_TABLE}").fetchall()
        return as_table([pl.DataFrame(rows, schema=schema.names, orient="row")] if rows else [], schema)


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return the files below `folder`, sorted; an empty epoch's folder may go meanwhile, for a newer one's."""
    while True:
        try:
            return sorted(folder.rglob(pattern))
        except FileNotFoundError:
            continue


def json_frame(lines: Path | BytesIO, schema: pa.Schema) -> pl.DataFrame:
    """Return NDJSON of rows x `schema`, with times as the text that they are."""
    kinds = pl.DataFrame(schema.empty_table()).schema
    stored = {name: pl.String() if isinstance(kind, pl.Datetime) else kind for name, kind in kinds.items()}
    return pl.read_ndjson(lines, schema=stored)


def as_table(frames: list[pl.DataFrame], schema: pa.Schema) -> pa.Table:
    """Return `frames` below each other as a table x `schema`; times that were stored as text are read back."""
    if not frames:
        return schema.empty_table()
    kinds = pl.DataFrame(schema.empty_table()).schema
    frame = pl.concat([frame.select(_column(frame, name, kind) for name, kind in kinds.items()) for frame in frames])
    return frame.to_arrow().cast(schema)


def _column(frame: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime) and frame.schema[name] == pl.String:
        zoned = column.str.to_datetime(time_unit=kind.time_unit, time_zone="UTC")
        return zoned if kind.time_zone else zoned.dt.replace_time_zone(None)
    return column.cast(kind)
