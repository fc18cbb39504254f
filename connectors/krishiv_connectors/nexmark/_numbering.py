"""How events are numbered: of every 50 the first is a person, the next 3 are auctions, the other 46 bids.

These proportions, the first ids and the windows of active people and auctions are those of NEXMark as Apache Beam and
Flink implement it (`NexmarkConfiguration`, `GeneratorConfig`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from krishiv_connectors.nexmark._random import Dice

__all__ = [
    "STREAMS",
    "StreamShape",
    "active_auction",
    "active_person",
    "hot_auction",
    "hot_person",
    "last_auction",
    "last_person",
]

_CYCLE = 50
_PEOPLE, _AUCTIONS = 1, 3
_FIRST_ID = 1_000
_ACTIVE_PEOPLE, _ACTIVE_AUCTIONS = 1_000, 100
_LEAD = 10
"""Ids that an event may name although their person or auction comes a little later."""


@dataclass(frozen=True)
class StreamShape:
    """Where the events of one stream are among all events: `share` of each cycle, from `first` on."""

    share: int
    first: int

    def numbers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the event number of each of `rows` of this stream."""
        return rows // self.share * _CYCLE + self.first + rows % self.share


STREAMS = {
    "person": StreamShape(_PEOPLE, 0),
    "auction": StreamShape(_AUCTIONS, _PEOPLE),
    "bid": StreamShape(_CYCLE - _PEOPLE - _AUCTIONS, _PEOPLE + _AUCTIONS),
}
"""The three streams by name."""


def last_person(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the newest person at each event."""
    return events // _CYCLE


def last_auction(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the newest auction at each event; at a person, the last one before it."""
    offset = events % _CYCLE
    cycle = events // _CYCLE
    behind = offset < _PEOPLE
    within = np.where(behind, _AUCTIONS - 1, np.minimum(offset - _PEOPLE, _AUCTIONS - 1))
    return np.maximum((cycle - behind) * _AUCTIONS + within, 0)


def active_person(dice: Dice, purpose: int, events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the id of one of the newest people, or of one about to appear."""
    return _FIRST_ID + _recent(dice, purpose, last_person(events), _ACTIVE_PEOPLE)


def active_auction(dice: Dice, purpose: int, events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the id of one of the newest auctions, or of one about to appear."""
    return _FIRST_ID + _recent(dice, purpose, last_auction(events), _ACTIVE_AUCTIONS)


def hot_auction(events: NDArray[np.int64], every: int = 100) -> NDArray[np.int64]:
    """Return the id of the auction that many bid on at each event: one in `every`."""
    return _FIRST_ID + last_auction(events) // every * every


def hot_person(events: NDArray[np.int64], every: int = 100) -> NDArray[np.int64]:
    """Return the id of the person who does much at each event: one in `every`."""
    return _FIRST_ID + last_person(events) // every * every


def _recent(dice: Dice, purpose: int, last: NDArray[np.int64], active: int) -> NDArray[np.int64]:
    span = np.minimum(last, active)
    return last - span + dice.whole(purpose, span + _LEAD)
