"""What the tests of the engine share: an operator that writes down what it gets, and sources that are scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_checkpoint import Ack, BarrierKind, OperatorSnapshot
from krishiv_connectors import Reader, Source, SourceContext, Split
from krishiv_guarantees import SourceCapabilities
from krishiv_stream._engine.control import Control
from krishiv_stream._engine.elements import Barrier
from krishiv_stream._engine.inbox import Cancelled, Inbox
from krishiv_stream._engine.operator import Operator

if TYPE_CHECKING:
    from krishiv_stream._engine.snapshots import SnapshotCollector

__all__ = [
    "Acks",
    "Clock",
    "Heard",
    "Recorder",
    "Script",
    "Taken",
    "barrier",
    "moments",
]

MOMENTS = pa.schema([("x", pa.int64()), ("moment", pa.timestamp("us", tz="UTC"))])
"""Rows of the scripted sources: a number, and an event time."""


def moments(*times: int) -> pa.RecordBatch:
    """Return one row per event time, in microseconds; the number is the same."""
    return pa.RecordBatch.from_arrays(
        [pa.array(times, pa.int64()), pa.array(times, pa.int64()).cast(MOMENTS.field("moment").type)], schema=MOMENTS
    )


def barrier(epoch: int, kind: BarrierKind = BarrierKind.CHECKPOINT) -> Barrier:
    return Barrier(epoch, kind)


class Recorder(Operator):
    """Writes down everything that reaches it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    @property
    def rows(self) -> list[Any]:
        """The first column of every row."""
        return [value for event in self.events if isinstance(event, list) for value in event]

    def process(self, batch: pa.RecordBatch) -> None:
        self.events.append(batch.column(0).to_pylist())

    def watermark(self, time: int) -> None:
        self.events.append(("watermark", time))

    def idle(self) -> None:
        self.events.append("idle")

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        self.events.append(("barrier", barrier.epoch))

    def end_following(self) -> None:
        self.events.append("end")


@dataclass
class Heard:
    """A `Control`, and what the tasks told it."""

    failures: list[tuple[str, BaseException]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.control = Control(1, lambda task, error: self.failures.append((task, error)), self.ended.append)


class Taken:
    """Stands for the snapshot writer: keeps what the tasks hand in."""

    def __init__(self) -> None:
        self.collected: list[tuple[str, SnapshotCollector]] = []

    def submit(self, task: str, snapshots: SnapshotCollector) -> None:
        self.collected.append((task, snapshots))

    def written(self, store: Any = None) -> list[OperatorSnapshot]:
        """Write everything handed in so far."""
        return [write(store) for _, collector in self.collected for write in collector.deferred]


class Acks:
    """Stands for the checkpoint driver: keeps answers, and lets a test wait for them."""

    def __init__(self) -> None:
        self.acks: list[Ack] = []
        self.declined: list[tuple[str, int, BaseException]] = []
        self._came = threading.Semaphore(0)

    def ack(self, ack: Ack) -> None:
        self.acks.append(ack)
        self._came.release()

    def decline(self, task: str, epoch: int, error: BaseException) -> None:
        self.declined.append((task, epoch, error))
        self._came.release()

    def wait(self, answers: int) -> None:
        for _ in range(answers):
            assert self._came.acquire(timeout=10)


class Emptied(Inbox):
    """An inbox that ends the task once nothing more can be taken from it."""

    def get(self):
        with self._filled:
            if self._ready() is None:
                raise Cancelled
        return super().get()


class Clock:
    """A clock that a test sets; `after` so many readings from now it does something, again and again."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._left, self._each = 0, 0
        self._action: Callable[[], object] = lambda: None

    def after(self, readings: int, action: Callable[[], object]) -> None:
        self._left = self._each = readings
        self._action = action

    def __call__(self) -> float:
        self._left -= 1
        if not self._left:
            self._left = self._each
            self._action()
        return self.now


Item = pa.RecordBatch | int | None | Callable[[], None]
"""Rows; a watermark of the source's own; nothing just now; something to do before the next item."""


class Script(Source[int]):
    """Gives prepared items, one per `read`; positions count items.

    Parameters
    ----------
    splits : mapping of str to list of items
        May be changed while it runs, if `discovers`.
    """

    def __init__(
        self,
        splits: Mapping[str, Sequence[Item]],
        *,
        sequential: bool = False,
        discovers: bool = False,
        minima: Mapping[str, int] | None = None,
        bounded: bool = True,
        schema: pa.Schema = MOMENTS,
    ) -> None:
        self.items = dict(splits)
        self.sequential = sequential
        self.discovers = discovers
        self.bounded = bounded
        self.minima = dict(minima or {})
        self.opened: list[tuple[str, int | None]] = []
        self.closed: list[str] = []
        self._schema = schema

    def schema(self) -> pa.Schema:
        return self._schema

    def splits(self) -> Sequence[Split]:
        return [Split(name) for name in self.items]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        self.opened.append((split.id, position))
        return ScriptReader(self, split.id, position or 0)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(
            bounded=self.bounded,
            replayable=True,
            exact_positions=True,
            ordered_replay=True,
            discovers_splits=self.discovers,
        )

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        return self.minima.get(split.id)


class ScriptReader(Reader[int]):
    def __init__(self, source: Script, name: str, position: int) -> None:
        self._source = source
        self._name = name
        self._next = position
        self._watermark: int | None = None

    def read(self) -> pa.RecordBatch | None:
        items = self._source.items[self._name]
        if self._next >= len(items):
            return None
        item = items[self._next]
        self._next += 1
        if isinstance(item, int):
            self._watermark = item
            return None
        if callable(item):
            item()
            return None
        return item

    def watermark(self) -> int | None:
        return self._watermark

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._source.bounded and self._next >= len(self._source.items[self._name])

    def close(self) -> None:
        self._source.closed.append(self._name)
