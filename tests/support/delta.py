"""Delta tables as others see them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import deltalake
import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ask_table", "read_table", "warm_up"]

_READ = """
import json, sys, polars
uri, options = json.loads(sys.argv[1])
polars.read_delta(uri, storage_options=options).write_ipc(sys.stdout.buffer)
"""
_OPEN = "table = deltalake.DeltaTable(uri, storage_options=options)"


def read_table(uri: str, options: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Return the rows of a table, read by polars; in a bucket, by a process of its own, for its sockets stay."""
    if options is None:
        return pl.read_delta(uri)
    task = json.dumps([uri, dict(options)])
    done = subprocess.run([sys.executable, "-c", _READ, task], stdout=subprocess.PIPE, check=True, timeout=60)
    return pl.read_ipc(done.stdout)


def ask_table(uri: str, options: Mapping[str, Any], statement: str) -> str:
    """Run a statement about ``table`` in a process of its own, and return what it prints."""
    code = f"import json, sys, deltalake\nuri, options = json.loads(sys.argv[1])\n{_OPEN}\n{statement}"
    task = json.dumps([uri, dict(options)])
    command = [sys.executable, "-c", code, task]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60, text=True).stdout


def warm_up() -> None:
    """Have the libraries start the threads and sockets that they keep for good, before a test looks for leaks."""
    with tempfile.TemporaryDirectory() as folder:
        deltalake.write_deltalake(folder, pa.table({"a": [1]}))
        read_table(folder)
