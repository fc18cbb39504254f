"""Orders from a topic, revenue per country and minute into another one: exactly once from end to end.

    python examples/kafka_to_kafka/topics.py fill
    krishiv-stream run examples/kafka_to_kafka/pipeline.py --profile single-node-durable --data-dir data \
        --checkpoint-interval 1s --require exactly_once
    python examples/kafka_to_kafka/topics.py read

or, with the same settings, ``python examples/kafka_to_kafka/pipeline.py`` in the middle. Kill it and run it again: it
goes on from its last checkpoint. See README.md.
"""

import os

import pyarrow as pa

import krishiv_stream as ks

BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")

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
    orders.key_by("country").window(ks.tumble("1m")).aggregate(name="revenue", orders=ks.count(), cents=ks.sum("cents"))
)
pipeline = revenue.write(
    ks.KafkaSink(BROKERS, "revenue", format="json", key="country", create_topics={"partitions": 3}), name="out"
)


def main() -> None:
    """Run it."""
    session = ks.Session(profile="single-node-durable", data_dir="data", checkpoint_interval="1s")
    print(session.explain(pipeline))
    print(session.run(pipeline, require="exactly_once").status)


if __name__ == "__main__":
    main()
