"""Sources and sinks: the base classes that connector authors subclass, and the connectors that come with them."""

from krishiv_connectors._module_texts import module_texts
from krishiv_connectors._sink import IdempotentSink, MarkMoved, Sink, SinkContext, TwoPhaseSink
from krishiv_connectors._source import Reader, Source, SourceContext, Split

__all__ = [
    "IdempotentSink",
    "MarkMoved",
    "Reader",
    "Sink",
    "SinkContext",
    "Source",
    "SourceContext",
    "Split",
    "TwoPhaseSink",
    "module_texts",
]
