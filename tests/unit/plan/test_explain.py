"""A plan can be read: operators, keys, windows, event time, and what deserves a warning."""

from __future__ import annotations

import pytest

import krishiv_stream as ks
from krishiv_stream import col, lit
from krishiv_stream._plan.explain import explain


def _explained(stream: ks.Stream) -> str:
    return explain(stream.write(ks.MemorySink(), name="out"))


def test_explain_draws_the_plan_from_sink_to_source(bids: ks.Stream) -> None:
    totals = (
        bids.filter(col("price") > 100)
        .key_by("auction")
        .window(ks.hop("10s", every="5s"), allowed_lateness="2s")
        .aggregate(n=ks.count(), top=ks.max("price", where=col("extra") > 0.5))
    )
    assert _explained(totals) == (
        "pipeline out\n"
        "sink out\n"
        "│    MemorySink\n"
        "└─ window window-1\n"
        "   │    hop(10s, every=5s) of dateTime, allowed lateness 2s\n"
        "   │    key: auction\n"
        "   │    n=count(), top=max(price) where extra > 0.5\n"
        "   └─ filter filter-1\n"
        "      │    price > 100\n"
        "      └─ source bids\n"
        "              MemorySource\n"
        "              columns: auction, price, dateTime, extra\n"
        "              event time: dateTime; watermark: 4s behind the newest row"
    )


def test_explain_writes_shared_parts_once(bids: ks.Stream, totals: ks.Stream) -> None:
    pipeline = ks.Pipeline.of(
        totals.write(ks.MemorySink(), name="out"), totals.side_output("late").write(ks.MemorySink(), name="late")
    )
    text = explain(pipeline)
    assert text.count("source bids") == 1
    assert "window window-1 (above)" in text


@pytest.mark.parametrize(
    ("make", "mark"),
    [
        (lambda s: s.map_rows(lambda row: row), "[slow path: Python per row]  [not declared deterministic]"),
        (lambda s: s.flat_map_rows(lambda row: [row], deterministic=True), "[slow path: Python per row]\n"),
        (lambda s: s.map_batches(lambda batch: batch), "[Python per batch]"),
        (lambda s: s.filter(ks.functions.random() > lit(0.5)), "[volatile: random() > 0.5]"),
        (lambda s: s.select(at=ks.functions.now()), "[volatile: now()]"),
        (
            lambda s: s.key_by(id=ks.functions.uuid()).window(ks.tumble("1s")).aggregate(n=ks.count()),
            "[volatile: uuid()",
        ),
    ],
)
def test_explain_marks_what_deserves_a_warning(bids: ks.Stream, make: object, mark: str) -> None:
    assert mark in _explained(make(bids))  # type: ignore[operator]


def test_explain_marks_sinks_that_guarantees_leave_out(bids: ks.Stream) -> None:
    assert "sink print  [diagnostic]" in explain(bids.write(ks.PrintSink(), name="print"))


def test_explain_shows_how_a_source_is_read(bids: ks.Stream) -> None:
    source = bids.node.source  # type: ignore[attr-defined]
    stream = ks.read(source, event_time="dateTime", max_rate=1000, on_bad_row="drop", watermark=ks.processing_time())
    text = _explained(stream)
    assert "at most 1000 rows/s" in text
    assert "bad rows: drop" in text
    assert "watermark: the clock" in text
    assert "[results depend on the clock]" in text


def test_explain_says_when_only_the_end_advances_time(bids: ks.Stream) -> None:
    source = bids.node.source  # type: ignore[attr-defined]
    assert "watermark: at the end only" in _explained(ks.read(source, event_time="dateTime"))


def test_a_global_window_says_that_one_subtask_does_the_work(bids: ks.Stream) -> None:
    assert "key: none, one subtask" in _explained(bids.window(ks.tumble("1s")).aggregate(n=ks.count()))


def test_renamed_columns_show_their_source(bids: ks.Stream) -> None:
    assert "price, who=bidder, double=price * 2" in _explained(
        bids.select("price", who="bidder", double=col("price") * lit(2))
    )
