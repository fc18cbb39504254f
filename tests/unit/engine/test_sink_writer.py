"""A sink's writer: each epoch prepared once, and handed in until a durable manifest is known to hold it (P4, P6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import krishiv_stream as ks
from krishiv_connectors import SinkContext
from krishiv_guarantees import SinkCapabilities
from krishiv_stream._engine.metrics import OperatorMetrics
from krishiv_stream._engine.operators.sink import SinkWriter
from krishiv_stream._engine.snapshots import SnapshotCollector
from tests.unit.engine.support import MOMENTS, barrier, moments

if TYPE_CHECKING:
    import pyarrow as pa


def writer(sink: ks.Sink, previous: int = 0) -> SinkWriter:
    context = SinkContext(job="j", lineage="l", sink_id="out", slot=3, token=7, schema=MOMENTS)
    made = SinkWriter(sink, context, previous, OperatorMetrics())
    made.open()
    return made


def pass_barrier(made: SinkWriter, epoch: int, completed: int = 0) -> list[tuple[int, int]]:
    """Return epoch and previous epoch of every committable that is handed in."""
    collector = SnapshotCollector(epoch, 7, completed)
    made.barrier(barrier(epoch), collector)
    assert {(c.sink, c.slot, c.token) for c in collector.committables} <= {("out", 3, 7)}
    return [(c.epoch, c.previous) for c in collector.committables]


def test_committables_are_handed_in_again_until_their_manifest_is_known_to_be_durable():
    made = writer(ks.MemorySink())
    made.process(moments(1))
    assert pass_barrier(made, 1) == [(1, 0)]
    assert pass_barrier(made, 2) == [(1, 0), (2, 1)]  # the ack of epoch 1 may have been lost
    assert pass_barrier(made, 3, completed=2) == [(3, 2)]
    assert pass_barrier(made, 4, completed=2) == [(3, 2), (4, 3)]


def test_the_chain_goes_on_from_what_was_committed_before():
    assert pass_barrier(writer(ks.MemorySink(), previous=41), 50) == [(50, 41)]


def test_an_epoch_without_rows_is_an_epoch():
    made = writer(ks.MemorySink())
    assert pass_barrier(made, 1) == [(1, 0)]


def test_a_prepare_that_fails_hands_in_nothing():
    class Broken(ks.MemorySink):
        def prepare(self, epoch: int) -> bytes:
            raise OSError("no space")

    collector = SnapshotCollector(1, 7, 0)
    with pytest.raises(OSError, match="no space"):
        writer(Broken()).barrier(barrier(1), collector)
    assert collector.committables == []


class Plain(ks.Sink):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def open(self, ctx: SinkContext) -> None:
        self.calls.append(("open", ctx.slot))

    def write(self, batch: pa.RecordBatch) -> None:
        self.calls.append(batch.num_rows)

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")

    def capabilities(self) -> SinkCapabilities:
        return SinkCapabilities(durable_flush=True)


def test_a_plain_sink_is_flushed_at_each_barrier_and_hands_in_nothing():
    sink = Plain()
    made = writer(sink)
    made.process(moments(1, 2))
    assert pass_barrier(made, 1) == []
    made.close()
    assert sink.calls == [("open", 3), 2, "flush", "close"]


def test_rows_and_time_are_counted():
    made = writer(Plain())
    made.process(moments(1, 2))
    made.process(moments(3))
    made.watermark(2)
    assert (made._metrics.rows_in, made._metrics.watermark) == (3, 2)
