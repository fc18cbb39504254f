"""The queries, each three ways: our pipeline, DataFusion's SQL, and where it says something a bare pyarrow loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

import krishiv_stream as ks
from krishiv_stream import col, lit

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

__all__ = ["QUERIES", "Loop", "Query"]


@dataclass(frozen=True)
class Loop:
    """What a bare loop over the files reads, and does with each batch."""

    columns: tuple[str, ...]
    step: Callable[[pa.RecordBatch], pa.RecordBatch]


@dataclass(frozen=True)
class Query:
    """One query.

    Parameters
    ----------
    title : str
        What it does.
    sql : str
        The same over a table ``bids``.
    pipeline : callable
        From the stream of bids to the stream of results.
    windowed : bool
        Whether event time matters: then no file may come twice.
    """

    name: str
    title: str
    sql: str
    pipeline: Callable[[ks.Stream], ks.Stream]
    loop: Loop | None = None
    windowed: bool = False


def _q0(bids: ks.Stream) -> ks.Stream:
    return bids.select("auction", "bidder", "price", "date_time")


def _q1(bids: ks.Stream) -> ks.Stream:
    return bids.select("auction", "bidder", (col("price") * lit(0.908)).alias("price"), "date_time")


def _q2(bids: ks.Stream) -> ks.Stream:
    return bids.filter(col("auction") % lit(123) == lit(0)).select("auction", "price")


def _window(bids: ks.Stream) -> ks.Stream:
    return (
        bids.key_by("auction")
        .window(ks.tumble("10s"))
        .aggregate(bids=ks.count(), revenue=ks.sum("price"), highest=ks.max("price"))
    )


def _multiples(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.equal(pc.remainder(batch.column("auction"), 123), 0))


_ALL = (
    Query(
        "q0",
        "projection",
        "SELECT auction, bidder, price, date_time FROM bids",
        _q0,
        Loop(("auction", "bidder", "price", "date_time"), lambda batch: batch),
    ),
    Query("q1", "conversion", "SELECT auction, bidder, price * 0.908 AS price, date_time FROM bids", _q1),
    Query(
        "q2",
        "filter",
        "SELECT auction, price FROM bids WHERE auction % 123 = 0",
        _q2,
        Loop(("auction", "price"), _multiples),
    ),
    Query(
        "window",
        "10 s tumbling, count + sum + max by auction",
        """
        SELECT auction, window_start, window_start + INTERVAL '10 seconds' AS window_end, bids, revenue, highest
        FROM (
            SELECT auction, date_bin(INTERVAL '10 seconds', date_time) AS window_start,
                   count(*) AS bids, sum(price) AS revenue, max(price) AS highest
            FROM bids GROUP BY 1, 2
        )
        """,
        _window,
        windowed=True,
    ),
)

QUERIES = {query.name: query for query in _ALL}
"""Every query by name."""
