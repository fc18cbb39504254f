"""`NexmarkSource`: one of the benchmark's three streams, generated, seeded, replayable, paced if wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import numpy as np

from krishiv_connectors._source import Reader, Source, Split
from krishiv_connectors.nexmark._numbering import STREAMS
from krishiv_connectors.nexmark._rows import SCHEMAS, Generator
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors._source import SourceContext

__all__ = ["NexmarkSource"]

_START = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


class NexmarkSource(Source[int]):
    """Rows of the NEXMark benchmark's ``"bid"``, ``"auction"`` or ``"person"`` stream, in event-time order.

    A row depends on the seed and on its number alone: every run gives the same rows, whatever their batches. Row
    ``i`` of the source is in split ``i % splits``; a position counts the rows of its split.

    Parameters
    ----------
    events : int or None
        How many rows of this stream; None: without end.
    rate : float or None
        Rows per second of the clock, over all splits; None: as fast as they are taken.
    seed : int
    stream : {"bid", "auction", "person"}
    splits : int
        How many parts are read side by side.
    events_per_second : float
        Events of all three streams together per second of event time; 46 in 50 are bids.
    start : int
        Event time of the first event, microseconds since 1970 UTC.
    auctions : int or None
        Spread bids evenly over this many auctions; None: over recent ones, half of them on a hot one.

    Raises
    ------
    ConfigurationError
        If an argument is out of range.
    """

    def __init__(
        self,
        events: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        stream: Literal["bid", "auction", "person"] = "bid",
        *,
        splits: int = 1,
        events_per_second: float = 10_000.0,
        start: int = _START,
        auctions: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if stream not in STREAMS:
            raise ConfigurationError(f"there is no stream {stream!r}", hint='one of "bid", "auction", "person"')
        limits = {"events": events, "rate": rate, "splits": splits, "auctions": auctions}
        for name, value in {**limits, "events_per_second": events_per_second}.items():
            if value is not None and value <= 0:
                raise ConfigurationError(f"{name} is {value!r}", hint=f"{name} is above 0")
        self._events = events
        self._rate = rate
        self._stream = stream
        self._splits = splits
        self._generator = Generator(seed, events_per_second, start, auctions)
        self._clock = clock

    def schema(self) -> pa.Schema:
        """Return the columns of the stream."""
        return SCHEMAS[self._stream]

    def splits(self) -> Sequence[Split]:
        """Return the parts that are read side by side."""
        return [Split(f"{self._stream}-{number}", {"number": number}) for number in range(self._splits)]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        """Open a split at the `position`-th of its rows."""
        number = split.payload["number"]
        rows = None if self._events is None else max(0, -(-(self._events - number) // self._splits))
        pace = None if self._rate is None else self._rate / self._splits
        columns = SCHEMAS[self._stream].names if ctx.columns is None else list(ctx.columns)

        def make(first: int, past: int) -> pa.RecordBatch:
            own = np.arange(first, past, dtype=np.int64) * self._splits + number
            return self._generator.batch(self._stream, STREAMS[self._stream].numbers(own), columns)

        return _NexmarkReader(make, position or 0, rows, pace, ctx.batch_rows, self._clock)

    def capabilities(self) -> SourceCapabilities:
        """Replayable from exact positions, in the same order."""
        return SourceCapabilities(
            bounded=self._events is not None, replayable=True, exact_positions=True, ordered_replay=True
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return nothing: every option gives the same guarantee."""
        return {}

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the event time of the split's first row."""
        if column != "date_time":
            return None
        first = np.array([split.payload["number"]], dtype=np.int64)
        return int(self._generator.times(STREAMS[self._stream].numbers(first))[0])


class _NexmarkReader(Reader[int]):
    def __init__(
        self,
        make: Callable[[int, int], pa.RecordBatch],
        position: int,
        rows: int | None,
        pace: float | None,
        batch_rows: int,
        clock: Callable[[], float],
    ) -> None:
        self._make = make
        self._next = self._first = position
        self._rows = rows
        self._pace = pace
        self._batch_rows = batch_rows
        self._clock = clock
        self._opened = clock()

    def read(self) -> pa.RecordBatch | None:
        past = self._next + self._batch_rows
        if self._rows is not None:
            past = min(past, self._rows)
        if self._pace is not None:
            past = min(past, self._first + int((self._clock() - self._opened) * self._pace))
        if past <= self._next:
            return None
        batch = self._make(self._next, past)
        self._next = past
        return batch

    def position(self) -> int:
        return self._next

    @property
    def finished(self) -> bool:
        return self._rows is not None and self._next >= self._rows
