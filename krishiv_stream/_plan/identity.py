"""Who is who in a plan, from one run to the next: operator ids, and the fingerprint that checkpoints are bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import Fingerprint, OperatorIdentity
from krishiv_stream._plan.nodes import (
    FilterNode,
    MapBatchesNode,
    MapRowsNode,
    Node,
    ProjectNode,
    SideOutputNode,
    SinkNode,
    SourceNode,
    UnionNode,
    WindowNode,
)
from krishiv_stream._plan.pruning import read_columns, window_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from krishiv_stream._plan.pipeline import Pipeline

__all__ = ["fingerprint", "kind_of", "operator_ids", "required_columns"]

_KINDS: dict[type[Node], str] = {
    SourceNode: "source",
    FilterNode: "filter",
    ProjectNode: "select",
    MapBatchesNode: "map_batches",
    MapRowsNode: "map_rows",
    UnionNode: "union",
    WindowNode: "window",
    SideOutputNode: "side_output",
    SinkNode: "sink",
}


def kind_of(node: Node) -> str:
    """Return what `node` is, in the user's words."""
    return "flat_map_rows" if isinstance(node, MapRowsNode) and node.flat else _KINDS[type(node)]


def operator_ids(pipeline: Pipeline) -> dict[Node, str]:
    """Return the stable id of every node: the user's name, else its kind and how manieth of that kind it is.

    Nodes are counted in the order in which the sinks were written and their inputs listed: the same program gives the
    same ids, and adding a filter changes the id of no window.
    """
    taken = {node.name for node in pipeline.nodes}
    counts: dict[str, int] = {}
    ids: dict[Node, str] = {}
    for node in pipeline.nodes:
        ids[node] = node.name or _next_free(kind_of(node), counts, taken)
    return ids


def fingerprint(pipeline: Pipeline, max_key_groups: int = 128) -> Fingerprint:
    """Return what a checkpoint of `pipeline` is bound to (P3): sources, windows and sinks, how they are joined, and
    the schemas of their states. Expressions, filters and projections are not part of it."""
    ids = operator_ids(pipeline)
    kept = [node for node in pipeline.nodes if isinstance(node, SourceNode | WindowNode | SinkNode)]
    return Fingerprint(tuple(_identity(node, ids) for node in kept), max_key_groups)


def required_columns(pipeline: Pipeline) -> dict[Node, tuple[str, ...]]:
    """Return for each source the columns that the pipeline uses, in the order of its schema."""
    return read_columns(pipeline.nodes)


def _next_free(kind: str, counts: dict[str, int], taken: set[str | None]) -> str:
    while True:
        counts[kind] = counts.get(kind, 0) + 1
        candidate = f"{kind}-{counts[kind]}"
        if candidate not in taken:
            return candidate


def _identity(node: Node, ids: Mapping[Node, str]) -> OperatorIdentity:
    return OperatorIdentity(
        id=ids[node],
        kind=kind_of(node),
        named=node.name is not None,
        state=_state(node),
        inputs=tuple(dict.fromkeys(ids[upstream] for upstream in _feeding(node))),
    )


def _feeding(node: Node) -> Iterator[Node]:
    """Yield the nearest nodes with an identity that feed `node`."""
    for upstream in node.inputs:
        if isinstance(upstream, SourceNode | WindowNode):
            yield upstream
        else:
            yield from _feeding(upstream)


def _state(node: Node) -> str:
    """Return the schema of what `node` remembers. That of sources and sinks is theirs: their class stands for it."""
    match node:
        case SourceNode():
            return type(node.source).__name__
        case SinkNode():
            return type(node.sink).__name__
        case WindowNode():
            return _window_state(node)
        case _:
            return ""


def _window_state(node: WindowNode) -> str:
    """Return what its raw rows look like and how they are spread: over panes of time, and over key groups."""
    window, schema = node.window, node.inputs[0].schema
    used = window_columns(node)
    rows = ", ".join(f"{field.name}: {field.type}" for field in schema if field.name in used)
    keys = ", ".join(str(expression.canonical_name()) for _, expression in node.keys)
    return f"window(size={window.size}, every={window.every}, offset={window.offset}) by ({keys}) of ({rows})"
