"""Keys of every kind and event times of every unit, before 1970 too: the same rows at parallelism 1 and 3."""

from __future__ import annotations

import datetime
import decimal
import math
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore
from krishiv_guarantees import RetriableError

MICROS = pa.timestamp("us", tz="UTC")
KEYS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "integers with null": (pa.int16(), [1, None, -1, 0]),
    "zeros and nans": (pa.float64(), [0.0, -0.0, math.nan, -math.nan, math.inf, None, 1.5]),
    "strings": (pa.string(), ["", "a", None, "a longer one than eight bytes", "ä"]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b"]),
    "decimals": (pa.decimal128(10, 2), [decimal.Decimal("1.20"), decimal.Decimal("-1.20"), None]),
    "booleans": (pa.bool_(), [True, False, None]),
    "dates": (pa.date32(), [datetime.date(1969, 12, 31), datetime.date(2020, 1, 1), None]),
    "binaries": (pa.binary(), [b"", b"\0", b"\0\0", None]),
    "unsigned": (pa.uint64(), [0, 2**64 - 1, 2**63]),
    "nothing but nulls": (pa.int64(), [None]),
}


class _Crash:
    def __init__(self) -> None:
        self.left = 1

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.left:
            self.left -= 1
            raise RetriableError("crash", after=0)
        return batch


def _same(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return value


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind_are_grouped_by_value(kind, parallelism):
    key_type, values = KEYS[kind]
    repeated = [value for second in range(20) for value in values]
    rows = pa.table(
        {
            "key": pa.array(repeated, key_type),
            "moment": pa.array([n * 1_000_000 // len(values) for n in range(len(repeated))]).cast(MICROS),
        }
    )
    # Batches with dictionaries of their own, as readers give them.
    cut = [batch for first in range(0, rows.num_rows, 7) for batch in rows.slice(first, 7).to_batches()]
    stream = ks.read(ks.MemorySource(cut), event_time="moment", watermark=ks.monotonic(), name="rows")
    sink = ks.MemorySink()
    counted = stream.key_by("key").window(ks.tumble(10)).aggregate(n=ks.count()).map_batches(_Crash())
    options: dict[str, Any] = {"checkpoint_interval": "2ms", "restart_backoff": 0, "linger": 0, "batch_rows": 7}
    with ks.Session(parallelism=parallelism, **options) as session:
        session.start_in(MemoryStore(), counted.write(sink, name="out"), job="j").wait(20)
    expected = Counter((_same(v), n * 1_000_000 // len(values) // 10_000_000) for n, v in enumerate(repeated))
    found = Counter()
    for each in sink.table().to_pylist():
        found[_same(each["key"]), int(each["window_start"].timestamp()) // 10] += each["n"]
    assert found == expected
    assert sink.table().num_rows == len(expected)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("origin", [-1_000, -5, 0, 1_700_000_000])
@pytest.mark.parametrize("window", [ks.tumble(10), ks.hop(10, 4, offset=1)], ids=["tumble", "hop"])
def test_event_times_of_every_unit_fall_into_the_same_windows(unit, origin, window):
    seconds = [origin + n for n in range(40)]
    moments = pa.array(seconds, pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp(unit))
    source = ks.MemorySource(pa.table({"moment": moments, "n": range(40)}), splits=2)
    stream = ks.read(source, event_time="moment", watermark=ks.bounded_delay(2), name="rows")
    result = stream.window(window).aggregate(n=ks.count(), first=ks.first("n"))
    with ks.Session(linger=0, batch_rows=3, parallelism=2) as session:
        table = result.collect(session)
    starts = table["window_start"].cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
    expected: dict[int, list[int]] = {}
    for n, second in enumerate(seconds):
        start = (second - window.offset // 1_000_000) // (window.every // 1_000_000) * (window.every // 1_000_000)
        start += window.offset // 1_000_000
        while start > second - window.size // 1_000_000:
            expected.setdefault(start, []).append(n)
            start -= window.every // 1_000_000
    assert dict(zip([s // 1_000_000 for s in starts], table["n"].to_pylist(), strict=True)) == {
        start: len(members) for start, members in expected.items()
    }
    assert dict(zip([s // 1_000_000 for s in starts], table["first"].to_pylist(), strict=True)) == {
        start: members[0] for start, members in expected.items()
    }


def test_nanoseconds_before_1970_are_on_time_though_watermarks_are_microseconds():
    """A split's minimum is rounded down, not towards zero."""
    moments = pa.array([-10_000_000_001, -1, -1, 1]).cast(pa.timestamp("ns"))
    source = ks.MemorySource(pa.table({"moment": moments}), splits=4)
    stream = ks.read(source, event_time="moment", watermark=ks.monotonic())
    with ks.Session(linger=0, batch_rows=1) as session:
        table = stream.window(ks.tumble(10)).aggregate(n=ks.count()).collect(session)
    assert sorted(table["n"].to_pylist()) == [1, 1, 2]


def test_the_first_and_last_moments_that_a_timestamp_can_hold_are_errors_or_rows_but_never_silence():
    edge = pa.array([-(2**63) + 1, 0, 2**63 - 1]).cast(pa.timestamp("us"))
    stream = ks.read(ks.MemorySource(pa.table({"moment": edge})), event_time="moment")
    with ks.Session(linger=0) as session, pytest.raises(ks.KrishivError):
        stream.window(ks.tumble(10)).aggregate(n=ks.count()).collect(session)


@pytest.mark.parametrize(("unit", "micros"), [("s", -3_000_000), ("ms", -3_000), ("us", -3), ("ns", -1)])
def test_the_minimum_of_a_split_is_rounded_down(unit, micros):
    source = ks.MemorySource(pa.table({"moment": pa.array([5, -3]).cast(pa.timestamp(unit))}))
    assert source.event_time_minimum(source.splits()[0], "moment") == micros
