"""Benchmarks over a real Kafka broker: ``python -m bench.kafka``."""
