"""Apache Iceberg tables: https://iceberg.apache.org/spec/, through pyiceberg."""

from krishiv_connectors.iceberg._iceberg_sink import IcebergSink
from krishiv_connectors.iceberg._iceberg_source import IcebergSource

__all__ = ["IcebergSink", "IcebergSource"]
