"""Nexmark rows: the same in every run, whatever the batches; with the field's names and proportions."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors import NexmarkSource
from krishiv_connectors._errors import GeneratorChanged
from krishiv_connectors.nexmark._nexmark_source import NexmarkReader
from krishiv_guarantees import ConfigurationError
from tests.unit.sources.support import context, read_all, read_in_lives, read_split

if TYPE_CHECKING:
    from krishiv_connectors.nexmark._streams import StreamName

STREAMS: list[StreamName] = ["bid", "auction", "person"]


def column(table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Return a column of numbers or times as an array."""
    values = table.column(name)
    found: np.ndarray[Any, np.dtype[Any]] = (
        values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
    ).to_numpy()
    return found


@settings(max_examples=40, deadline=None)
@given(
    stream=st.sampled_from(STREAMS),
    seed=st.integers(0, 2**64),
    splits=st.integers(1, 3),
    group=st.sampled_from([1, 7]),
    lives=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), max_size=3),
)
def test_rows_do_not_depend_on_batches_restarts_or_splits(
    stream: StreamName, seed: int, splits: int, group: int, lives: list[tuple[int, int]]
) -> None:
    options: dict[str, Any] = {"seed": seed, "stream": stream, "out_of_order_group": group}
    whole = read_all(NexmarkSource(200, **options)).to_pylist()
    assert len(whole) == 200
    source = NexmarkSource(200, splits=splits, **options)
    for number, split in enumerate(source.splits()):
        assert read_in_lives(source, split, lives) == whole[number::splits]


@pytest.mark.parametrize("stream", STREAMS)
def test_projection_gives_the_same_values(stream: StreamName) -> None:
    source = NexmarkSource(300, stream=stream)
    whole = read_all(source)
    for name in source.schema().names:
        assert read_all(source, context(columns=(name,))).equals(whole.select([name]))
    assert read_all(source, context(columns=())).num_rows == 300


def test_rows_are_those_of_every_earlier_version() -> None:
    (first,) = read_all(NexmarkSource(1, seed=7)).to_pylist()
    assert first == {
        "auction": 1000,
        "bidder": 1008,
        "price": 111,
        "channel": "channel-1017",
        "url": "https://www.nexmark.com/sixl/tcop/rkgcs/item.htm?query=1&channel_id=532676608",
        "date_time": datetime(2015, 7, 15, 0, 0, 0, 400, tzinfo=UTC),
        "extra": "jrikgxdyxbvsczppwfnijchxnrpahfctoqqwbpaeqinlmxjooxihakinyxkjeigjnqdad",
    }


def test_seeds_give_other_rows() -> None:
    one, two = (column(read_all(NexmarkSource(100, seed=seed)), "price") for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_more_events_keep_the_rows_before_them() -> None:
    assert read_all(NexmarkSource(150)).slice(0, 100).equals(read_all(NexmarkSource(100)))


def test_streams_share_one_time() -> None:
    bids, auctions, people = (read_all(NexmarkSource(460, stream=stream)) for stream in STREAMS)
    start = int(datetime(2015, 7, 15, tzinfo=UTC).timestamp() * 1_000_000)
    assert column(people, "date_time")[:3].tolist() == [start, start + 5_000, start + 10_000]
    assert column(auctions, "date_time")[:4].tolist() == [start + 100, start + 200, start + 300, start + 5_100]
    times = column(bids, "date_time")
    assert times[[0, 45, 46]].tolist() == [start + 400, start + 4_900, start + 5_400]


def test_events_per_second_count_rows_of_the_stream() -> None:
    bids = column(read_all(NexmarkSource(50_001, events_per_second=10_000)), "date_time")
    assert abs(int(bids[-1] - bids[0]) - 5_000_000) < 1_000
    people = column(read_all(NexmarkSource(101, stream="person", events_per_second=0.5)), "date_time")
    assert int(people[-1] - people[0]) == 200_000_000


def test_bids_follow_the_newest_auctions_and_people() -> None:
    bids = read_all(NexmarkSource(46_000))
    auctions, bidders = column(bids, "auction"), column(bids, "bidder")
    newest = 1_000 + np.arange(46_000) // 46 * 3 + 2
    assert auctions.min() >= 1_000
    assert np.all(auctions <= newest + 10)
    assert np.all(auctions >= newest - 200)
    assert np.all(bidders <= 1_000 + np.arange(46_000) // 46 + 10)


def test_hot_ones_get_their_share() -> None:
    bids, auctions = read_all(NexmarkSource(46_000)), read_all(NexmarkSource(3_000, stream="auction"))
    cycle = np.arange(46_000) // 46
    hot_auction = column(bids, "auction") == 1_000 + (cycle * 3 + 2) // 100 * 100
    hot_bidder = column(bids, "bidder") == 1_001 + cycle // 100 * 100
    hot_seller = column(auctions, "seller") == 1_000 + np.arange(3_000) // 3 // 100 * 100
    hot_channel = pc.is_in(bids["channel"], pa.array(["Google", "Facebook", "Baidu", "Apple"])).to_numpy()
    assert hot_auction.mean() == pytest.approx(0.5, abs=0.02)
    assert hot_bidder.mean() == pytest.approx(0.75, abs=0.02)
    assert hot_seller.mean() == pytest.approx(0.75, abs=0.04)
    assert hot_channel.mean() == pytest.approx(0.5, abs=0.02)


def test_fixed_number_of_auctions_gets_all_bids() -> None:
    bids = column(read_all(NexmarkSource(50_000, auctions=100, hot_auction_ratio=1)), "auction")
    ids, counts = np.unique(bids, return_counts=True)
    assert ids.tolist() == list(range(1_000, 1_100))
    assert counts.min() > 350
    assert counts.max() < 650


def test_prices_are_spread_over_six_orders_of_magnitude() -> None:
    prices = column(read_all(NexmarkSource(60_000)), "price")
    assert prices.min() >= 100
    assert prices.max() < 100_000_000
    shares = np.histogram(np.log10(prices), bins=6, range=(2, 8))[0] / 60_000
    assert np.allclose(shares, 1 / 6, atol=0.01)


def test_auctions_and_people_are_numbered_one_by_one_and_belong_together() -> None:
    auctions = read_all(NexmarkSource(300, stream="auction"))
    assert column(auctions, "id").tolist() == list(range(1_000, 1_300))
    assert column(read_all(NexmarkSource(300, stream="person")), "id").tolist() == list(range(1_000, 1_300))
    assert np.all(column(auctions, "expires") > column(auctions, "date_time"))
    assert np.all(column(auctions, "reserve") > column(auctions, "initial_bid"))
    assert set(column(auctions, "category").tolist()) == {10, 11, 12, 13, 14}


def test_channel_has_one_address() -> None:
    bids = read_all(NexmarkSource(20_000)).select(["channel", "url"])
    pairs = bids.group_by(["channel", "url"]).aggregate([])
    assert pairs.num_rows == len(pc.unique(bids["channel"]))
    assert 0.3 < pc.mean(pc.match_substring(bids["url"], "channel_id=").cast(pa.int8())).as_py() < 0.5


def test_event_time_rises_unless_rows_are_shuffled() -> None:
    assert np.all(np.diff(column(read_all(NexmarkSource(1_000)), "date_time")) > 0)
    source = NexmarkSource(1_003, out_of_order_group=10)
    times = column(read_all(source), "date_time")
    assert not np.all(np.diff(times) > 0)
    assert sorted(times) == column(read_all(NexmarkSource(1_003)), "date_time").tolist()
    assert np.all(times[1_000:] > times[:1_000].max())
    assert source.event_time_minimum(source.splits()[0], "date_time") == times.min()


def test_event_time_minimum_is_the_first_row_of_each_split() -> None:
    source = NexmarkSource(10, splits=3)
    for split in source.splits():
        first = column(read_split(source, split), "date_time")[0]
        assert source.event_time_minimum(split, "date_time") == first
        assert source.event_time_minimum(split, "price") is None


def test_rate_gives_rows_as_the_clock_goes() -> None:
    now = [0.0]
    source = NexmarkSource(rate=100)
    reader = NexmarkReader(0, None, 1, 100, 65_536, lambda rows: pa.record_batch({"row": rows}), lambda: now[0])
    with closing(reader):
        assert reader.read() is None
        now[0] = 0.5
        batch = reader.read()
        assert batch is not None
        assert batch.num_rows == 50
        assert reader.read() is None
        assert reader.position() == 50
        assert not reader.finished
    assert not source.capabilities().bounded


def test_position_of_another_generator_is_refused() -> None:
    stored = NexmarkSource(100, seed=1).splits()[0]
    with pytest.raises(GeneratorChanged, match="bid-0-of-1") as caught:
        NexmarkSource(100, seed=2).open(stored, 50, context())
    assert caught.value.code == "KS-GENERATOR-CHANGED"
    NexmarkSource(200, seed=1, rate=10).open(stored, 50, context()).close()
    NexmarkSource(100, seed=2).open(stored, None, context()).close()


def test_capabilities_depend_on_the_number_of_events() -> None:
    assert NexmarkSource(10).capabilities().bounded
    assert NexmarkSource(10).capabilities().exact_positions
    assert NexmarkSource(10).guarantee_config() != NexmarkSource().guarantee_config()


@pytest.mark.parametrize(
    "options",
    [
        {"stream": "bids"},
        {"events": -1},
        {"rate": 0},
        {"splits": 0},
        {"events_per_second": 0},
        {"auctions": 0},
        {"hot_auction_ratio": 0},
        {"out_of_order_group": 953},
    ],
)
def test_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))) as caught:
        NexmarkSource(**options)
    assert caught.value.hint
