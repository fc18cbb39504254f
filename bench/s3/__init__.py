"""Checkpoints of a large state in a bucket, beside bare transfers."""
