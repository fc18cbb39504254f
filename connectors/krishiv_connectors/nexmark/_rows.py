"""How each column of a row follows from its number.

Names, proportions and distributions are those of the Nexmark generators of Apache Beam and Flink: half of the bids go
to a hot auction, three quarters come from a hot bidder, three quarters of the auctions are a hot seller's.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_connectors.nexmark._draws import Draws
from krishiv_connectors.nexmark._streams import CYCLE, STREAMS
from krishiv_connectors.nexmark._words import COLD_CHANNELS, HOT_CHANNELS, pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from krishiv_connectors.nexmark._streams import StreamConfig

    Integers = NDArray[np.int64]

__all__ = ["Rows"]

_FIRST_ID = 1_000
_FIRST_CATEGORY = 10
_CATEGORIES = 5
_HOT_EVERY = 100
_HOT_CHANNEL_RATIO = 2
_HOT_PEOPLE_RATIO = 4
_IN_FLIGHT_AUCTIONS = 100
_ACTIVE_PEOPLE = 1_000
_LEAD = 10


class Rows:
    """Some rows of a stream.

    Parameters
    ----------
    numbers : array of int64
        Their numbers in the stream.
    """

    def __init__(self, config: StreamConfig, numbers: Integers) -> None:
        self.config = config
        self.numbers = numbers
        self.events: Integers = np.asarray(config.event_number(numbers))
        self.draws = Draws(config.seed, self.events)

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the columns of `schema`; no other is computed."""
        return pa.RecordBatch.from_arrays([self._column(field) for field in schema], schema=schema)

    @cached_property
    def times(self) -> Integers:
        """Event times, microseconds since 1970 UTC."""
        return np.asarray(self.config.time_of(self.events))

    @property
    def cycles(self) -> Integers:
        """The cycle of 50 events that each row is in; also the newest person at that time."""
        return self.events // CYCLE

    def cold(self, field: str, ratio: int) -> NDArray[np.bool_]:
        """Return for each row whether it is the one in `ratio` that is not on the hot one."""
        chosen: NDArray[np.bool_] = self.draws.below(f"{field} is cold", ratio) == 0
        return chosen

    def _column(self, field: pa.Field) -> pa.Array:
        stream = self.config.stream
        if (stream, field.name) in _NUMBERS:
            return pa.array(_NUMBERS[stream, field.name](self)).cast(field.type)
        texts = pool(f"extra {stream}" if field.name == "extra" else field.name, self.config.seed)
        # A channel has one address, so both are taken by the same number.
        by_channel = field.name in ("channel", "url")
        return texts.take(pa.array(_channels(self) if by_channel else self.draws.below(field.name, len(texts))))


def _channels(rows: Rows) -> Integers:
    hot = rows.draws.below("hot channel", len(HOT_CHANNELS))
    cold = len(HOT_CHANNELS) + rows.draws.below("cold channel", COLD_CHANNELS)
    return np.where(rows.cold("channel", _HOT_CHANNEL_RATIO), cold, hot)


def _ids(rows: Rows) -> Integers:
    return _FIRST_ID + rows.numbers


def _prices(rows: Rows) -> Integers:
    return rows.draws.prices("price")


def _reserves(rows: Rows) -> Integers:
    return _prices(rows) + rows.draws.prices("reserve")


def _auctions(rows: Rows) -> Integers:
    """Return the auctions that bids go to: the hot one, or one in flight or about to come."""
    share = STREAMS["auction"].share
    newest = rows.cycles * share + share - 1
    hot = newest // _HOT_EVERY * _HOT_EVERY
    fixed = rows.config.auctions
    if fixed is None:
        oldest = np.maximum(newest - _IN_FLIGHT_AUCTIONS, 0)
        cold = oldest + rows.draws.below("auction", newest - oldest + 1 + _LEAD)
    else:
        hot %= fixed
        cold = rows.draws.below("auction", fixed)
    return _FIRST_ID + np.where(rows.cold("auction", rows.config.hot_auction_ratio), cold, hot)


def _bidders(rows: Rows) -> Integers:
    hot = rows.cycles // _HOT_EVERY * _HOT_EVERY + 1
    return _FIRST_ID + np.where(rows.cold("bidder", _HOT_PEOPLE_RATIO), _people(rows, "bidder"), hot)


def _sellers(rows: Rows) -> Integers:
    hot = rows.cycles // _HOT_EVERY * _HOT_EVERY
    return _FIRST_ID + np.where(rows.cold("seller", _HOT_PEOPLE_RATIO), _people(rows, "seller"), hot)


def _people(rows: Rows, field: str) -> Integers:
    """Return one of the newest people, or of those about to come."""
    people = rows.cycles + 1
    active = np.minimum(people, _ACTIVE_PEOPLE)
    chosen: Integers = people - active + rows.draws.below(field, active + _LEAD)
    return chosen


def _times(rows: Rows) -> Integers:
    return rows.times


def _expiries(rows: Rows) -> Integers:
    """Return times up to twice as far ahead as the auctions in flight reach."""
    ahead = _IN_FLIGHT_AUCTIONS * CYCLE // STREAMS["auction"].share
    horizon = np.asarray(rows.config.time_of(rows.events + ahead)) - rows.times
    length = rows.draws.bits("expires") % np.maximum(2 * horizon, 1).astype(np.uint64)
    return rows.times + 1_000 + length.astype(np.int64)


def _categories(rows: Rows) -> Integers:
    return _FIRST_CATEGORY + rows.draws.below("category", _CATEGORIES)


_NUMBERS: dict[tuple[str, str], Callable[[Rows], Integers]] = {
    ("bid", "auction"): _auctions,
    ("bid", "bidder"): _bidders,
    ("bid", "price"): _prices,
    ("bid", "date_time"): _times,
    ("auction", "id"): _ids,
    ("auction", "initial_bid"): _prices,
    ("auction", "reserve"): _reserves,
    ("auction", "date_time"): _times,
    ("auction", "expires"): _expiries,
    ("auction", "seller"): _sellers,
    ("auction", "category"): _categories,
    ("person", "id"): _ids,
    ("person", "date_time"): _times,
}
