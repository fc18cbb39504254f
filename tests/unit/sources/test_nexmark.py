"""The generated benchmark streams: the same rows in any batches, the benchmark's proportions, paced if wanted."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krishiv_connectors import NexmarkSource, SourceContext
from krishiv_guarantees import ConfigurationError

STREAMS = ["bid", "auction", "person"]


def rows(source: NexmarkSource, position: int = 0, batch_rows: int = 1_000, columns=None, split: int = 0) -> pa.Table:
    ctx = SourceContext(batch_rows=batch_rows, columns=columns)
    reader = source.open(source.splits()[split], position, ctx)
    batches = []
    while not reader.finished:
        batches.append(reader.read())
        assert batches[-1].num_rows <= batch_rows
    schema = batches[0].schema if batches else source.schema()
    return pa.Table.from_batches(batches, schema)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(STREAMS), st.integers(0, 300), st.integers(1, 400), st.integers(0, 2**40))
def test_rows_are_the_same_from_any_position_in_any_batches(stream, position, batch_rows, seed):
    source = NexmarkSource(events=300, stream=stream, seed=seed)
    assert rows(source, position, batch_rows).equals(rows(source).slice(position))


@pytest.mark.parametrize("stream", STREAMS)
def test_a_projection_gives_the_same_values(stream):
    source = NexmarkSource(events=500, stream=stream)
    whole = rows(source)
    for name in source.schema().names:
        assert rows(source, columns=(name,)).equals(whole.select([name]))


def test_splits_share_the_rows():
    whole = rows(NexmarkSource(events=101)).to_pylist()
    source = NexmarkSource(events=101, splits=3)
    parts = [rows(source, split=number).to_pylist() for number in range(3)]
    assert [whole[n::3] for n in range(3)] == parts


def test_seeds_give_different_rows():
    assert not rows(NexmarkSource(events=100, seed=1)).equals(rows(NexmarkSource(events=100, seed=2)))


@pytest.mark.parametrize("stream", STREAMS)
def test_event_time_never_falls_and_its_minimum_is_known(stream):
    source = NexmarkSource(events=1_000, stream=stream)
    times = rows(source)["date_time"].cast(pa.int64()).to_pylist()
    assert times == sorted(times)
    assert source.event_time_minimum(source.splits()[0], "date_time") == times[0]


def test_bids_name_auctions_and_people_that_exist_or_are_about_to():
    bids = rows(NexmarkSource(events=46 * 1_000))
    assert pc.min(bids["auction"]).as_py() >= 1_000
    assert pc.max(bids["auction"]).as_py() <= 1_000 + 3 * 1_000 + 10
    assert pc.max(bids["bidder"]).as_py() <= 1_000 + 1_000 + 10
    assert 100 <= pc.min(bids["price"]).as_py() < pc.max(bids["price"]).as_py() <= 100_000_000


def test_auctions_and_people_are_numbered_one_by_one():
    assert rows(NexmarkSource(events=300, stream="auction"))["id"].to_pylist() == list(range(1_000, 1_300))
    assert rows(NexmarkSource(events=300, stream="person"))["id"].to_pylist() == list(range(1_000, 1_300))


def test_bids_can_be_spread_evenly_over_a_number_of_auctions():
    bids = rows(NexmarkSource(events=50_000, auctions=100))
    counts = pc.value_counts(bids["auction"]).field("counts").to_pylist()
    assert len(counts) == 100
    assert 350 < min(counts) <= max(counts) < 650


def test_rate_gives_rows_as_the_clock_goes():
    now = [0.0]
    source = NexmarkSource(rate=100, clock=lambda: now[0])
    reader = source.open(source.splits()[0], None, SourceContext())
    assert reader.read() is None
    now[0] = 0.5
    assert reader.read().num_rows == 50
    assert reader.read() is None
    assert reader.position() == 50
    assert not reader.finished


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigurationError, match="no stream 'bids'"):
        NexmarkSource(stream="bids")
    with pytest.raises(ConfigurationError, match="rate is 0"):
        NexmarkSource(rate=0)
