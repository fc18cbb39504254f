"""Tests against a real S3 server."""

from tests.services.s3.fixtures import own_s3, s3

__all__ = ["own_s3", "s3"]
