"""Shapes of pipelines: branches that meet again, windows of windows, several sinks and side outputs, at any width.

Each runs at parallelism 1, 2 and 4 with narrow channels and checkpoints all the time, and crashes on the way; the
output is what plain Python says.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore
from krishiv_guarantees import RetriableError
from krishiv_stream import col
from krishiv_stream._engine import graph
from krishiv_stream._engine.inbox import Inbox
from tests.integration.jobs import SCHEMA, counts, read, row, rows, table

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS, KEYS = 60, 7
ALL = [(second, key) for second in range(SECONDS) for key in range(KEYS)]


@pytest.fixture(params=[1, 2, 4], ids="parallelism {}".format)
def session(request, monkeypatch):
    """A session whose channels hold next to nothing, so that every sender waits for its receiver now and then."""
    monkeypatch.setattr(graph, "Inbox", lambda channels, _: Inbox(channels, 4_000))
    options: dict[str, Any] = {"checkpoint_interval": "5ms", "restart_attempts": 9, "restart_backoff": 0, "linger": 0}
    with ks.Session(parallelism=request.param, batch_rows=50, **options) as made:
        yield made


def numbers(name: str = "rows", *, keys: int = KEYS, splits: int = 3, **options: Any) -> ks.Stream:
    """Return a source of one row per second and key, in several splits, each of them in time order."""
    made = pa.Table.from_batches([rows(range(SECONDS), keys)])
    parts = [
        made.filter(pa.array([n // keys % splits == part for n in range(made.num_rows)])) for part in range(splits)
    ]
    return read(ks.MemorySource(pa.concat_tables(parts), splits=splits), name=name, delay=0, **options)


class Crashes:
    """A function for `map_batches` that fails at the given calls, as a passing trouble would."""

    def __init__(self, *calls: int) -> None:
        self.calls = calls
        self.called = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.called += 1
        if self.called in self.calls:
            raise RetriableError("crash", after=0)
        return batch


def run(session: ks.Session, *pipelines: ks.Pipeline, restarts: int = 0) -> Any:
    pipeline = pipelines[0] if len(pipelines) == 1 else ks.Pipeline.of(*pipelines)
    result = session.start_in(MemoryStore(), pipeline, job="j").wait(60)
    assert result.state == "finished"
    assert min(1, restarts) <= result.status.restarts <= restarts  # several subtasks may fail at once
    return result


def expected_counts(size: int, pairs: Sequence[tuple[int, int]] = ALL) -> dict[tuple[int, int], int]:
    return dict(Counter((key, second // size * size) for second, key in pairs))


def pairs(sink: ks.MemorySink) -> list[tuple[int, int]]:
    return [(round(each["moment"].timestamp()), each["key"]) for each in sink.table().to_pylist()]


def test_branches_of_one_source_that_meet_again_lose_and_double_nothing(session):
    sink, crashes = ks.MemorySink(), Crashes(2, 5)
    stream = numbers().map_batches(crashes)
    odd, even = stream.filter(col("key") % 2 == 1), stream.filter(col("key") % 2 == 0)
    run(session, odd.union(even).write(sink, name="out"), restarts=2)
    assert sorted(pairs(sink)) == ALL


def test_a_stream_joined_with_itself_gives_each_row_twice(session):
    sink = ks.MemorySink()
    stream = numbers()
    run(session, stream.union(stream).write(sink, name="out"))
    assert sorted(pairs(sink)) == sorted(ALL * 2)


def test_branches_that_meet_in_a_window_count_each_row_once(session):
    sink, crashes = ks.MemorySink(), Crashes(3)
    stream = numbers().map_batches(crashes)
    union = stream.filter(col("key") < 3).union(stream.filter(col("key") >= 3))
    windows = union.key_by("key").window(ks.tumble(10)).aggregate(n=ks.count())
    run(session, windows.write(sink, name="out"), restarts=1)
    assert counts(sink.table()) == expected_counts(10)


def test_a_window_and_its_own_rows_go_to_two_sinks(session):
    plain, counted, crashes = ks.MemorySink(), ks.MemorySink(), Crashes(4, 5)
    stream = numbers().map_batches(crashes)
    windows = stream.key_by("key").window(ks.tumble(10)).aggregate(n=ks.count())
    run(session, stream.write(plain, name="plain"), windows.write(counted, name="counted"), restarts=2)
    assert sorted(pairs(plain)) == ALL
    assert counts(counted.table()) == expected_counts(10)


def test_a_window_that_meets_the_rows_it_was_made_of(session):
    """The union waits for the window's barrier while the source's own branch is held back, and the other way round."""
    sink = ks.MemorySink()
    stream = numbers().map_batches(Crashes(2))
    windows = stream.key_by("key").window(ks.tumble(10)).aggregate(n=ks.count())
    counted = windows.select("key", value="n", moment="window_start")
    both = counted.union(stream.select("key", "value", "moment"))
    run(session, both.write(sink, name="out"), restarts=1)
    found = Counter((key, value) for key, value, _ in table(sink))
    assert found == Counter({**{(key, 1): SECONDS for key in range(KEYS)}, **{(key, 10): 6 for key in range(KEYS)}})


def test_windows_of_windows_of_two_sources(session):
    sink = ks.MemorySink()
    left, right = numbers("left"), numbers("right", keys=3)
    inner = left.union(right).key_by("key").window(ks.tumble(5)).aggregate(name="inner", n=ks.count())
    outer = inner.key_by("key").window(ks.tumble(20)).aggregate(name="outer", n=ks.sum("n"))
    run(session, outer.map_batches(Crashes(1)).write(sink, name="out"), restarts=1)
    assert counts(sink.table()) == expected_counts(20, ALL + [pair for pair in ALL if pair[1] < 3])


def test_a_global_window_over_a_wide_stream_is_one(session):
    sink = ks.MemorySink()
    windows = (
        numbers().map_batches(Crashes(3)).window(ks.hop(20, 10)).aggregate(n=ks.count(), keys=ks.count_distinct("key"))
    )
    run(session, windows.write(sink, name="out"), restarts=1)
    found = sorted(
        (round(each["window_start"].timestamp()), each["n"], each["keys"]) for each in sink.table().to_pylist()
    )
    assert found == [(-10, 70, 7), *[(start, 140, 7) for start in range(0, 50, 10)], (50, 70, 7)]


def test_row_functions_before_and_after_a_window(session):
    sink = ks.MemorySink()
    doubled = numbers().flat_map_rows(lambda each: [each, {**each, "value": 2}], schema=SCHEMA)
    windows = doubled.key_by("key").window(ks.tumble(30)).aggregate(n=ks.sum("value"))
    named = windows.map_rows(
        lambda each: {"name": f"{each['key']}:{each['n']}"}, schema=pa.schema([("name", pa.string())])
    )
    run(session, named.write(sink, name="out"))
    assert Counter(sink.table()["name"].to_pylist()) == Counter({f"{key}:90": 2 for key in range(KEYS)})


def test_late_rows_of_every_subtask_go_to_the_side_output_and_each_row_to_one_place(session):
    """Which rows are late depends on how splits are read side by side; that each is somewhere does not."""
    on_time, late, crashes = ks.MemorySink(), ks.MemorySink(), Crashes(4)
    stream = read(
        ks.MemorySource(pa.Table.from_batches([rows(range(30), KEYS), rows([3, 41, 2], KEYS), rows([60, 5], KEYS)])),
        name="rows",
    )
    windows = stream.map_batches(crashes).key_by("key").window(ks.tumble(10)).aggregate(n=ks.count())
    result = run(
        session,
        windows.write(on_time, name="on-time"),
        windows.side_output("late").write(late, name="late"),
        restarts=1,
    )
    counted = sum(counts(on_time.table()).values())
    assert counted + late.table().num_rows == 35 * KEYS
    assert late.table().num_rows >= (2 * KEYS if session.settings.parallelism == 1 else 0)
    assert result.status.late_rows <= late.table().num_rows


def test_two_sinks_of_one_stream_and_a_side_output_of_a_side_branch(session):
    sinks = [ks.MemorySink() for _ in range(3)]
    stream = numbers().map_batches(Crashes(2, 7, 8))
    windows = stream.filter(col("key") == 1).key_by("key").window(ks.tumble(10)).aggregate(n=ks.count())
    run(
        session,
        stream.write(sinks[0], name="one"),
        stream.write(sinks[1], name="two"),
        windows.union(windows).write(sinks[2], name="three"),
        restarts=3,
    )
    assert sorted(pairs(sinks[0])) == sorted(pairs(sinks[1])) == ALL
    assert sorted(each["n"] for each in sinks[2].table().to_pylist()) == [10] * 12


def test_a_source_with_more_splits_than_subtasks_and_a_rate_is_read_to_its_end(session):
    sink = ks.MemorySink()
    run(session, numbers(splits=9, max_rate=20_000).write(sink, name="out"))
    assert sorted(pairs(sink)) == ALL


def test_an_empty_source_gives_nothing_and_ends(session):
    sink = ks.MemorySink()
    windows = read(ks.MemorySource(SCHEMA.empty_table())).window(ks.tumble(10)).aggregate(n=ks.count())
    run(session, windows.write(sink, name="out"))
    assert sink.table().num_rows == 0


def test_a_batch_larger_than_a_channel_passes(session):
    sink = ks.MemorySink()
    wide = read(ks.MemorySource(rows(range(3_000)))).map_batches(lambda batch: pa.concat_batches([batch] * 20))
    run(session, wide.key_by("key").window(ks.tumble(10_000)).aggregate(n=ks.count()).write(sink, name="out"))
    assert counts(sink.table()) == {(0, 0): 60_000}


def test_rows_are_counted_though_no_column_of_theirs_is_used(session):
    sink = ks.MemorySink()
    run(
        session,
        numbers().map_batches(Crashes(2)).window(ks.tumble(60)).aggregate(n=ks.count()).write(sink, name="out"),
        restarts=1,
    )
    assert sink.table()["n"].to_pylist() == [len(ALL)]


def test_one_column_is_read_where_one_is_used(session):
    sink, seen = ks.MemorySink(), []
    source = ks.MemorySource(pa.Table.from_batches([rows(range(SECONDS), KEYS)]))
    opened = source.open
    source.open = lambda split, position, ctx: seen.append(ctx.columns) or opened(split, position, ctx)
    run(session, ks.read(source, name="rows").select("key").write(sink, name="out"))
    assert Counter(sink.table()["key"].to_pylist()) == Counter(dict.fromkeys(range(KEYS), SECONDS))
    assert set(seen) == {("key",)}


def test_a_single_row_comes_through(session):
    sink = ks.MemorySink()
    run(session, read(ks.MemorySource(pa.RecordBatch.from_pylist([row(1)], schema=SCHEMA))).write(sink, name="out"))
    assert pairs(sink) == [(1, 0)]
