"""Totals per auction and ten seconds, over generated bids, into Parquet: exactly once.

    krishiv-stream explain examples/bid_totals/pipeline.py
    krishiv-stream run examples/bid_totals/pipeline.py --profile single-node-durable --data-dir data \
        --checkpoint-interval 1s --require exactly_once

Kill it and run it again: it goes on from its last checkpoint.
"""

import krishiv_stream as ks
from krishiv_stream import col

bids = ks.read(
    ks.NexmarkSource(events=500_000, stream="bid"),
    event_time="date_time",
    watermark=ks.bounded_delay("4s"),
    max_rate=50_000,
    name="bids",
)
totals = (
    bids.filter(col("price") > 100)
    .key_by("auction")
    .window(ks.tumble("10s"))
    .aggregate(name="totals", bids=ks.count(), revenue=ks.sum("price"), top=ks.max("price"))
)
pipeline = totals.write(ks.ParquetSink("out/bid-totals"), name="out")
