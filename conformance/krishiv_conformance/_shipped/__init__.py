"""Harnesses of the connectors and stores that come with krishiv-stream."""

from krishiv_conformance._shipped._delta import DeltaFollowHarness, DeltaSinkHarness, DeltaSourceHarness
from krishiv_conformance._shipped._iceberg import IcebergFollowHarness, IcebergSinkHarness, IcebergSourceHarness
from krishiv_conformance._shipped._kafka import KafkaFollowHarness, KafkaSinkHarness, KafkaSourceHarness
from krishiv_conformance._shipped._postgres import PostgresSinkHarness, PostgresSourceHarness
from krishiv_conformance._shipped._s3 import (
    ObjectParquetFollowHarness,
    ObjectParquetSinkHarness,
    ObjectParquetSourceHarness,
    ObjectStoreHarness,
)
from krishiv_conformance._shipped._sinks import JsonSinkHarness, ParquetSinkHarness, SqliteSinkHarness
from krishiv_conformance._shipped._sources import (
    CsvFollowHarness,
    CsvSourceHarness,
    JsonFollowHarness,
    JsonSourceHarness,
    NexmarkSourceHarness,
    ParquetFollowHarness,
    ParquetSourceHarness,
)
from krishiv_conformance._shipped._stores import FilesystemStoreHarness

__all__ = [
    "CsvFollowHarness",
    "CsvSourceHarness",
    "DeltaFollowHarness",
    "DeltaSinkHarness",
    "DeltaSourceHarness",
    "FilesystemStoreHarness",
    "IcebergFollowHarness",
    "IcebergSinkHarness",
    "IcebergSourceHarness",
    "JsonFollowHarness",
    "JsonSinkHarness",
    "JsonSourceHarness",
    "KafkaFollowHarness",
    "KafkaSinkHarness",
    "KafkaSourceHarness",
    "NexmarkSourceHarness",
    "ObjectParquetFollowHarness",
    "ObjectParquetSinkHarness",
    "ObjectParquetSourceHarness",
    "ObjectStoreHarness",
    "ParquetFollowHarness",
    "ParquetSinkHarness",
    "ParquetSourceHarness",
    "PostgresSinkHarness",
    "PostgresSourceHarness",
    "SqliteSinkHarness",
]
