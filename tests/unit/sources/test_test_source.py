"""The source for tests: its own rows and sentinels."""

from __future__ import annotations

import copy
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_connectors import SentinelSource
from krishiv_connectors._errors import SimulatedCrash
from krishiv_guarantees import ConfigurationError
from tests.unit.sources.support import available, batches, context, read_all, read_in_lives

Row = dict[str, Any]


def rows(*numbers: int) -> list[Row]:
    """Return rows of these numbers."""
    return [{"id": number} for number in numbers]


def batch(*numbers: int) -> pa.RecordBatch:
    """Return a batch of these numbers."""
    return pa.record_batch({"id": pa.array(numbers, pa.int64())})


@given(lives=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=4))
def test_resuming_anywhere_equals_reading_through(lives: list[tuple[int, int]]) -> None:
    source = SentinelSource([*rows(0, 1), batch(2, 3, 4, 5, 6), batch(), *rows(7), batch(8, 9)])
    assert read_in_lives(source, source.splits()[0], lives) == rows(*range(10))


def test_splits_are_named_and_read_apart() -> None:
    source = SentinelSource({"left": rows(1, 2), "right": [batch(3)]})
    assert [split.id for split in source.splits()] == ["left", "right"]
    assert read_all(source).to_pylist() == rows(1, 2, 3)


def test_crash_happens_once_even_if_its_place_is_read_again() -> None:
    source = SentinelSource([*rows(1), SentinelSource.Crash(), *rows(2)])
    (split,) = source.splits()
    with closing(source.open(split, None, context())) as reader:
        assert available(reader, 1) == rows(1)
        assert reader.position() == [1, 0]
        with pytest.raises(SimulatedCrash) as caught:
            reader.read()
    assert caught.value.code == "KS-TEST-CRASH"
    assert caught.value.fields == {"split": "0", "item": 1}
    twin = copy.copy(source)
    assert read_all(twin).to_pylist() == rows(1, 2)


def test_pause_lasts_until_it_is_released() -> None:
    pause = SentinelSource.Pause()
    source = SentinelSource([*rows(1), pause, *rows(2)])
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert available(reader, 1) == rows(1)
        assert not pause.wait_until_reached(0)
        assert reader.read() is None
        assert reader.read() is None
        assert pause.wait_until_reached(0)
        assert not reader.finished
        pause.release()
        assert available(reader, 1) == rows(2)
        assert reader.finished


def test_pause_lasts_so_many_seconds_from_when_it_is_reached() -> None:
    now = [100.0]
    source = SentinelSource([*rows(1), SentinelSource.Pause(5, clock=lambda: now[0]), *rows(2)])
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert available(reader, 1) == rows(1)
        assert reader.read() is None
        now[0] = 104.9
        assert reader.read() is None
        now[0] = 105.0
        assert available(reader, 1) == rows(2)


def test_end_ends_the_split_before_what_follows() -> None:
    source = SentinelSource([*rows(1), SentinelSource.End(), *rows(2)], bounded=False)
    assert read_all(source).to_pylist() == rows(1)
    assert not source.capabilities().bounded


def test_unbounded_split_without_end_never_finishes() -> None:
    source = SentinelSource(rows(1), bounded=False)
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert available(reader, 1) == rows(1)
        assert reader.read() is None
        assert not reader.finished


def test_only_the_columns_asked_for_come() -> None:
    source = SentinelSource([{"id": 1, "text": "x"}])
    with closing(source.open(source.splits()[0], None, context(columns=("text",)))) as reader:
        assert [found.to_pylist() for found in batches(reader)] == [[{"text": "x"}]]


def test_schema_is_given_or_found() -> None:
    given_schema = pa.schema([("id", pa.int8())])
    assert SentinelSource(rows(1), schema=given_schema).schema() == given_schema
    assert SentinelSource([SentinelSource.Pause(0), batch(1)]).schema() == batch(1).schema
    with pytest.raises(ConfigurationError, match="schema="):
        SentinelSource([SentinelSource.End()])


def test_item_that_is_neither_row_nor_sentinel_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="42") as caught:
        SentinelSource([*rows(1), 42])
    assert "mappings" in caught.value.hint
