"""The window operator by itself: what fires when, what is late, what it says of time, what a restore takes over."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import MemoryStore, OperatorSnapshot
from krishiv_stream._engine.elements import END_OF_TIME
from krishiv_stream._engine.key_hash import key_groups
from krishiv_stream._engine.metrics import OperatorMetrics
from krishiv_stream._engine.operators.window import WindowOperator
from krishiv_stream._engine.snapshots import SnapshotCollector
from krishiv_stream._engine.state.blocks import MemoryBlocks
from krishiv_stream._engine.state.panes import Panes
from krishiv_stream._expressions.aggregation import compile_aggregation
from tests.unit.engine.support import MOMENTS, Recorder, barrier, moments

SECOND = 1_000_000


class Window:
    """One subtask of ``count()`` by ``x`` over hop or tumble windows, with what comes out of it."""

    def __init__(self, size: int, every: int | None = None, *, groups: tuple[int, int] = (0, 128), lateness: int = 0):
        window = ks.tumble(size) if every is None else ks.hop(size, every)
        rows = ks.read(ks.MemorySource(MOMENTS.empty_table()), event_time="moment")
        node: Any = rows.key_by("x").window(window, allowed_lateness=lateness).aggregate(n=ks.count()).node
        self.metrics = OperatorMetrics()
        self.operator = WindowOperator(
            node,
            operator_id="w",
            subtask=groups[0],
            key_groups=groups,
            panes=Panes(MemoryBlocks()),
            aggregation=compile_aggregation(node.keys, node.aggregates, MOMENTS, "moment"),
            metrics=self.metrics,
            batch_rows=1_000,
        )
        self.out, self.late = Recorder(), Recorder()
        self.out.process = self._keep
        self.operator.outputs.append(self.out)
        self.operator.late.append(self.late)

    def _keep(self, batch: pa.RecordBatch) -> None:
        for row in batch.cast(_plain(batch.schema)).to_pylist():
            self.out.events.append((row["x"], row["window_start"] // SECOND, row["n"]))

    def rows(self, *pairs: tuple[int, float]) -> Window:
        """Give rows: key and second."""
        times = pa.array([round(at * SECOND) for _, at in pairs]).cast(MOMENTS.field("moment").type)
        self.operator.process(pa.RecordBatch.from_arrays([pa.array([k for k, _ in pairs]), times], schema=MOMENTS))
        return self

    def time(self, second: float) -> list[Any]:
        """Advance event time; return what came out."""
        before = len(self.out.events)
        self.operator.watermark(END_OF_TIME if second == math.inf else round(second * SECOND))
        return self.out.events[before:]

    def snapshot(self, store: MemoryStore, epoch: int, completed: int = 0) -> OperatorSnapshot:
        collector = SnapshotCollector(epoch, 1, completed)
        self.operator.barrier(barrier(epoch), collector)
        self.out.events.pop()
        (write,) = collector.deferred
        return write(store)

    def restored(self, snapshots: list[OperatorSnapshot], store: MemoryStore) -> Window:
        self.operator.restore(snapshots, store, lambda batch: key_groups([batch["x"]], 128))
        self.operator.open()
        return self


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(f.name, pa.int64()) for f in schema])


def group_of(key: int) -> int:
    return int(key_groups([pa.array([key])], 128)[0])


def fired(events: list[Any]) -> list[Any]:
    return [event for event in events if event[0] != "watermark"]


def told(events: list[Any]) -> list[float]:
    return [event[1] / SECOND for event in events if event[0] == "watermark"]


def test_windows_fire_once_oldest_first_when_time_passes_their_end():
    window = Window(10).rows((1, 3), (1, 13), (2, 4))
    assert fired(window.time(9.999)) == []
    assert sorted(fired(window.time(10))) == [(1, 0, 1), (2, 0, 1)]
    assert fired(window.time(15)) == []
    window.rows((1, 31))
    assert fired(window.time(100)) == [(1, 10, 1), (1, 30, 1)]
    assert fired(window.time(200)) == []


def test_hop_windows_with_allowed_lateness_take_late_rows_only_into_the_windows_still_open():
    window = Window(10, 5, lateness=5).rows((1, 7))
    assert fired(window.time(14.9)) == []
    assert fired(window.time(15)) == [(1, 0, 1)]
    window.rows((1, 8), (1, 6))  # [0, 10) has fired; [5, 15) has not
    assert window.metrics.late_rows == 0
    window.rows((1, 4))
    assert window.metrics.late_rows == 1
    assert fired(window.time(20)) == [(1, 5, 3)]


def test_results_come_before_the_time_that_closes_them_downstream():
    window = Window(10).rows((1, 3))
    events = window.time(10)
    assert events == [(1, 0, 1), ("watermark", 10 * SECOND)]


def test_a_window_holds_back_time_to_the_start_of_the_windows_still_open():
    window = Window(10, 5)
    assert told(window.time(12)) == [5.0]
    assert told(window.time(14)) == []
    assert told(window.time(15)) == [10.0]
    assert window.late.events == [("watermark", 12 * SECOND), ("watermark", 14 * SECOND), ("watermark", 15 * SECOND)]


def test_a_window_that_was_idle_counts_again_though_no_window_has_closed():
    window = Window(10)
    window.time(12)
    window.operator.idle()
    assert window.time(12) == [("watermark", 10 * SECOND)]
    assert window.time(13) == []


def test_the_end_fires_everything_and_makes_every_later_row_late():
    window = Window(10).rows((1, 3), (1, 500))
    assert window.time(math.inf) == [(1, 0, 1), (1, 500, 1), ("watermark", END_OF_TIME)]
    window.rows((1, 10_000))
    assert window.metrics.late_rows == 1


def test_rows_before_1970_are_in_windows_like_any_other():
    window = Window(10).rows((1, -3), (1, -10), (1, -10.000001), (1, 0))
    assert fired(window.time(0)) == [(1, -20, 1), (1, -10, 2)]
    assert fired(window.time(10)) == [(1, 0, 1)]


def test_a_restored_window_tells_at_once_how_far_it_had_come():
    store = MemoryStore()
    before = Window(10).rows((1, 13))
    before.time(12)
    after = Window(10).restored([before.snapshot(store, 1)], store)
    assert after.out.events == [("watermark", 10 * SECOND)]
    assert after.late.events == [("watermark", 12 * SECOND)]
    assert fired(after.time(20)) == [(1, 10, 1)]


def test_a_window_that_begins_tells_nothing_of_time():
    window = Window(10)
    window.operator.open()
    assert window.out.events == []


def test_rows_that_were_late_before_a_snapshot_are_late_after_it():
    store = MemoryStore()
    before = Window(10)
    before.time(12)
    after = Window(10).restored([before.snapshot(store, 1)], store).rows((1, 9))
    assert after.metrics.late_rows == 1


@pytest.mark.parametrize("every", [None, 5])
def test_subtasks_that_stood_at_different_times_are_restored_as_one(every):
    """Where channels fall idle and wake again, one subtask may have gone further than another at one barrier."""
    store = MemoryStore()
    low = next(key for key in range(1_000) if group_of(key) < 64)
    high = next(key for key in range(1_000) if group_of(key) >= 64)
    behind, ahead = Window(10, every, groups=(0, 64)), Window(10, every, groups=(64, 128))
    outputs = []
    for window, key, time in ((behind, low, 11), (ahead, high, 31)):
        window.rows(*[(key, at) for at in range(60)])
        outputs += fired(window.time(time))
    merged = Window(10, every).restored([behind.snapshot(store, 1), ahead.snapshot(store, 1)], store)
    outputs += fired(merged.out.events)
    outputs += fired(merged.time(1_000))
    whole = Window(10, every).rows(*[(key, at) for at in range(60) for key in (low, high)])
    assert sorted(outputs) == sorted(fired(whole.time(1_000)))


def test_subtasks_that_stood_at_different_times_are_restored_as_four():
    store = MemoryStore()
    behind, ahead = Window(10, 5, groups=(0, 64)), Window(10, 5, groups=(64, 128))
    keys = list(range(40))
    outputs = []
    for window, first, past, time in ((behind, 0, 64, 11), (ahead, 64, 128, 31)):
        window.rows(*[(k, at) for at in range(60) for k in keys if first <= group_of(k) < past])
        outputs += fired(window.time(time))
    snapshots = [behind.snapshot(store, 1), ahead.snapshot(store, 1)]
    for first in range(0, 128, 48):
        part = Window(10, 5, groups=(first, min(first + 48, 128))).restored(snapshots, store)
        outputs += fired(part.out.events)
        outputs += fired(part.time(1_000))
    whole = Window(10, 5).rows(*[(key, at) for at in range(60) for key in keys])
    assert sorted(outputs) == sorted(fired(whole.time(1_000)))


def test_a_snapshot_after_a_merge_restores_it_again():
    store = MemoryStore()
    behind, ahead = Window(10, 5, groups=(0, 64)), Window(10, 5, groups=(64, 128))
    low = next(key for key in range(1_000) if group_of(key) < 64)
    behind.rows((low, 12), (low, 33)).time(11)
    ahead.time(31)
    merged = Window(10, 5).restored([behind.snapshot(store, 1), ahead.snapshot(store, 1)], store)
    assert sorted(fired(merged.out.events)) == [(low, 5, 1), (low, 10, 1)]
    again = Window(10, 5).restored([merged.snapshot(store, 2, completed=1)], store)
    assert fired(again.out.events) == []
    assert fired(again.time(1_000)) == [(low, 25, 1), (low, 30, 1)]


def test_a_batch_of_many_windows_in_any_order_is_spread_over_them():
    window = Window(10)
    seconds = np.random.default_rng(3).permutation(500).tolist()
    window.rows(*[(1, at) for at in seconds])
    assert fired(window.time(1_000)) == [(1, start, 10) for start in range(0, 500, 10)]


def test_a_row_without_event_time_is_named():
    window = Window(10)
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.nulls(1, MOMENTS.field("moment").type)], schema=MOMENTS)
    with pytest.raises(ks.KrishivError, match="KS-EVENT-TIME-NULL"):
        window.operator.process(batch)


def test_windows_that_hold_nothing_do_not_fire():
    window = Window(10, 1)
    assert fired(window.time(0)) == []
    window.operator.process(moments(5 * SECOND).slice(0, 1))
    assert len(fired(window.time(1_000_000))) == 10
