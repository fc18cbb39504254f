"""Apache Kafka: topics as sources and as sinks. Needs the extra ``krishiv-stream[kafka]``."""

from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_connectors.kafka._kafka_source import KafkaSource

__all__ = ["KafkaSink", "KafkaSource"]
