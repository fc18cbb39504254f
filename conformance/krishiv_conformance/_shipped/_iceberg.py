"""Harnesses of the Iceberg connectors. Their reader is polars with its own planner; what fills a table is pyiceberg."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING

import polars as pl

from krishiv_conformance._harness import SinkHarness, SourceHarness
from krishiv_conformance._rows import SCHEMA
from krishiv_conformance._shipped._sinks import as_table
from krishiv_connectors import IcebergSink, IcebergSource

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["IcebergFollowHarness", "IcebergSinkHarness", "IcebergSourceHarness"]

_TABLE = "suite.rows"
_POINTERS = "select metadata_location from iceberg_tables where table_name = 'rows'"


def _missing(*modules: str) -> str:
    absent = [module for module in modules if find_spec(module) is None]
    return f"{absent[0]} is not installed (pip install 'krishiv-stream[iceberg]' polars-iceberg)" if absent else ""


def _catalog(folder: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}


class IcebergSinkHarness(SinkHarness):
    """A table in a folder, whose catalog is a SQLite file."""

    connector = IcebergSink

    def missing(self) -> str:
        """Name the library, or the reader's."""
        return _missing("pyiceberg", "sqlalchemy", "polars_iceberg")

    def make(self, workdir: Path) -> IcebergSink:
        """Return the sink."""
        return IcebergSink(_catalog(workdir), _TABLE)

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        """Read the metadata file that the catalog points at, if it does."""
        os.environ["POLARS_ICEBERG_PLANNER"] = "plugin"  # not pyiceberg, which the sink uses
        database = workdir / "catalog.db"
        pointers: list[tuple[str]] = []
        if database.exists():
            with closing(sqlite3.connect(database)) as connection:
                made = connection.execute("select 1 from sqlite_master where name = 'iceberg_tables'").fetchall()
                pointers = connection.execute(_POINTERS).fetchall() if made else []
        return as_table([pl.scan_iceberg(pointer).collect() for (pointer,) in pointers], schema)


class IcebergSourceHarness(SourceHarness):
    """A table with a snapshot for each part."""

    connector = IcebergSource
    follow = False

    def missing(self) -> str:
        """Name the library."""
        return _missing("pyiceberg", "sqlalchemy")

    def make(self, workdir: Path) -> IcebergSource:
        """Return the source."""
        return IcebergSource(_catalog(workdir), _TABLE, follow=self.follow, schema=SCHEMA, splits=2)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        """Append a snapshot."""
        from pyiceberg.catalog import load_catalog

        with load_catalog("default", **_catalog(workdir)) as catalog:
            catalog.create_namespace_if_not_exists("suite")
            small = {"write.parquet.row-group-limit": "23"}
            catalog.create_table_if_not_exists(_TABLE, schema=rows.schema, properties=small).append(rows)


class IcebergFollowHarness(IcebergSourceHarness):
    """The same, waiting for new snapshots."""

    variant = "follow"
    follow = True
