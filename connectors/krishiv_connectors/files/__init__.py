"""Files: sources with exact positions, and exactly-once sinks."""

from krishiv_connectors.files._csv_source import CsvSource
from krishiv_connectors.files._json_sink import JsonSink
from krishiv_connectors.files._json_source import JsonSource
from krishiv_connectors.files._parquet_sink import ParquetSink
from krishiv_connectors.files._parquet_source import ParquetSource

__all__ = ["CsvSource", "JsonSink", "JsonSource", "ParquetSink", "ParquetSource"]
