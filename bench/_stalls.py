"""How long a checkpoint holds up the data, with a million live keys: ``python -m bench._stalls SECONDS``.

One stream, two ways: into windows of a million keys each, with exactly-once output; and past them into a sink that
notes when each batch arrives. What the engine says a barrier cost is so seen from outside too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

import krishiv_stream as ks
from bench._sinks import ArrivalSink
from krishiv_guarantees import SourceCapabilities
from krishiv_stream import col, lit

if TYPE_CHECKING:
    from krishiv_connectors import SourceContext

__all__ = ["Stalls", "measure_stalls"]

KEYS = 1_000_000
_RATE = 1_000_000
_BATCH = 8_192
_WINDOW = 10
_INTERVAL = 0.1


class Stalls(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen, milliseconds.

    Parameters
    ----------
    stall_p99, stall_max : float
        How long the barriers of one checkpoint held the data of all tasks, added up.
    gap_p50, gap_p99, gap_max : float
        Between two batches at the sink that notes arrivals.
    quiet_gap_p99 : float
        The same without checkpoints.
    slowest_task : str
        Which held its data longest at one barrier.
    state_bytes : int
        Of the largest checkpoint.
    """

    checkpoints: int
    live_keys: int
    rows_per_second: float
    stall_p99: float
    stall_max: float
    slowest_task: str
    gap_p50: float
    gap_p99: float
    gap_max: float
    quiet_gap_p99: float
    state_bytes: int


class KeysSource(ks.Source[int]):
    """Every key once in each second of event time, in an order of its own; `rows` rows in all."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def schema(self) -> pa.Schema:
        return pa.schema([("key", pa.int64()), ("value", pa.int64()), ("time", pa.timestamp("us", tz="UTC"))])

    def splits(self) -> list[ks.Split]:
        return [ks.Split("keys")]

    def open(self, split: ks.Split, position: int | None, ctx: SourceContext) -> KeysReader:
        return KeysReader(self, position or 0, ctx.batch_rows)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)


class KeysReader(ks.Reader[int]):
    """Reads a `KeysSource`."""

    def __init__(self, source: KeysSource, position: int, batch_rows: int) -> None:
        self._source = source
        self._next = position
        self._batch_rows = batch_rows
        self._order = np.random.default_rng(0).permutation(KEYS)

    def read(self) -> pa.RecordBatch | None:
        rows = min(self._batch_rows, self._source.rows - self._next)
        if not rows:
            return None
        numbers = np.arange(self._next, self._next + rows)
        self._next += rows
        keys = self._order[numbers % KEYS]
        times = pa.array(numbers * (1_000_000 // _RATE)).cast(pa.timestamp("us", tz="UTC"))
        return pa.RecordBatch.from_arrays([keys, pa.array(numbers), times], schema=self._source.schema())

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._next >= self._source.rows


def measure_stalls(seconds: float) -> Stalls:
    """Measure for `seconds` of data, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench._stalls", str(seconds)], stdout=subprocess.PIPE, check=True, text=True
    )
    return msgspec.json.decode(done.stdout, type=Stalls)


@dataclass
class _Seen:
    """What one run showed."""

    seconds: float
    arrivals: ArrivalSink
    stalls: dict[str, list[float]]
    checkpoints: int
    state_bytes: int

    def gaps(self) -> list[float]:
        # The first moments are the process warming up, the last the closing of every window.
        gaps = np.diff(np.array(self.arrivals.arrivals)) / 1e6
        return [float(gap) for gap in gaps[len(gaps) // 20 : -len(gaps) // 20]]

    def per_checkpoint(self) -> list[float]:
        # Every task sees every barrier, in order.
        return [sum(each) for each in zip(*self.stalls.values(), strict=True)]


def _run(seconds: float, interval: float | None) -> _Seen:
    arrivals = ArrivalSink()
    sizes: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bench-stalls-", dir=Path.cwd()) as folder:
        keys = ks.read(
            KeysSource(int(seconds * _RATE)),
            event_time="time",
            watermark=ks.monotonic(),
            name="keys",
            max_rate=_RATE,
        )
        totals = keys.key_by("key").window(ks.tumble(f"{_WINDOW}s")).aggregate(rows=ks.count(), total=ks.sum("value"))
        pipeline = ks.Pipeline.of(
            totals.write(ks.ParquetSink(Path(folder) / "output"), name="totals"),
            keys.filter(col("value") >= lit(0)).write(arrivals, name="arrivals"),
        )
        settings: dict[str, Any] = {"checkpoint_interval": interval, "batch_rows": _BATCH, "allow_uncertified": True}
        session = ks.Session(profile="single-node-durable", data_dir=Path(folder) / "data", **settings)
        listen = (lambda event: sizes.append(event.state_bytes),)
        with session, session.start_with(pipeline, listen, {"job": "stalls"}) as handle:
            result = handle.wait()
            tasks = handle.metrics()["tasks"]
    stalls = {task: [stall * 1e3 for stall in counters["stalls"]] for task, counters in tasks.items()}
    return _Seen(result.seconds, arrivals, stalls, result.status.epoch_completed, max(sizes))


def _main(seconds: float) -> Stalls:
    _run(1, _INTERVAL)
    quiet = _run(seconds / 4, None)
    seen = _run(seconds, _INTERVAL)
    stalls, gaps = seen.per_checkpoint(), seen.gaps()
    return Stalls(
        checkpoints=seen.checkpoints,
        live_keys=KEYS,
        rows_per_second=seen.arrivals.rows / seen.seconds,
        stall_p99=float(np.percentile(stalls, 99)),
        stall_max=max(stalls),
        slowest_task=max(seen.stalls, key=lambda task: max(seen.stalls[task])),
        gap_p50=float(np.percentile(gaps, 50)),
        gap_p99=float(np.percentile(gaps, 99)),
        gap_max=max(gaps),
        quiet_gap_p99=float(np.percentile(quiet.gaps(), 99)),
        state_bytes=seen.state_bytes,
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_main(float(sys.argv[1]))))
