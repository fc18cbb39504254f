"""The columns of the three streams, each made by itself: a pipeline pays only for those it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from krishiv_connectors.nexmark._numbering import (
    active_auction,
    active_person,
    hot_auction,
    hot_person,
    last_auction,
    last_person,
)
from krishiv_connectors.nexmark._random import Dice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["SCHEMAS", "Generator"]

_TIME = pa.timestamp("us", tz="UTC")

SCHEMAS: Mapping[str, pa.Schema] = {
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
"""The columns of each stream, by the benchmark's names in snake case."""

_HOT_CHANNELS = ["Google", "Facebook", "Baidu", "Apple"]
_CHANNELS = [*_HOT_CHANNELS, *(f"channel-{number}" for number in range(10_000))]
_URLS = [f"https://www.nexmark.com/{name.lower()}/item.htm?query=1" for name in _CHANNELS]
_FIRST_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"]
_LAST_NAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"]
_NAMES = [f"{first} {last}" for first in _FIRST_NAMES for last in _LAST_NAMES]
_CITIES = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
]
_STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Generator:
    """Makes events.

    Parameters
    ----------
    seed : int
        Of the whole source.
    events_per_second : float
        Of all three streams together, in event time.
    start : int
        Event time of event 0, microseconds since 1970 UTC.
    auctions : int or None
        Bids go to this many auctions, all alike; None: to recent ones, half of them to a hot one.
    """

    seed: int
    events_per_second: float
    start: int
    auctions: int | None

    def batch(self, stream: str, events: NDArray[np.int64], columns: Sequence[str]) -> pa.RecordBatch:
        """Return the given columns of the given events."""
        dice = Dice(self.seed, events)
        makers = _MAKERS[stream]
        arrays = [makers[name](self, dice, events) for name in columns]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([SCHEMAS[stream].field(name) for name in columns]))

    def times(self, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the event time of each event, microseconds."""
        return self.start + (events.astype(np.float64) * (1_000_000 / self.events_per_second)).astype(np.int64)

    def bid_auction(self, dice: Dice, events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the auction of each bid."""
        if self.auctions is not None:
            return 1_000 + dice.whole(1, self.auctions)
        return np.where(dice.whole(2, 2) > 0, hot_auction(events), active_auction(dice, 1, events))


def _price(dice: Dice, purpose: int) -> NDArray[np.int64]:
    return np.round(10.0 ** (dice.fraction(purpose) * 6.0) * 100.0).astype(np.int64)


def _hot_or(hot: NDArray[np.int64], other: NDArray[np.int64], dice: Dice, purpose: int) -> pa.Array:
    """Return `hot` three times in four, else `other`."""
    return pa.array(np.where(dice.whole(purpose, 4) > 0, hot, other))


def _channel(dice: Dice) -> NDArray[np.int64]:
    hot, cold = len(_HOT_CHANNELS), len(_CHANNELS) - len(_HOT_CHANNELS)
    return np.where(dice.whole(5, 2) > 0, dice.whole(6, hot), hot + dice.whole(7, cold))


def _moment(values: NDArray[np.int64]) -> pa.Array:
    return pa.array(values).cast(_TIME)


_CHANNEL_ARRAY = pa.array(_CHANNELS, pa.string())
_URL_ARRAY = pa.array(_URLS, pa.string())

_MAKERS: Mapping[str, Mapping[str, Callable[[Generator, Dice, NDArray[np.int64]], pa.Array]]] = {
    "bid": {
        "auction": lambda g, d, n: pa.array(g.bid_auction(d, n)),
        "bidder": lambda g, d, n: _hot_or(hot_person(n) + 1, active_person(d, 3, n), d, 4),
        "price": lambda g, d, n: pa.array(_price(d, 8)),
        "channel": lambda g, d, n: _CHANNEL_ARRAY.take(pa.array(_channel(d))),
        "url": lambda g, d, n: _URL_ARRAY.take(pa.array(_channel(d))),
        "date_time": lambda g, d, n: _moment(g.times(n)),
        "extra": lambda g, d, n: d.text(9, 24),
    },
    "auction": {
        "id": lambda g, d, n: pa.array(1_000 + last_auction(n)),
        "item_name": lambda g, d, n: d.text(21, 20),
        "description": lambda g, d, n: d.text(22, 100),
        "initial_bid": lambda g, d, n: pa.array(_price(d, 23)),
        "reserve": lambda g, d, n: pa.array(_price(d, 23) + _price(d, 24)),
        "date_time": lambda g, d, n: _moment(g.times(n)),
        "expires": lambda g, d, n: _moment(g.times(n) + 1 + d.whole(25, _HOUR)),
        "seller": lambda g, d, n: _hot_or(hot_person(n), active_person(d, 26, n), d, 27),
        "category": lambda g, d, n: pa.array(10 + d.whole(28, 5)),
        "extra": lambda g, d, n: d.text(29, 24),
    },
    "person": {
        "id": lambda g, d, n: pa.array(1_000 + last_person(n)),
        "name": lambda g, d, n: d.pick(41, _NAMES),
        "email_address": lambda g, d, n: _email(d),
        "credit_card": lambda g, d, n: _card(d),
        "city": lambda g, d, n: d.pick(45, _CITIES),
        "state": lambda g, d, n: d.pick(46, _STATES),
        "date_time": lambda g, d, n: _moment(g.times(n)),
        "extra": lambda g, d, n: d.text(47, 24),
    },
}


def _email(dice: Dice) -> pa.Array:
    return pc.binary_join_element_wise(dice.text(42, 7), dice.text(43, 5), pa.scalar("@")).cast(pa.string())


def _card(dice: Dice) -> pa.Array:
    numbers = [pa.array(1_000 + dice.whole(48 + part, 9_000)).cast(pa.string()) for part in range(4)]
    return pc.binary_join_element_wise(*numbers, pa.scalar(" "))
