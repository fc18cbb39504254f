"""Parquet objects in a bucket: exactly-once output, and epochs read as a whole."""

from krishiv_connectors.objects._object_sink import ObjectParquetSink
from krishiv_connectors.objects._object_source import ObjectParquetSource

__all__ = ["ObjectParquetSink", "ObjectParquetSource"]
