"""Nexmark events as a source."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_connectors._errors import GeneratorChanged
from krishiv_connectors._source import Reader, Source, Split
from krishiv_connectors.nexmark._rows import Rows
from krishiv_connectors.nexmark._streams import CYCLE, SCHEMAS, STREAMS, StreamConfig
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from krishiv_connectors._source import SourceContext
    from krishiv_connectors.nexmark._streams import StreamName

__all__ = ["NexmarkSource"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EVENTS_PER_SECOND = 10_000
_SHUFFLE_PRIME = 953


class NexmarkSource(Source[int]):
    """Bids, auctions or people of the Nexmark benchmark: made up, but the same in every run.

    All numbers count rows of the stream that is read. Sources of several streams fit together if their `seed`,
    `start` and `auctions` are equal and their `events_per_second` is left out, or in proportion 46 : 3 : 1.

    Parameters
    ----------
    events : int or None
        Rows in all; None: without end.
    rate : float or None
        Rows per second of the clock, over all splits; None: as fast as they are asked for.
    seed : int
        Another seed gives other rows.
    stream : str
        ``"bid"``, ``"auction"`` or ``"person"``.
    splits : int
        Row *k* is in split *k* modulo `splits`, so that all splits are equally far in event time.
    events_per_second : float or None
        Rows in a second of event time; None: the usual 10,000 of all kinds, so 9,200 bids, 600 auctions, 200 people.
    auctions : int or None
        Bids go to this many auctions, the same all the time (ids from 1,000); None: to the newest 100, as is usual.
    hot_auction_ratio : int
        Of so many bids one is not on the hot auction; 1: no auction is hot.
    start : datetime
        Event time of the first event; without a time zone it is UTC.
    out_of_order_group : int
        Rows are shuffled within groups of so many consecutive ones; 1: event time never falls within a split.

    Notes
    -----
    Columns have the names of Flink's generator in snake case, ``date_time`` is in microseconds, UTC. Texts are taken
    from pools of some thousand, so that they compress better than random ones.

    **Recovery**: a position is the number of the next row; it and `seed` determine everything that follows.

    Examples
    --------
    Five million bids, 10,000 auctions, 500 seconds:

    >>> source = NexmarkSource(5_000_000, auctions=10_000, events_per_second=10_000)
    >>> source.schema().names
    ['auction', 'bidder', 'price', 'channel', 'url', 'date_time', 'extra']
    """

    def __init__(
        self,
        events: int | None = None,
        rate: float | None = None,
        seed: int = 0,
        stream: StreamName = "bid",
        *,
        splits: int = 1,
        events_per_second: float | None = None,
        auctions: int | None = None,
        hot_auction_ratio: int = 2,
        start: datetime = datetime(2015, 7, 15, tzinfo=UTC),
        out_of_order_group: int = 1,
    ) -> None:
        if stream not in STREAMS:
            raise ConfigurationError(
                f"stream is {stream!r}", hint=f"one of {', '.join(map(repr, sorted(STREAMS)))}", stream=stream
            )
        _require(events is None or events >= 0, "events", events, "0 or more, or None for no end")
        _require(rate is None or rate > 0, "rate", rate, "more than 0, or None for no limit")
        _require(splits >= 1, "splits", splits, "1 or more")
        _require(events_per_second is None or events_per_second > 0, "events_per_second", events_per_second, "above 0")
        _require(auctions is None or auctions >= 1, "auctions", auctions, "1 or more, or None for the newest 100")
        _require(hot_auction_ratio >= 1, "hot_auction_ratio", hot_auction_ratio, "1 or more")
        _require(
            out_of_order_group >= 1 and out_of_order_group % _SHUFFLE_PRIME != 0,
            "out_of_order_group",
            out_of_order_group,
            f"1 or more, and no multiple of {_SHUFFLE_PRIME}",
        )
        self._events = events
        self._rate = rate
        self._splits = splits
        self._group = out_of_order_group
        start = start if start.tzinfo else start.replace(tzinfo=UTC)
        self._config = StreamConfig(
            stream=stream,
            seed=seed,
            start=(start - _EPOCH) // _MICROSECOND,
            step=1_000_000 / _all_per_second(stream, events_per_second),
            auctions=auctions,
            hot_auction_ratio=hot_auction_ratio,
        )

    def __repr__(self) -> str:
        return f"NexmarkSource({self._events}, seed={self._config.seed}, stream={self._config.stream!r})"

    def schema(self) -> pa.Schema:
        """Return the columns of the stream."""
        return SCHEMAS[self._config.stream]

    def splits(self) -> Sequence[Split]:
        """Return the splits; each knows what its rows depend on."""
        content = self._content()
        return [
            Split(f"{self._config.stream}-{number}-of-{self._splits}", {"first": number, "content": content})
            for number in range(self._splits)
        ]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        """Open a split at row `position` of the stream.

        Raises
        ------
        GeneratorChanged
            If the position was stored by a generator of other rows.
        """
        if position is not None and split.payload["content"] != self._content():
            raise GeneratorChanged(
                f"split {split.id!r} was read up to row {position} of other rows than this source makes",
                hint="give the source the parameters of the run that stored the checkpoint, or begin anew with "
                "restore='none'",
                stored=split.payload["content"],
                now=self._content(),
            )
        names = ctx.columns if ctx.columns is not None else self.schema().names
        schema = pa.schema([self.schema().field(name) for name in names or self.schema().names[:1]])
        first = split.payload["first"] if position is None else position
        rate = None if self._rate is None else self._rate / self._splits
        return NexmarkReader(first, self._events, self._splits, rate, ctx.batch_rows, partial(self._make, schema))

    def capabilities(self) -> SourceCapabilities:
        """Replayable with exact positions; bounded if the number of events is given."""
        return SourceCapabilities(
            bounded=self._events is not None, replayable=True, exact_positions=True, ordered_replay=True
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it ends."""
        return {"bounded": self._events is not None}

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the time of the first row of `split`, microseconds."""
        if column != "date_time":
            return None
        first = split.payload["first"] // self._group * self._group
        return int(self._config.time_of(self._config.event_number(first)))

    def _make(self, schema: pa.Schema, rows: NDArray[np.int64]) -> pa.RecordBatch:
        return Rows(self._config, self._shuffled(rows)).batch(schema)

    def _shuffled(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._group == 1:
            return rows
        base = rows // self._group * self._group
        moved = base + rows * _SHUFFLE_PRIME % self._group
        # The last group may not be whole: its rows stay where they are.
        return moved if self._events is None else np.where(base + self._group <= self._events, moved, rows)

    def _content(self) -> str:
        """Return what the rows depend on, as text. The number of events is no part of it: more may be added."""
        config = self._config
        return json.dumps(
            [1, config.seed, config.start, str(config.step), config.auctions, config.hot_auction_ratio]
            + ([] if self._group == 1 else [self._group, self._events])
        )


class NexmarkReader(Reader[int]):
    """Makes rows `next`, `next` + `stride`, ... up to `end`, at most `rate` a second."""

    def __init__(
        self,
        next_: int,
        end: int | None,
        stride: int,
        rate: float | None,
        batch_rows: int,
        make: Callable[[NDArray[np.int64]], pa.RecordBatch],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._next = next_
        self._end = end
        self._stride = stride
        self._rate = rate
        self._batch_rows = batch_rows
        self._make = make
        self._clock = clock
        self._opened = clock()
        self._made = 0

    def read(self) -> pa.RecordBatch | None:
        """Return the rows that are due."""
        rows = min(self._batch_rows, self._due())
        stop = self._next + rows * self._stride
        if self._end is not None:
            stop = min(stop, self._end)
        numbers = np.arange(self._next, stop, self._stride)
        if not len(numbers):
            return None
        self._next = int(numbers[-1]) + self._stride
        self._made += len(numbers)
        return self._make(numbers)

    def position(self) -> int:
        """Return the number, in the stream, of the next row."""
        return self._next

    @property
    def finished(self) -> bool:
        """Whether the last row was returned."""
        return self._end is not None and self._next >= self._end

    def _due(self) -> int:
        if self._rate is None:
            return self._batch_rows
        return int((self._clock() - self._opened) * self._rate) - self._made


def _all_per_second(stream: StreamName, events_per_second: float | None) -> Fraction:
    """Return the events of all kinds in a second of event time, given those of one stream."""
    if events_per_second is None:
        return Fraction(_EVENTS_PER_SECOND)
    return Fraction(events_per_second).limit_denominator(1_000) * CYCLE / STREAMS[stream].share


def _require(condition: bool, name: str, value: object, wanted: str) -> None:
    if not condition:
        raise ConfigurationError(f"{name} is {value!r}", hint=f"give {wanted}", **{name: value})
