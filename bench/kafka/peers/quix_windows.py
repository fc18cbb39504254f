"""quixstreams, windows of 10 s by key: ``quix_windows.py BROKERS TOPIC OUTPUT COUNT``; prints the seconds it took."""

import logging
import sys
import tempfile
import time
from datetime import datetime, timedelta

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Sum

brokers, topic, output, count = sys.argv[1:]
began, left = time.perf_counter(), int(count)
app = Application(
    broker_address=brokers,
    consumer_group=output,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=1.0,
    state_dir=tempfile.mkdtemp(),
    loglevel=logging.WARNING,
)


def milliseconds(value, headers, timestamp, kind):
    """Return the event's time."""
    return int(datetime.fromisoformat(value["date_time"]).timestamp() * 1000)


def count_down(value):
    """Stop behind the last row: ``run(count=...)`` counts the windows that come out instead."""
    global left
    left -= 1
    if not left:
        app.stop()


bids = app.dataframe(app.topic(topic, value_deserializer="json", timestamp_extractor=milliseconds))
totals = (
    bids.update(count_down)
    .tumbling_window(timedelta(seconds=10), grace_ms=2_000)
    .agg(bids=Count(), revenue=Sum("price"), top=Max("price"))
)
totals.final(closing_strategy="partition").to_topic(app.topic(output, value_serializer="json"))
app.run()
print(time.perf_counter() - began)
