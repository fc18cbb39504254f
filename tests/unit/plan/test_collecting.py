"""`collect` brings back the rows of a stream that ends, and refuses one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_stream import col

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_guarantees import SourceCapabilities


class _Endless(ks.MemorySource):
    def capabilities(self) -> SourceCapabilities:
        return replace(super().capabilities(), bounded=False)


def test_collect_gives_rows_and_columns_of_the_stream(bids: ks.Stream) -> None:
    stream = bids.filter(col("price") > 10).select("bidder", "price")
    assert stream.collect().equals(pa.table({"bidder": ["bob"], "price": [20]}).cast(stream.schema))


def test_collect_flushes_windows_at_the_end(totals: ks.Stream) -> None:
    rows = totals.collect().sort_by("auction").to_pylist()
    assert [(row["auction"], row["bids"], row["revenue"]) for row in rows] == [(1, 1, 10), (2, 1, 20)]


def test_collect_gives_the_columns_when_there_is_no_row(bids: ks.Stream) -> None:
    stream = bids.filter(col("price") > 1000)
    assert stream.collect().schema == stream.schema


def test_collect_runs_again_in_the_same_session(bids: ks.Stream, tmp_path: Path) -> None:
    with ks.Session(profile="single-node-durable", data_dir=tmp_path) as session:
        assert [bids.collect(session).num_rows for _ in range(2)] == [2, 2]


def test_collect_refuses_a_stream_that_never_ends(table: pa.Table) -> None:
    stream = ks.read(_Endless(table)).filter(col("price") > 1)
    with pytest.raises(ks.UnboundedCollect, match=r"_Endless at .*never ends"):
        stream.collect()
