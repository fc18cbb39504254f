"""The three streams: their columns, which events are theirs, and when these happen.

Of 50 consecutive events the first is a person, the next three are auctions, the other 46 bids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SCHEMAS", "STREAMS", "StreamConfig", "StreamName"]

StreamName = Literal["bid", "auction", "person"]

CYCLE = 50
"""Consecutive events that hold one person, three auctions and 46 bids."""
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
