"""How long a row takes from source to sink when batches are small: ``python -m bench._latency SECONDS``.

100 rows each millisecond, in the low-latency setting (``linger=0``): a filter and a projection.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

import krishiv_stream as ks
from bench._sinks import ArrivalSink
from krishiv_guarantees import SourceCapabilities
from krishiv_stream import col, lit

if TYPE_CHECKING:
    from krishiv_connectors import SourceContext

__all__ = ["Latency", "measure_latency"]

_ROWS = 100
_EVERY_NS = 1_000_000


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From the moment a reader returns a batch to the moment the sink gets it, milliseconds."""

    batches: int
    checkpoints: int
    p50: float
    p99: float
    longest: float


class TicksSource(ks.Source[int]):
    """A batch each millisecond, whose rows say when they were sent."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def schema(self) -> pa.Schema:
        return pa.schema([("sent", pa.int64()), ("value", pa.int64())])

    def splits(self) -> list[ks.Split]:
        return [ks.Split("ticks")]

    def open(self, split: ks.Split, position: int | None, ctx: SourceContext) -> TicksReader:
        return TicksReader(self, position or 0)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)


class TicksReader(ks.Reader[int]):
    """Reads a `TicksSource`."""

    def __init__(self, source: TicksSource, position: int) -> None:
        self._source = source
        self._next = position
        self._due = time.perf_counter_ns()
        self._values = pa.array(np.arange(_ROWS))

    def read(self) -> pa.RecordBatch | None:
        if self.finished:
            return None
        self._due += _EVERY_NS
        time.sleep(max(0, self._due - time.perf_counter_ns()) / 1e9)
        self._next += 1
        sent = pa.array(np.full(_ROWS, time.perf_counter_ns()))
        return pa.RecordBatch.from_arrays([sent, self._values], schema=self._source.schema())

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._next >= self._source.batches


def measure_latency(seconds: float) -> Latency:
    """Measure for `seconds`, in a fresh process, with a checkpoint each second."""
    done = subprocess.run(
        [sys.executable, "-m", "bench._latency", str(seconds)], stdout=subprocess.PIPE, check=True, text=True
    )
    return msgspec.json.decode(done.stdout, type=Latency)


def _run(batches: int) -> tuple[ArrivalSink, ks.JobResult]:
    arrivals = ArrivalSink("sent")
    ticks = ks.read(TicksSource(batches), name="ticks")
    results = ticks.filter(col("value") % lit(2) == lit(0)).select("sent", (col("value") * lit(3)).alias("value"))
    with tempfile.TemporaryDirectory(prefix="bench-latency-", dir=Path.cwd()) as folder:
        session = ks.Session(profile="single-node-durable", data_dir=folder, checkpoint_interval="1s", linger=0)
        with session:
            return arrivals, session.run(results.write(arrivals, name="arrivals"), job="latency")


def _main(seconds: float) -> Latency:
    _run(100)
    arrivals, result = _run(int(seconds * 1e9 / _EVERY_NS))
    milliseconds = (np.array(arrivals.arrivals) - np.array(arrivals.sent)) / 1e6
    settled = milliseconds[len(milliseconds) // 20 :]
    return Latency(
        batches=len(arrivals.sent),
        checkpoints=result.status.epoch_completed,
        p50=float(np.percentile(settled, 50)),
        p99=float(np.percentile(settled, 99)),
        longest=float(settled.max()),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_main(float(sys.argv[1]))))
