"""Dead letters: the records that a source could not use, as a stream of their own into the sink the user named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_connectors import Sink
from krishiv_stream._plan.nodes import SideOutputNode, SinkNode, SourceNode
from krishiv_stream._plan.traversal import topological

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEAD_LETTER_SCHEMA", "with_dead_letters"]

_TAG = "dead_letters"

DEAD_LETTER_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("place", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("raw", pa.binary()),
    ]
)
"""A dead letter: which source, where in it, what was wrong, and the record's bytes."""


def with_dead_letters(sinks: Sequence[SinkNode]) -> list[SinkNode]:
    """Return `sinks`, and one for the dead letters of each source that was given a sink for them.

    It is called ``<source>.dead-letters`` if the source has a name.
    """
    nodes = topological(sinks)
    served = {node.inputs[0] for node in nodes if isinstance(node, SideOutputNode) and node.tag == _TAG}
    sources = (node for node in nodes if isinstance(node, SourceNode) and node not in served)
    return [*sinks, *(_sink(node, node.on_bad_row) for node in sources if isinstance(node.on_bad_row, Sink))]


def _sink(source: SourceNode, sink: Sink) -> SinkNode:
    letters = SideOutputNode(inputs=(source,), schema=DEAD_LETTER_SCHEMA, location=source.location, tag=_TAG)
    return SinkNode(
        inputs=(letters,),
        schema=DEAD_LETTER_SCHEMA,
        name=None if source.name is None else f"{source.name}.dead-letters",
        location=source.location,
        sink=sink,
        diagnostic=sink.diagnostic,
    )
