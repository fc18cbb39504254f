"""bytewax, windows of 10 s by key: ``bytewax_windows.py BROKERS TOPIC OUTPUT COUNT``; prints the seconds it took."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing as win
from bytewax.testing import run_main

brokers, topic, output, _ = sys.argv[1:]
began = time.perf_counter()


def add(totals, bid):
    """Return the totals with one more bid."""
    bids, revenue, top = totals
    return bids + 1, revenue + bid["price"], max(top, bid["price"])


def message(item):
    """Return a window's totals as a message."""
    key, (_, (bids, revenue, top)) = item
    return KafkaSinkMessage(key.encode(), json.dumps({"bids": bids, "revenue": revenue, "top": top}).encode())


flow = Dataflow("windows")
records = kop.input("in", flow, brokers=[brokers], topics=[topic], tail=False, batch_size=10_000)
bids = op.map("decode", records.oks, lambda found: (found.key.decode(), json.loads(found.value)))
clock = win.EventClock(
    ts_getter=lambda bid: datetime.fromisoformat(bid["date_time"]),
    wait_for_system_duration=timedelta(seconds=2),
    # Event time is not this machine's: the clock moves with the rows alone.
    now_getter=lambda: datetime(2026, 1, 1, tzinfo=UTC),
)
windower = win.TumblingWindower(length=timedelta(seconds=10), align_to=datetime(2026, 1, 1, tzinfo=UTC))
totals = win.fold_window("window", bids, clock, windower, lambda: (0, 0, 0), add, lambda a, b: add(a, {"price": b[1]}))
kop.output("out", op.map("message", totals.down, message), brokers=[brokers], topic=output)
run_main(flow)
print(time.perf_counter() - began)
