"""Iceberg tables as others see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# Its pool of threads stays for good: one is started before a test looks for what was left.
os.environ["PYICEBERG_MAX_WORKERS"] = "1"
# Polars plans scans with a library of its own, in Rust: what it reads, it has not from pyiceberg.
os.environ["POLARS_ICEBERG_PLANNER"] = "plugin"

import polars as pl
import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

__all__ = ["catalog_of", "metadata_file", "read_table", "scan_table", "table_of", "warm_up"]

_SCAN = """
import json, sys, pyarrow
from pyiceberg.catalog import load_catalog
catalog, name = json.loads(sys.argv[1])
rows = load_catalog("default", **catalog).load_table(name).scan().to_arrow()
with pyarrow.ipc.new_file(sys.stdout.buffer, rows.schema) as writer:
    writer.write_table(rows)
"""


def catalog_of(folder: Path | str, warehouse: str | None = None, **more: str) -> dict[str, str]:
    """Return the properties of a catalog in `folder`: a SQLite file, and the tables beside it or in `warehouse`."""
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": warehouse or f"file://{folder}/warehouse",
        **more,
    }


@contextmanager
def table_of(catalog: Mapping[str, str], name: str) -> Generator[Any]:
    """Give pyiceberg's table."""
    with load_catalog("default", **catalog) as opened:
        yield opened.load_table(name)


def metadata_file(catalog: Mapping[str, str], name: str) -> str | None:
    """Return where the catalog points for a table; None if there is none."""
    try:
        with table_of(catalog, name) as table:
            location: str = table.metadata_location
            return location
    except NoSuchTableError:
        return None


def read_table(catalog: Mapping[str, str], name: str, options: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Return the rows of a table, read from its metadata file on; no columns if there is no table.

    By polars; in a bucket, with `options`, by `read_bucket`, in a process of its own, for its sockets stay.
    """
    location = metadata_file(catalog, name)
    if location is None:
        return pl.DataFrame()
    if options is None:
        return pl.scan_iceberg(location).collect()
    return _apart(["-m", "tests.support.iceberg_reader"], location, dict(options))


def scan_table(catalog: Mapping[str, str], name: str, options: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Return the rows of a table, read by pyiceberg in a process of its own."""
    return _apart(["-c", _SCAN], dict(catalog), name)


def _apart(script: list[str], *task: Any) -> pl.DataFrame:
    command = [sys.executable, *script, json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    return pl.read_ipc(done.stdout)


def warm_up() -> None:
    """Have the libraries start the threads that they keep for good, before a test looks for leaks."""
    with tempfile.TemporaryDirectory() as folder, load_catalog("default", **catalog_of(folder)) as catalog:
        catalog.create_namespace("warm")
        catalog.create_table("warm.up", schema=pa.schema([("a", pa.int64())])).append(pa.table({"a": [1]}))
        read_table(catalog_of(folder), "warm.up")
