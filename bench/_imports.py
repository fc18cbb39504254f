"""How long ``import krishiv_stream`` takes, in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

__all__ = ["import_seconds"]

_BARE = "import krishiv_stream"
_USED = "from krishiv_stream import Session, ParquetSource, ParquetSink, col, read, tumble, count"


def import_seconds(repeats: int) -> dict[str, float]:
    """Return the median seconds of the bare import, and of one that uses what a pipeline is written with."""
    return {"bare": _median(_BARE, repeats), "with what a pipeline needs": _median(_USED, repeats)}


def _median(statement: str, repeats: int) -> float:
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    return statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    )
