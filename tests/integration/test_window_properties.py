"""Windows against a naive per-row reference: neither batch boundaries, nor order within the watermark delay, nor
parallelism, nor the state backend, nor where a crash falls changes a row of the output."""

from __future__ import annotations

import math
import statistics
import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import krishiv_stream as ks
from krishiv_stream import col

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Row = tuple[int, int | None, int | None, float | None]
"""Seconds, key, whole number, fraction."""

SCHEMA = pa.schema(
    [
        ("moment", pa.timestamp("us", tz="UTC")),
        ("key", pa.int64()),
        ("number", pa.int64()),
        ("fraction", pa.float64()),
    ]
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DELAY = 5

values = st.tuples(
    st.integers(0, 60),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.one_of(st.none(), st.integers(-1000, 1000)),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
)


@st.composite
def rows_in_order(draw: st.DrawFn) -> list[Row]:
    """Rows at most `DELAY` seconds out of order."""
    rows = sorted(draw(st.lists(values, min_size=1, max_size=60)), key=lambda row: row[0])
    jittered = [(row[0] + draw(st.integers(0, DELAY)), row) for row in rows]
    return [row for _, row in sorted(jittered, key=lambda pair: pair[0])]


@st.composite
def cut_rows(draw: st.DrawFn) -> tuple[list[Row], list[int]]:
    """Rows, and where they are cut into batches."""
    rows = draw(rows_in_order())
    cuts = draw(st.lists(st.integers(0, len(rows)), max_size=8))
    return rows, sorted({0, len(rows), *cuts})


windows = st.sampled_from([(10, 10, 0), (10, 10, 3), (7, 7, 0), (10, 5, 0), (10, 4, 1), (9, 1, 0)])


def batches(rows: Sequence[Row], cuts: Sequence[int]) -> list[pa.RecordBatch]:
    parts = (rows[first:past] for first, past in pairwise(cuts))
    return [batch(part) for part in parts if part]


def batch(rows: Iterable[Row]) -> pa.RecordBatch:
    dicts = [
        {"moment": EPOCH + timedelta(seconds=at), "key": key, "number": number, "fraction": fraction}
        for at, key, number, fraction in rows
    ]
    return pa.RecordBatch.from_pylist(dicts, schema=SCHEMA)


def aggregated(stream: ks.Stream, window: tuple[int, int, int]) -> ks.Stream:
    size, every, offset = window
    shape = ks.tumble(size, offset) if size == every else ks.hop(size, every, offset)
    return (
        stream.key_by("key")
        .window(shape)
        .aggregate(
            rows=ks.count(),
            numbers=ks.count("number"),
            total=ks.sum("number"),
            least=ks.min("number"),
            most=ks.max("fraction"),
            mean=ks.mean("number"),
            spread=ks.stddev("number"),
            variance=ks.variance("number"),
            distinct=ks.count_distinct("number"),
            about=ks.approx_distinct("number"),
            first=ks.first("number"),
            last=ks.last("number"),
            every=ks.collect_list("number"),
            positive=ks.sum("number", where=col("number") > 0),
        )
    )


def naive(rows: Iterable[Row], window: tuple[int, int, int]) -> dict[tuple[Any, int], dict[str, Any]]:
    size, every, offset = window
    groups: defaultdict[tuple[Any, int], list[Row]] = defaultdict(list)
    for row in rows:
        start = (row[0] - offset) // every * every + offset
        while start > row[0] - size:
            groups[row[1], start].append(row)
            start -= every
    return {group: _reference(members) for group, members in groups.items()}


def _order(row: Row) -> tuple[Any, ...]:
    return tuple((value is None, 0 if value is None else value) for value in row)


def _reference(members: list[Row]) -> dict[str, Any]:
    ordered = [row[2] for row in sorted(members, key=_order)]
    numbers = [number for number in ordered if number is not None]
    fractions = [row[3] for row in members if row[3] is not None]
    positive = [number for number in numbers if number > 0]
    return {
        "rows": len(members),
        "numbers": len(numbers),
        "total": sum(numbers) if numbers else None,
        "least": min(numbers, default=None),
        "most": max(fractions, default=None),
        "mean": statistics.fmean(numbers) if numbers else None,
        "spread": statistics.stdev(numbers) if len(numbers) > 1 else None,
        "variance": statistics.variance(numbers) if len(numbers) > 1 else None,
        "distinct": len(set(numbers)),
        "about": len(set(numbers)),
        "first": ordered[0],
        "last": ordered[-1],
        "every": ordered,
        "positive": sum(positive) if positive else None,
    }


def check(table: pa.Table, rows: Iterable[Row], window: tuple[int, int, int]) -> None:
    expected = naive(rows, window)
    found = {}
    for row in table.to_pylist():
        start, end = (round((row.pop(name) - EPOCH).total_seconds()) for name in ("window_start", "window_end"))
        assert end - start == window[0]
        group = (row.pop("key"), start)
        assert group not in found, f"{group} came twice"
        found[group] = row
    assert found.keys() == expected.keys()
    for group, row in found.items():
        for name, value in expected[group].items():
            assert _equal(row[name], value), (group, name, row[name], value)


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and expected is not None:  # the reference may be a whole number
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return bool(found == expected)


@settings(max_examples=60, deadline=None)
@given(cut_rows(), windows, st.sampled_from([1, 2, 4]))
def test_windows_equal_the_reference_for_any_batches_and_parallelism(data, window, parallelism):
    rows, cuts = data
    source = ks.MemorySource(pa.Table.from_batches(batches(rows, cuts), SCHEMA))
    stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(DELAY))
    with ks.Session(parallelism=parallelism, linger=0, batch_rows=7) as session:
        check(aggregated(stream, window).collect(session), rows, window)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_rows(), windows, st.sampled_from(["memory", "rocksdb"]))
def test_windows_equal_the_reference_in_any_state_backend(tmp_path_factory, data, window, backend):
    rows, cuts = data
    source = ks.MemorySource(pa.Table.from_batches(batches(rows, cuts), SCHEMA))
    stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(DELAY))
    options: dict[str, Any] = {"data_dir": tmp_path_factory.mktemp("data"), "state": backend, "memory_budget": 200}
    with ks.Session(linger=0, batch_rows=5, **options) as session:
        check(aggregated(stream, window).collect(session), rows, window)


@settings(max_examples=40, deadline=None)
@given(cut_rows(), windows, st.sampled_from(list(ks.testing.STEPS)), st.integers(0, 8), st.sampled_from([1, 2]))
def test_windows_equal_the_reference_wherever_a_crash_falls(data, window, step, crash, parallelism):
    rows, cuts = data
    source = ks.MemorySource(SCHEMA.empty_table())
    stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(DELAY), name="rows")
    pipeline = aggregated(stream, window).write(ks.MemorySink(), name="out")
    with ks.testing.run(pipeline, parallelism=parallelism) as test:
        for number, part in enumerate(batches(rows, cuts)):
            if number == crash:
                test.crash_at(step)
            test.feed(pa.Table.from_batches([part])).checkpoint()
            if number == crash:
                test.restart()
        test.finish()
        check(test.output(), rows, window)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_rows(), windows, st.lists(st.sampled_from([1, 2, 3]), min_size=2, max_size=3))
def test_windows_equal_the_reference_across_changes_of_parallelism_and_backend(
    tmp_path_factory, data, window, parallelisms
):
    rows, cuts = data
    folder: Path = tmp_path_factory.mktemp("data")
    sink = ks.MemorySink()
    parts = batches(rows, cuts)
    for number, parallelism in enumerate(parallelisms):
        last = number == len(parallelisms) - 1
        source = _Stepwise(parts, stop=None if last else len(parts) * (number + 1) // len(parallelisms))
        stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(DELAY), name="rows")
        pipeline = aggregated(stream, window).write(sink, name="out")
        backend = "rocksdb" if number % 2 else "memory"
        with ks.Session(
            data_dir=folder,
            state=backend,
            memory_budget=200,
            parallelism=parallelism,
            checkpoint_interval=None,
            linger=0,
        ) as session:
            handle = session.start(pipeline, job="rescaled")
            if last:
                assert handle.wait(30).state == "finished"
            else:
                source.given.wait(10)
                assert handle.stop().state == "stopped"
    check(sink.table(), rows, window)


class _Stepwise(ks.MemorySource):
    """Gives rows up to `stop` batches, then nothing until the job is stopped."""

    def __init__(self, parts: list[pa.RecordBatch], stop: int | None) -> None:
        super().__init__(pa.Table.from_batches(parts, SCHEMA))
        self.rows = sum(part.num_rows for part in parts[:stop])
        self.bounded = stop is None
        self.given = threading.Event()

    def open(self, split: ks.Split, position: int | None, ctx: Any) -> ks.Reader[int]:
        reader = super().open(split, position, ctx)
        return reader if self.bounded else _Stopping(reader, self)


class _Stopping(ks.Reader[int]):
    def __init__(self, reader: ks.Reader[int], source: _Stepwise) -> None:
        self._reader = reader
        self._source = source

    def read(self) -> pa.RecordBatch | None:
        if self._reader.position() >= self._source.rows:
            self._source.given.set()
            return None
        return self._reader.read()

    def position(self) -> int:
        return self._reader.position()

    @property
    def finished(self) -> bool:
        return False


def test_late_rows_go_to_their_side_output_and_nowhere_else():
    on_time = [(1, 1, 10, None), (2, 2, 20, None), (30, 1, 1, None)]
    late = [(3, 1, 5, None), (4, 2, 6, None)]
    parts = [batch(on_time), batch(late), batch([(31, 1, 2, None)])]
    source = ks.MemorySource(pa.Table.from_batches(parts))
    stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(DELAY))
    totals = stream.key_by("key").window(ks.tumble(10)).aggregate(total=ks.sum("number"))
    out, dropped = ks.MemorySink(), ks.MemorySink()
    pipeline = ks.Pipeline.of(totals.write(out), totals.side_output("late").write(dropped))
    with ks.Session(linger=0) as session:
        result = session.run(pipeline, job="late")
    assert result.status.late_rows == 2
    assert sorted(row["number"] for row in dropped.table().to_pylist()) == [5, 6]
    assert sorted((row["key"], row["total"]) for row in out.table().to_pylist()) == [(1, 3), (1, 10), (2, 20)]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_allowed_lateness_keeps_windows_open_that_much_longer(parallelism):
    parts = [batch([(1, 1, 10, None), (18, 1, 1, None)]), batch([(3, 1, 5, None)]), batch([(40, 1, 2, None)])]
    stream = ks.read(
        ks.MemorySource(pa.Table.from_batches(parts)), event_time="moment", watermark=ks.bounded_delay(DELAY)
    )
    totals = stream.key_by("key").window(ks.tumble(10), allowed_lateness=10).aggregate(total=ks.sum("number"))
    with ks.Session(parallelism=parallelism, linger=0) as session:
        found = sorted(row["total"] for row in totals.collect(session).to_pylist())
    assert found == [1, 2, 15]


def test_windows_of_windows_hold_back_time_until_their_inputs_have_fired():
    parts = [batch([(second, second % 3, 1, None)]) for second in range(60)]
    stream = ks.read(ks.MemorySource(pa.Table.from_batches(parts)), event_time="moment", watermark=ks.monotonic())
    inner = stream.key_by("key").window(ks.tumble(5)).aggregate(rows=ks.count())
    outer = inner.window(ks.tumble(20)).aggregate(rows=ks.sum("rows"), parts=ks.count())
    with ks.Session(linger=0, batch_rows=1) as session:
        result = outer.collect(session).to_pylist()
    assert [(row["rows"], row["parts"]) for row in sorted(result, key=lambda r: r["window_start"])] == [(20, 12)] * 3
