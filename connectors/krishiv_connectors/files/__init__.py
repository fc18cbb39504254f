"""Files: sources and exactly-once sinks."""

from krishiv_connectors.files._json_sink import JsonSink
from krishiv_connectors.files._parquet_sink import ParquetSink

__all__ = ["JsonSink", "ParquetSink"]
