"""One window over more rows than fit the memory budget, in a process of its own whose memory is watched.

``python -m tests.integration.large_window <folder> <rows> <memory_budget>`` prints JSON: the most anonymous memory
beyond what was there at first, the most that RocksDB's files held, and what came out of the window.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import krishiv_stream as ks
from krishiv_guarantees import SourceCapabilities

SCHEMA = pa.schema([("key", pa.int64()), ("value", pa.int64()), ("moment", pa.timestamp("us", tz="UTC"))])
KEYS = 1_000


class Numbers(ks.Source[int]):
    """`rows` numbers, made as they are read; calls `every` now and then."""

    def __init__(self, rows: int, every: Any) -> None:
        self.rows = rows
        self.every = every

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> list[ks.Split]:
        return [ks.Split("numbers")]

    def open(self, split: ks.Split, position: int | None, ctx: Any) -> ks.Reader[int]:
        return _Reader(self, position or 0, ctx.batch_rows)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)


class _Reader(ks.Reader[int]):
    def __init__(self, source: Numbers, position: int, batch_rows: int) -> None:
        self._source = source
        self._next = position
        self._rows = batch_rows

    def read(self) -> pa.RecordBatch | None:
        self._source.every(self._next)
        numbers = np.arange(self._next, min(self._next + self._rows, self._source.rows))
        self._next += len(numbers)
        moments = pa.array(numbers).cast(SCHEMA.field("moment").type)
        return pa.RecordBatch.from_arrays([pa.array(numbers % KEYS), pa.array(numbers), moments], schema=SCHEMA)

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._next >= self._source.rows


def anonymous() -> int:
    """Return the bytes of memory of this process that no file stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no RssAnon in /proc/self/status")


def main(folder: Path, rows: int, budget: str) -> None:
    most = {"memory": 0, "disk": 0, "epochs": 0}
    checkpoints = rows // 2
    asked: list[threading.Thread] = []

    def look(read: int) -> None:
        most["memory"] = max(most["memory"], anonymous() - before)
        work = folder.glob("jobs/large/work/**/*")
        most["disk"] = max(most["disk"], sum(path.stat().st_size for path in work if path.is_file()))
        if read // checkpoints > len(asked):
            asked.append(threading.Thread(target=handle.checkpoint))
            asked[-1].start()

    stream = ks.read(Numbers(rows, look), event_time="moment", watermark=ks.monotonic(), name="numbers")
    window = stream.key_by("key").window(ks.tumble("365d")).aggregate(n=ks.count(), total=ks.sum("value"))
    sink = ks.MemorySink()
    options: dict[str, Any] = {"profile": "single-node-durable", "data_dir": folder, "memory_budget": budget}
    with ks.Session(**options, checkpoint_interval=None) as session:
        before = anonymous()
        handle = session.start(window.write(sink, name="out"), job="large")
        most["epochs"] = handle.wait(60).status.epoch_completed
    for thread in asked:
        thread.join()
    out = sink.table()
    result = {"n": sum(out["n"].to_pylist()), "total": sum(out["total"].to_pylist()), "groups": out.num_rows}
    print(json.dumps({**most, **result}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
