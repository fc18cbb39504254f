"""Orders from a topic, revenue per country and ten seconds into a Delta table in a bucket: exactly once, end to end.

    krishiv-stream run examples/kafka_to_delta/pipeline.py --profile single-node-durable --data-dir data \
        --checkpoint-interval 1s

``make demo-lake`` starts a broker and an S3 server, runs it, kills it three times and compares. See README.md.
"""

import os

import pyarrow as pa

import krishiv_stream as ks

BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")
TABLE = os.environ.get("REVENUE_TABLE", "s3://lake/revenue")
STORAGE = ks.S3(
    endpoint=os.environ.get("S3_ENDPOINT"),
    access_key=ks.Secret.from_env("AWS_ACCESS_KEY_ID"),
    secret_key=ks.Secret.from_env("AWS_SECRET_ACCESS_KEY"),
    region=os.environ.get("AWS_REGION", "us-east-1"),
)

orders = ks.read(
    ks.KafkaSource(
        BROKERS,
        "orders",
        format="json",
        schema=pa.schema(
            [("country", pa.string()), ("cents", pa.int64()), ("placed", pa.timestamp("us", tz="UTC"))],
        ),
        until="latest",  # for an example that ends; without it, the job reads on for good
    ),
    event_time="placed",
    watermark=ks.bounded_delay("5s"),
    max_rate=20_000,
    name="orders",
)
revenue = (
    orders.key_by("country")
    .window(ks.tumble("10s"))
    .aggregate(name="revenue", orders=ks.count(), cents=ks.sum("cents"))
)
pipeline = revenue.write(ks.DeltaSink(TABLE, storage=STORAGE), name="out")
