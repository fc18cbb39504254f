"""Both ends of the example, without krishiv-stream: fill the topic of orders, read the topic of revenue.

python examples/kafka_to_kafka/topics.py fill [COUNT]
python examples/kafka_to_kafka/topics.py read
"""

import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKERS = os.environ.get("KAFKA_BROKERS", "127.0.0.1:9092")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
COUNTRIES = ("BR", "DE", "IN", "JP", "US")


def fill(count: int) -> None:
    """Make the topic of orders if it is missing, and write `count` orders of ten hours, up to 4 s out of order."""
    admin = AdminClient({"bootstrap.servers": BROKERS})
    error = admin.create_topics([NewTopic("orders", 4)])["orders"].exception(30)
    if isinstance(error, KafkaException) and error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
        raise error
    # A retry of this producer writes nothing twice; what it is told to write twice, nobody can tell from two orders.
    producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True})
    for number in range(count):
        producer.produce("orders", json.dumps(order(number, count)), partition=number % 4, on_delivery=check)
        producer.poll(0)
        if number % 50_000 == 0:
            producer.flush()
    producer.flush()
    print(f"{count} orders written")


def order(number: int, count: int) -> dict[str, object]:
    """Return order `number` of `count`, the same each time."""
    chance = random.Random(number)
    placed = BEGIN + timedelta(seconds=36_000 * number / count - chance.uniform(0, 4))
    cents = chance.randrange(100, 100_000)
    return {"order": number, "country": chance.choice(COUNTRIES), "cents": cents, "placed": placed.isoformat()}


def check(error: KafkaError | None, _: object) -> None:
    """Stop if an order was not delivered."""
    if error is not None:
        raise KafkaException(error)


def read() -> None:
    """Print the results that are committed, and count them."""
    seen: Counter[tuple[str, str]] = Counter()
    orders = 0
    for value in committed("revenue"):
        print(value.decode())
        result = json.loads(value)
        seen[result["country"], result["window_start"]] += 1
        orders += result["orders"]
    twice = sum(times > 1 for times in seen.values())
    print(f"{len(seen)} results over {orders} orders; {twice} results came more than once", file=sys.stderr)


def committed(topic: str) -> Iterator[bytes]:
    """Give the values of a topic up to its present end."""
    # isolation.level is what makes the difference: without it, results of aborted transactions are seen too. It is
    # librdkafka's default, and not that of Java's consumers.
    settings = {"group.id": "example", "isolation.level": "read_committed", "enable.partition.eof": True}
    consumer = Consumer({"bootstrap.servers": BROKERS, "enable.auto.commit": False, **settings})
    partitions = list(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    left = set(partitions)
    while left:
        message = consumer.poll(30)
        if message is None:
            raise SystemExit("the broker does not answer")
        error = message.error()
        if error is None:
            yield message.value() or b""
        elif error.code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition() or 0)
        else:
            raise KafkaException(error)
    consumer.close()


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["fill"]:
            fill(200_000)
        case ["fill", count]:
            fill(int(count))
        case ["read"]:
            read()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
