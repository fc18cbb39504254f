"""Splits that appear while a job runs, or while it is stopped: none is read twice, no row of theirs is late."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore
from tests.integration.jobs import SCHEMA, counts, fired, read, rows, wait_until, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_guarantees import SourceCapabilities


class Followed(ks.MemorySource):
    """A source whose splits are what was put into it so far, one at a time, in order."""

    sequential = True
    discovery_interval = 0.005

    def __init__(self) -> None:
        super().__init__(SCHEMA.empty_table())
        self.parts: dict[str, ks.MemorySource] = {}

    def put(self, *seconds: range) -> None:
        for each in seconds:
            self.parts[f"part-{each.start:03}"] = ks.MemorySource(rows(each))

    def splits(self) -> Sequence[ks.Split]:
        return [ks.Split(name, part.splits()[0].payload) for name, part in list(self.parts.items())]

    def open(self, split: ks.Split, position: int | None, ctx: Any) -> ks.Reader[int]:
        return self.parts[split.id].open(split, position, ctx)

    def event_time_minimum(self, split: ks.Split, column: str) -> int | None:
        return None

    def capabilities(self) -> SourceCapabilities:
        return replace(super().capabilities(), bounded=False, discovers_splits=True)


@pytest.fixture(params=[1, 2, 4], ids="parallelism {}".format)
def session(request):
    with ks.Session(parallelism=request.param, linger=0, batch_rows=7, checkpoint_interval="5ms") as made:
        yield made


def test_new_splits_are_read_in_time_and_close_the_windows_before_them(session):
    source, sink = Followed(), ks.MemorySink()
    source.put(range(10))
    with session.start_in(MemoryStore(), windows(read(source)).write(sink, name="out"), job="j") as handle:
        for start in range(10, 60, 20):
            source.put(range(start, start + 10), range(start + 10, start + 20))
            wait_until(lambda start=start: (0, start) in fired(sink))
        handle.stop(drain=True)
        assert handle.status().late_rows == 0
    assert counts(sink.table()) == {(0, start): 10 for start in range(0, 70, 10)}


def test_splits_that_appear_while_a_job_is_stopped_are_read_when_it_goes_on(session):
    source, sink, store = Followed(), ks.MemorySink(), MemoryStore()
    pipeline = windows(read(source)).write(sink, name="out")
    for start in range(0, 60, 20):
        source.put(range(start, start + 10), range(start + 10, start + 20))
        with session.start_in(store, pipeline, job="j") as handle:
            wait_until(lambda start=start: (0, start) in fired(sink))
            handle.stop()
    with session.start_in(store, pipeline, job="j") as handle:
        handle.stop(drain=True)
        assert handle.status().late_rows == 0
    assert counts(sink.table()) == {(0, start): 10 for start in range(0, 60, 10)}


def test_a_source_that_waits_holds_time_for_a_union_without_an_idle_timeout(session):
    """Its next rows are awaited; those of the other source alone must not close windows over them."""
    followed, sink = Followed(), ks.MemorySink()
    followed.put(range(5))
    other = read(ks.MemorySource(rows(range(30))), name="other")
    pipeline = windows(read(followed).union(other)).write(sink, name="out")
    with session.start_in(MemoryStore(), pipeline, job="j") as handle:
        wait_until(lambda: handle.status().rows_in == 35)
        followed.put(range(5, 12))
        wait_until(lambda: (0, 0) in fired(sink))
        handle.stop(drain=True)
        assert handle.status().late_rows == 0
    assert counts(sink.table()) == {(0, 0): 20, (0, 10): 12, (0, 20): 10}
