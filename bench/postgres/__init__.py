"""Throughput into and out of PostgreSQL, beside its bare client."""
