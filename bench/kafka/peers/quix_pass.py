"""quixstreams, records as they are: ``quix_pass.py BROKERS TOPIC OUTPUT COUNT``; prints the seconds it took."""

import logging
import sys
import tempfile
import time

from quixstreams import Application

brokers, topic, output, count = sys.argv[1:]
began = time.perf_counter()
app = Application(
    broker_address=brokers,
    consumer_group=output,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=1.0,
    state_dir=tempfile.mkdtemp(),
    auto_create_topics=False,
    loglevel=logging.WARNING,
)
records = app.dataframe(app.topic(topic, value_deserializer="bytes", key_deserializer="bytes"))
records.to_topic(app.topic(output, value_serializer="bytes", key_serializer="bytes"))
app.run(count=int(count), collect=False)
print(time.perf_counter() - began)
