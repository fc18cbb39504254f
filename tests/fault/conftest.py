"""Jobs that are killed, some of them on a real Kafka broker."""

from tests.services.fixtures import kafka, new_broker, own_kafka, topic

__all__ = ["kafka", "new_broker", "own_kafka", "topic"]
