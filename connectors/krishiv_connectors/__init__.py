"""Sources and sinks: the base classes that connector authors subclass, and the connectors that come with them."""

from importlib import import_module
from typing import TYPE_CHECKING

from krishiv_connectors._errors import (
    BadCsvRow,
    BadJsonLine,
    FileChanged,
    FileVanished,
    GeneratorChanged,
    MarkMoved,
    MissingDirectory,
    NoMatchingFiles,
    OutputHeld,
    SchemaChanged,
    SecretMissing,
    SimulatedCrash,
    UnreadableFile,
    UnsupportedField,
    UnsupportedLocation,
)
from krishiv_connectors._module_texts import module_texts
from krishiv_connectors._secrets import Secret
from krishiv_connectors._sink import IdempotentSink, Sink, SinkContext, TwoPhaseSink
from krishiv_connectors._source import Reader, Source, SourceContext, Split
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors._storage import S3

if TYPE_CHECKING:
    from krishiv_connectors._memory import MemoryAppendSink, MemorySink, MemorySource
    from krishiv_connectors._print_sink import PrintSink
    from krishiv_connectors._test_source import SentinelSource
    from krishiv_connectors.delta import DeltaSink, DeltaSource
    from krishiv_connectors.files import CsvSource, JsonSink, JsonSource, ParquetSink, ParquetSource
    from krishiv_connectors.iceberg import IcebergSink, IcebergSource
    from krishiv_connectors.kafka import KafkaSink, KafkaSource
    from krishiv_connectors.nexmark import NexmarkSource
    from krishiv_connectors.postgres import PostgresSink, PostgresSource
    from krishiv_connectors.sqlite import SqliteSink

__all__ = [
    "BadCsvRow",
    "BadJsonLine",
    "CsvSource",
    "DeltaSink",
    "DeltaSource",
    "FileChanged",
    "FileVanished",
    "GeneratorChanged",
    "IcebergSink",
    "IcebergSource",
    "IdempotentSink",
    "JsonSink",
    "JsonSource",
    "KafkaSink",
    "KafkaSource",
    "MarkMoved",
    "MemoryAppendSink",
    "MemorySink",
    "MemorySource",
    "MissingDirectory",
    "NexmarkSource",
    "NoMatchingFiles",
    "OutputHeld",
    "ParquetSink",
    "ParquetSource",
    "PostgresSink",
    "PostgresSource",
    "PrintSink",
    "Reader",
    "S3",
    "SchemaChanged",
    "Secret",
    "SecretMissing",
    "SentinelSource",
    "SimulatedCrash",
    "Sink",
    "SinkContext",
    "Source",
    "SourceContext",
    "Split",
    "SqliteSink",
    "StagedSink",
    "TwoPhaseSink",
    "UnreadableFile",
    "UnsupportedField",
    "UnsupportedLocation",
    "module_texts",
]

# Connectors load their libraries when they are first named: importing this package stays fast.
_CONNECTORS = {
    "CsvSource": "files",
    "DeltaSink": "delta",
    "DeltaSource": "delta",
    "IcebergSink": "iceberg",
    "IcebergSource": "iceberg",
    "JsonSink": "files",
    "JsonSource": "files",
    "KafkaSink": "kafka",
    "KafkaSource": "kafka",
    "MemoryAppendSink": "_memory",
    "MemorySink": "_memory",
    "MemorySource": "_memory",
    "NexmarkSource": "nexmark",
    "ParquetSink": "files",
    "ParquetSource": "files",
    "PostgresSink": "postgres",
    "PostgresSource": "postgres",
    "PrintSink": "_print_sink",
    "SentinelSource": "_test_source",
    "SqliteSink": "sqlite",
}


def __getattr__(name: str) -> type:
    if name not in _CONNECTORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    connector: type = getattr(import_module(f"{__name__}.{_CONNECTORS[name]}"), name)
    globals()[name] = connector
    return connector
