"""The tool for testing pipelines, on a pipeline: it crashes where it is told, and sees what a crash broke."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_guarantees import ConfigurationError

SCHEMA = pa.schema([("auction", pa.int64()), ("price", pa.int64()), ("date_time", pa.timestamp("us", tz="UTC"))])
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def row(seconds: float, auction: int = 1, price: int = 5) -> dict[str, object]:
    return {"auction": auction, "price": price, "date_time": at(seconds)}


@pytest.fixture
def pipeline():
    rows = ks.read(
        ks.MemorySource(SCHEMA.empty_table()),
        event_time="date_time",
        watermark=ks.bounded_delay("1s"),
        name="bids",
    )
    totals = rows.key_by("auction").window(ks.tumble("10s")).aggregate(bids=ks.count(), revenue=ks.sum("price"))
    return totals.write(ks.MemorySink(), name="totals")


def test_rows_come_out_when_the_watermark_closes_their_window(pipeline):
    with ks.testing.run(pipeline) as test:
        test.feed([row(1), row(2, price=7)]).checkpoint()
        assert test.output().num_rows == 0
        test.advance_watermark(at(10)).checkpoint()
        assert test.output().to_pylist() == [
            {"auction": 1, "window_start": at(0), "window_end": at(10), "bids": 2, "revenue": 12}
        ]


@pytest.mark.parametrize("step", list(ks.testing.STEPS))
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_crash_at_any_step_loses_and_doubles_nothing(pipeline, step, parallelism):
    with ks.testing.run(pipeline, parallelism=parallelism) as test:
        test.feed([row(1, auction) for auction in range(20)]).checkpoint()
        test.crash_at(step)
        test.feed([row(12, auction) for auction in range(20)]).checkpoint()
        test.restart()
        test.feed([row(25, auction) for auction in range(20)])
        test.expect_exactly_once()
        assert test.output().num_rows == 60


def test_a_step_that_does_not_exist_is_refused(pipeline):
    with ks.testing.run(pipeline) as test, pytest.raises(ConfigurationError, match="no step"):
        test.crash_at("during_lunch")


def test_a_sink_that_forgets_is_found_out(pipeline, monkeypatch):
    with ks.testing.run(pipeline) as test:
        test.feed([row(1)]).advance_watermark(at(10)).checkpoint()
        sink = test._job.sinks["totals"]
        kept = sink.table().slice(1)
        monkeypatch.setattr(sink, "table", lambda: kept)
        with pytest.raises(AssertionError, match="1 rows lost, 0 doubled"):
            test.expect_exactly_once()
