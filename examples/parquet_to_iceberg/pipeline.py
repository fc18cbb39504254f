"""Orders from Parquet files, revenue per country and hour into an Iceberg table: exactly once.

    python examples/parquet_to_iceberg/table.py fill
    krishiv-stream run examples/parquet_to_iceberg/pipeline.py --profile single-node-durable --data-dir data \
        --checkpoint-interval 1s
    python examples/parquet_to_iceberg/table.py read

Kill it and run it again: it goes on from its last checkpoint. See README.md.
"""

import os
from pathlib import Path

import krishiv_stream as ks

LAKE = Path(os.environ.get("LAKE", "lake")).resolve()
CATALOG = {"type": "sql", "uri": f"sqlite:///{LAKE}/catalog.db", "warehouse": f"file://{LAKE}/warehouse"}

orders = ks.read(
    ks.ParquetSource(f"{LAKE}/orders/*.parquet"),
    event_time="placed",
    watermark=ks.bounded_delay("5s"),
    max_rate=20_000,
    name="orders",
)
revenue = (
    orders.key_by("country").window(ks.tumble("1h")).aggregate(name="revenue", orders=ks.count(), cents=ks.sum("cents"))
)
pipeline = revenue.write(ks.IcebergSink(CATALOG, "shop.revenue", partition_by="day(window_start)"), name="out")
