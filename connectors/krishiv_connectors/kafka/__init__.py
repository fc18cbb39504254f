"""Apache Kafka: topics as sources. Needs the extra ``krishiv-stream[kafka]``."""

from krishiv_connectors.kafka._kafka_source import KafkaSource

__all__ = ["KafkaSource"]
