"""Message formats: from lists of message values to Arrow record batches, and back."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder, Format

if TYPE_CHECKING:
    from krishiv_connectors.codecs._avro_codec import AvroFormat
    from krishiv_connectors.codecs._csv_codec import CsvFormat
    from krishiv_connectors.codecs._formats import format_of
    from krishiv_connectors.codecs._json_codec import JsonFormat
    from krishiv_connectors.codecs._json_inference import infer_json_schema
    from krishiv_connectors.codecs._protobuf_codec import ProtobufFormat
    from krishiv_connectors.codecs._raw_codec import RawFormat, StringFormat
    from krishiv_connectors.codecs._registry import SchemaRegistry

__all__ = [
    "AvroFormat",
    "BadValue",
    "CsvFormat",
    "Decoded",
    "Decoder",
    "Encoder",
    "Format",
    "JsonFormat",
    "ProtobufFormat",
    "RawFormat",
    "SchemaRegistry",
    "StringFormat",
    "format_of",
    "infer_json_schema",
]

# Formats load their libraries when they are first named.
_LAZY = {
    "AvroFormat": "_avro_codec",
    "CsvFormat": "_csv_codec",
    "JsonFormat": "_json_codec",
    "ProtobufFormat": "_protobuf_codec",
    "RawFormat": "_raw_codec",
    "SchemaRegistry": "_registry",
    "StringFormat": "_raw_codec",
    "format_of": "_formats",
    "infer_json_schema": "_json_inference",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
