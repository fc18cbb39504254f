"""Orders from Parquet files, revenue per country and minute as Parquet into a bucket: exactly once.

    python examples/parquet_to_s3/ends.py fill
    krishiv-stream run examples/parquet_to_s3/pipeline.py --profile single-node-durable --data-dir data \
        --checkpoint-interval 1s --allow-uncertified
    python examples/parquet_to_s3/ends.py read

or, with the same settings, ``python examples/parquet_to_s3/pipeline.py`` in the middle. Kill it and run it again:
it goes on from its last checkpoint. See README.md.
"""

import os

import krishiv_stream as ks

URL = os.environ.get("S3_URL", "s3://my-bucket/revenue")
STORAGE = ks.S3(endpoint=os.environ.get("S3_ENDPOINT"))

orders = ks.read(
    ks.ParquetSource("orders/*.parquet"),
    event_time="placed",
    watermark=ks.bounded_delay("5s"),
    max_rate=20_000,
    name="orders",
)
revenue = (
    orders.key_by("country").window(ks.tumble("1m")).aggregate(name="revenue", orders=ks.count(), cents=ks.sum("cents"))
)
pipeline = revenue.write(ks.ParquetSink(URL, partition_by="country", storage=STORAGE), name="out")


def main() -> None:
    """Run it."""
    session = ks.Session(
        profile="single-node-durable", data_dir="data", checkpoint_interval="1s", allow_uncertified=True
    )
    print(session.explain(pipeline))
    print(session.run(pipeline).status)


if __name__ == "__main__":
    main()
