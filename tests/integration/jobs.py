"""What the tests of whole jobs share: rows with event times, windows over them, and sinks that wait or fail."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import krishiv_stream as ks
from krishiv_connectors import SentinelSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krishiv_checkpoint import CommitOutcome, Committable

__all__ = [
    "SCHEMA",
    "Failing",
    "Gate",
    "Gated",
    "at",
    "counts",
    "fired",
    "read",
    "row",
    "rows",
    "source",
    "table",
    "wait_until",
    "windows",
]

SCHEMA = pa.schema([("key", pa.int64()), ("value", pa.int64()), ("moment", pa.timestamp("us", tz="UTC"))])
PATIENCE = 20.0


def at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def row(second: float, key: int = 0, value: int = 1) -> dict[str, Any]:
    return {"key": key, "value": value, "moment": at(second)}


def rows(seconds: Iterable[float], keys: int = 1) -> pa.RecordBatch:
    """Return one batch with a row per second and key."""
    made = [row(second, key) for second in seconds for key in range(keys)]
    return pa.RecordBatch.from_pylist(made, schema=SCHEMA)


def source(items: Sequence[Any] | Mapping[str, Sequence[Any]], *, bounded: bool = True) -> SentinelSource:
    return SentinelSource(items, schema=SCHEMA, bounded=bounded)


def read(what: ks.Source[Any], *, name: str = "rows", delay: float = 0, **options: Any) -> ks.Stream:
    return ks.read(what, event_time="moment", watermark=ks.bounded_delay(delay), name=name, **options)


def windows(stream: ks.Stream, size: float = 10, name: str = "windows") -> ks.Stream:
    return stream.key_by("key").window(ks.tumble(size)).aggregate(name=name, n=ks.count())


def counts(output: pa.Table) -> dict[tuple[int, int], int]:
    """Return the count by key and start of the window; fails if a window came twice."""
    found: dict[tuple[int, int], int] = {}
    for each in output.to_pylist():
        window = (each["key"], round(each["window_start"].timestamp()))
        assert window not in found, f"{window} came twice"
        found[window] = each["n"]
    return found


def fired(sink: ks.MemorySink) -> dict[tuple[int, int], int]:
    """Return the counts that have been committed so far; the job may just be starting."""
    return counts(pa.Table.from_batches(sink.batches)) if sink.batches else {}


def table(sink: ks.MemorySink) -> list[tuple[Any, ...]]:
    return sorted(tuple(each.values()) for each in sink.table().to_pylist())


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again until it is `true`."""
    pause, left = threading.Event(), PATIENCE
    while not true():
        assert left > 0, "it did not come true"
        left -= 0.005
        pause.wait(0.005)


class Gate:
    """A place where a job waits until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._reached = threading.Event()

    def __call__(self) -> None:
        self._reached.set()
        assert self._opened.wait(PATIENCE), "the gate was not opened"

    def open(self) -> None:
        self._opened.set()

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE), "nobody came to the gate"


class _Hooked(ks.MemorySink):
    """A memory sink that calls `hook` first, at each of its `steps`."""

    def __init__(self, hook: Callable[[], None], *steps: str) -> None:
        super().__init__()
        self._hook = hook
        self._steps = steps

    def _pass(self, step: str) -> None:
        if step in self._steps:
            self._hook()

    def open(self, ctx: Any) -> None:
        self._pass("open" if ctx.slot is not None else "open committer")
        super().open(ctx)

    def write(self, batch: pa.RecordBatch) -> None:
        self._pass("write")
        super().write(batch)

    def prepare(self, epoch: int) -> bytes:
        self._pass("prepare")
        return super().prepare(epoch)

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        self._pass("commit")
        return super().commit(epoch, committables)


class Gated(_Hooked):
    """A memory sink that waits at a gate, once it is `closed`."""

    def __init__(self, *steps: str) -> None:
        self.gate = Gate()
        self.closed = threading.Event()
        super().__init__(lambda: self.gate() if self.closed.is_set() else None, *steps)


class Failing(_Hooked):
    """A memory sink that raises at a step, so many `times`; not before `break_down`, if it is not `broken` yet."""

    def __init__(self, step: str, error: BaseException, *, times: int = 1, broken: bool = True) -> None:
        self.left = times if broken else 0
        self.failures = 0
        self._error = error
        super().__init__(self._fail, step)

    def break_down(self, times: int = 1) -> None:
        self.left = times

    def _fail(self) -> None:
        if self.left:
            self.left -= 1
            self.failures += 1
            raise self._error
