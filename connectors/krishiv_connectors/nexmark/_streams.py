"""The three streams: how many rows of which kind, and how each column of a row follows from its number.

Names, proportions and distributions are those of the Nexmark generators of Apache Beam and Flink: of 50 consecutive
events the first is a person, the next 3 are auctions, the other 46 bids; half of the bids go to a hot auction, three
quarters come from a hot bidder, three quarters of the auctions are a hot seller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from krishiv_connectors.nexmark._draws import Draws
from krishiv_connectors.nexmark._words import HOT_CHANNELS, pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["SCHEMAS", "STREAMS", "Rows", "StreamConfig", "StreamName"]

StreamName = Literal["bid", "auction", "person"]

CYCLE = 50
"""Consecutive events that hold one person, three auctions and 46 bids."""

_FIRST_ID = 1_000
_FIRST_CATEGORY = 10
_CATEGORIES = 5
_HOT_EVERY = 100
_IN_FLIGHT_AUCTIONS = 100
_ACTIVE_PEOPLE = 1_000
_LEAD = 10
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class _Kind:
    """Where a stream's events are in a cycle: `share` of them, from `first` on."""

    first: int
    share: int


STREAMS: dict[StreamName, _Kind] = {"person": _Kind(0, 1), "auction": _Kind(1, 3), "bid": _Kind(4, 46)}

SCHEMAS: dict[StreamName, pa.Schema] = {
    "bid": pa.schema(
        [
            ("auction", pa.int64()),
            ("bidder", pa.int64()),
            ("price", pa.int64()),
            ("channel", pa.string()),
            ("url", pa.string()),
            ("date_time", _TIME),
            ("extra", pa.string()),
        ]
    ),
    "auction": pa.schema(
        [
            ("id", pa.int64()),
            ("item_name", pa.string()),
            ("description", pa.string()),
            ("initial_bid", pa.int64()),
            ("reserve", pa.int64()),
            ("date_time", _TIME),
            ("expires", _TIME),
            ("seller", pa.int64()),
            ("category", pa.int64()),
            ("extra", pa.string()),
        ]
    ),
    "person": pa.schema(
        [
            ("id", pa.int64()),
            ("name", pa.string()),
            ("email_address", pa.string()),
            ("credit_card", pa.string()),
            ("city", pa.string()),
            ("state", pa.string()),
            ("date_time", _TIME),
            ("extra", pa.string()),
        ]
    ),
}


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """What decides the content of a stream; see `NexmarkSource`.

    Parameters
    ----------
    start : int
        Event time of event 0, microseconds since 1970 UTC.
    step : Fraction
        Microseconds of event time from one event, of whatever kind, to the next.
    """

    stream: StreamName
    seed: int
    start: int
    step: Fraction
    auctions: int | None
    hot_auction_ratio: int

    def event_number(self, row: NDArray[np.int64] | int) -> NDArray[np.int64] | int:
        """Return the number, among events of all kinds, of row `row` of the stream."""
        kind = STREAMS[self.stream]
        return row // kind.share * CYCLE + kind.first + row % kind.share

    def time_of(self, event: NDArray[np.int64] | int) -> NDArray[np.int64] | int:
        """Return the event time of event `event`, microseconds since 1970 UTC."""
        return self.start + event * self.step.numerator // self.step.denominator


class Rows:
    """Some rows of a stream, column by column.

    Parameters
    ----------
    rows : array of int64
        Their numbers in the stream.
    """

    def __init__(self, config: StreamConfig, rows: NDArray[np.int64]) -> None:
        self._config = config
        self._rows = rows
        self._events = np.asarray(config.event_number(rows))
        self._draws = Draws(config.seed, self._events)

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the columns of `schema`; no other is computed."""
        return pa.RecordBatch.from_arrays([self._column(field) for field in schema], schema=schema)

    def _column(self, field: pa.Field) -> pa.Array:
        if field.type == pa.string():
            return self._text(field.name)
        return pa.array(_NUMBERS[self._config.stream, field.name](self)).cast(field.type)

    def _text(self, name: str) -> pa.Array:
        source = f"extra {self._config.stream}" if name == "extra" else name
        texts = pool(source, self._config.seed)
        # A channel has one address.
        numbers = self._channels if name in ("channel", "url") else self._draws.below(name, len(texts))
        return texts.take(pa.array(numbers))

    @property
    def _channels(self) -> NDArray[np.int64]:
        hot = self._draws.below("hot channel", len(HOT_CHANNELS))
        cold = len(HOT_CHANNELS) + self._draws.below("cold channel", len(pool("channel", 0)) - len(HOT_CHANNELS))
        return np.where(self._one_in("channel is cold", 2), cold, hot)

    @cached_property
    def _times(self) -> NDArray[np.int64]:
        return np.asarray(self._config.time_of(self._events))

    def _ids(self) -> NDArray[np.int64]:
        return _FIRST_ID + self._rows

    def _prices(self) -> NDArray[np.int64]:
        return self._draws.prices("price")

    def _bid_auctions(self) -> NDArray[np.int64]:
        newest = self._events // CYCLE * STREAMS["auction"].share + STREAMS["auction"].share - 1
        hot = newest // _HOT_EVERY * _HOT_EVERY
        fixed = self._config.auctions
        if fixed is None:
            oldest = np.maximum(newest - _IN_FLIGHT_AUCTIONS, 0)
            cold = oldest + self._draws.below("auction", newest - oldest + 1 + _LEAD)
        else:
            hot %= fixed
            cold = self._draws.below("auction", fixed)
        return _FIRST_ID + np.where(self._one_in("auction is cold", self._config.hot_auction_ratio), cold, hot)

    def _bidders(self) -> NDArray[np.int64]:
        hot = self._events // CYCLE // _HOT_EVERY * _HOT_EVERY + 1
        return _FIRST_ID + np.where(self._one_in("bidder is cold", 4), self._people("bidder"), hot)

    def _sellers(self) -> NDArray[np.int64]:
        hot = self._events // CYCLE // _HOT_EVERY * _HOT_EVERY
        return _FIRST_ID + np.where(self._one_in("seller is cold", 4), self._people("seller"), hot)

    def _people(self, field: str) -> NDArray[np.int64]:
        """Return one of the newest people, or of those about to come."""
        people = self._events // CYCLE + 1
        active = np.minimum(people, _ACTIVE_PEOPLE)
        return people - active + self._draws.below(field, active + _LEAD)

    def _reserves(self) -> NDArray[np.int64]:
        return self._prices() + self._draws.prices("reserve")

    def _expiries(self) -> NDArray[np.int64]:
        """Return times up to twice as far ahead as the auctions in flight reach."""
        ahead = _IN_FLIGHT_AUCTIONS * CYCLE // STREAMS["auction"].share
        horizon = np.asarray(self._config.time_of(self._events + ahead)) - self._times
        length = self._draws.bits("expires") % np.maximum(2 * horizon, 1).astype(np.uint64)
        return self._times + 1_000 + length.astype(np.int64)

    def _categories(self) -> NDArray[np.int64]:
        return _FIRST_CATEGORY + self._draws.below("category", _CATEGORIES)

    def _one_in(self, field: str, ratio: int) -> NDArray[np.bool_]:
        return self._draws.below(field, ratio) == 0

    def times(self) -> NDArray[np.int64]:
        """Return event times, microseconds since 1970 UTC."""
        return self._times


_NUMBERS: dict[tuple[str, str], Callable[[Rows], NDArray[np.int64]]] = {
    ("bid", "auction"): Rows._bid_auctions,
    ("bid", "bidder"): Rows._bidders,
    ("bid", "price"): Rows._prices,
    ("bid", "date_time"): Rows.times,
    ("auction", "id"): Rows._ids,
    ("auction", "initial_bid"): Rows._prices,
    ("auction", "reserve"): Rows._reserves,
    ("auction", "date_time"): Rows.times,
    ("auction", "expires"): Rows._expiries,
    ("auction", "seller"): Rows._sellers,
    ("auction", "category"): Rows._categories,
    ("person", "id"): Rows._ids,
    ("person", "date_time"): Rows.times,
}
