"""One run as its process is told to do it, and what it measured of itself."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path

import msgspec

__all__ = ["Engine", "Measured", "Output", "Run", "Stopwatch"]


class Engine(StrEnum):
    """What computes."""

    OURS = "ours"
    BATCH = "batch"
    """DataFusion, one query over all files."""
    BATCH_PER_FILE = "batch per file"
    """DataFusion, one query after the other: no window spans two files, so its groups may be forgotten in between."""
    LOOP = "pyarrow loop"


class Output(StrEnum):
    """What becomes of the result."""

    DROP = "drop"
    PARQUET = "parquet"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Parameters
    ----------
    query : str
        Name of the query.
    files : str
        Folder of the input.
    warm_up : str
        Folder of a small input of the same kind, run first and not measured.
    work : str
        Folder for output and checkpoints.
    checkpoint_interval : float or None
        Seconds, and then single-node-durable; None: no checkpoints, and dev-local.
    """

    engine: Engine
    query: str
    files: str
    warm_up: str
    work: str
    output: Output = Output.DROP
    checkpoint_interval: float | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one run measured, process start and imports left out.

    Parameters
    ----------
    rows : int
        Rows of the input.
    result_rows : int
        Rows that came out, so that runs can be told to have done the same.
    seconds, cpu_seconds : float
        By the clock, and of all cores.
    peak_bytes : int
        Largest resident size of the process, its libraries included.
    checkpoints : int
        Completed.
    """

    rows: int
    result_rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    checkpoints: int = 0

    @property
    def rows_per_second(self) -> float:
        """Rows of the input per second."""
        return self.rows / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million rows of the input."""
        return self.cpu_seconds / self.rows * 1e6


class Stopwatch:
    """Started when made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def measured(self, rows: int, result_rows: int, checkpoints: int = 0) -> Measured:
        """Stop."""
        return Measured(
            rows=rows,
            result_rows=result_rows,
            seconds=time.perf_counter() - self._wall,
            cpu_seconds=time.process_time() - self._cpu,
            peak_bytes=_peak_bytes(),
            checkpoints=checkpoints,
        )


def _peak_bytes() -> int:
    # Not getrusage: what it says begins with the size of the process that started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status does not say how large this process was at most")
