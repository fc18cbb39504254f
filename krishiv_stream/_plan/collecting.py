"""`collect`: a stream run to its end, its rows brought back."""

from __future__ import annotations

import uuid
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_connectors import MemorySink
from krishiv_stream._errors import UnboundedCollect
from krishiv_stream._location import user_location
from krishiv_stream._plan.nodes import Node, SinkNode, SourceNode
from krishiv_stream._plan.pipeline import Pipeline
from krishiv_stream._plan.traversal import topological

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["collect"]


def collect(node: Node, session: Any | None) -> pa.Table:
    """Run what leads to `node` in `session`, a `Session`, and return the rows it gives.

    Raises
    ------
    UnboundedCollect
        If a source never ends.
    """
    for source in topological([node]):
        if isinstance(source, SourceNode) and not source.source.capabilities().bounded:
            raise UnboundedCollect(
                f"{type(source.source).__name__} at {source.location} never ends, so its rows cannot be collected",
                hint="write(sink) and run the pipeline, or read a bounded source",
            )
    sink = MemorySink()
    end = SinkNode(
        inputs=(node,),
        schema=node.schema,
        event_time=node.event_time,
        location=user_location(),
        sink=sink,
    )
    # A name of its own: a job that finished before under the same name would not run again.
    name = f"collect-{uuid.uuid4().hex[:12]}"
    if session is not None:
        session.run(Pipeline([end]), job=name)
        return sink.table()
    # Sessions are built on plans: a static import would be a cycle.
    with import_module("krishiv_stream._session").Session(profile="dev-local") as own:
        own.run(Pipeline([end]), job=name)
    return sink.table()
