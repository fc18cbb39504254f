"""A stream of bids to write plans on."""

from __future__ import annotations

import pyarrow as pa
import pytest

import krishiv_stream as ks


@pytest.fixture
def table() -> pa.Table:
    """Two bids."""
    return pa.table(
        {
            "auction": pa.array([1, 2], pa.int64()),
            "price": pa.array([10, 20], pa.int64()),
            "bidder": pa.array(["ann", "bob"]),
            "dateTime": pa.array([0, 1], pa.timestamp("us", tz="UTC")),
            "extra": pa.array([0.5, 1.5]),
        }
    )


@pytest.fixture
def bids(table: pa.Table) -> ks.Stream:
    """The bids, with event time."""
    return ks.read(ks.MemorySource(table), event_time="dateTime", watermark=ks.bounded_delay("4s"), name="bids")


@pytest.fixture
def totals(bids: ks.Stream) -> ks.Stream:
    """Bids per auction and ten seconds."""
    return bids.key_by("auction").window(ks.tumble("10s")).aggregate(bids=ks.count(), revenue=ks.sum("price"))
