"""Throughput into and out of Delta tables, beside delta-rs alone."""
