"""Projection pushdown: a plan that computes and reads no column that nothing uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_stream._expressions.aggregation import ORDERED_FUNCTIONS
from krishiv_stream._expressions.analysis import columns_of
from krishiv_stream._expressions.columns import col
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
from krishiv_stream._plan.traversal import topological

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datafusion.expr import Expr

__all__ = ["prune", "read_columns", "window_columns"]

Needs = dict[Node, set[str]]


def prune(sinks: Sequence[SinkNode]) -> list[SinkNode]:
    """Return the same plan without unused columns.

    Every node but the sources then states exactly the columns that its batches have when each source gives what
    `read_columns` says. Nodes to which nothing changes stay the same objects.
    """
    nodes = topological(sinks)
    needs = _needs(nodes)
    pruned: dict[Node, Node] = {}
    for node in nodes:
        pruned[node] = _rebuilt(node, tuple(pruned[upstream] for upstream in node.inputs), needs)
    return [node for node in map(pruned.__getitem__, sinks) if isinstance(node, SinkNode)]


def read_columns(nodes: Sequence[Node]) -> dict[Node, tuple[str, ...]]:
    """Return for each source among `nodes` the columns that the plan uses, in the order of its schema.

    The event time is among them if a watermark is made from it. There is always at least one column, the narrowest,
    so that rows can be counted.
    """
    needs = _needs(nodes)
    return {node: _read(node, needs) for node in nodes if isinstance(node, SourceNode)}


def _needs(nodes: Sequence[Node]) -> Needs:
    """Return which columns of each node are used by what comes after it."""
    needs: Needs = {node: set() for node in nodes}
    for node in reversed(nodes):
        match node:
            case FilterNode():
                needs[node.inputs[0]] |= needs[node] | columns_of(node.predicate)
            case ProjectNode():
                used = (expression for _, expression in _kept_columns(node, needs))
                needs[node.inputs[0]] |= frozenset[str]().union(*map(columns_of, used))
            case UnionNode():
                for upstream in node.inputs:
                    needs[upstream] |= needs[node]
            case WindowNode():
                needs[node.inputs[0]] |= window_columns(node)
            case SideOutputNode() if node.tag == "late":
                needs[node.inputs[0].inputs[0]] |= needs[node]
            case MapBatchesNode() | MapRowsNode() | SinkNode():
                needs[node.inputs[0]] |= set(node.inputs[0].schema.names)
            case _:
                pass
    return needs


def window_columns(node: WindowNode) -> set[str]:
    """Return the columns of its input that a windowed aggregate uses."""
    if any(aggregate.function in ORDERED_FUNCTIONS for _, aggregate in node.aggregates):
        return set(node.inputs[0].schema.names)
    expressions = [expression for _, expression in node.keys]
    for _, aggregate in node.aggregates:
        expressions += [part for part in (aggregate.argument, aggregate.where) if part is not None]
    return {node.input_event_time}.union(*map(columns_of, expressions))


def _kept_columns(node: ProjectNode, needs: Needs) -> tuple[tuple[str, Expr], ...]:
    kept = tuple((name, expression) for name, expression in node.columns if name in needs[node])
    return kept or node.columns[:1]


def _read(node: SourceNode, needs: Needs) -> tuple[str, ...]:
    used = set(needs[node])
    if node.watermark is not None and node.event_time is not None:
        used.add(node.event_time)
    if not used:
        used = {min(node.schema, key=_width).name}
    return tuple(name for name in node.schema.names if name in used)


def _width(field: pa.Field) -> int:
    try:
        return int(field.type.bit_width)
    except ValueError:  # of variable width
        return 1 << 16


def _rebuilt(node: Node, inputs: tuple[Node, ...], needs: Needs) -> Node:
    match node:
        case FilterNode():
            return _changed(node, inputs, _flow(inputs[0], node.inputs[0], needs))
        case ProjectNode():
            columns = _kept_columns(node, needs)
            schema = _only(node.schema, {name for name, _ in columns})
            smaller = node if len(columns) == len(node.columns) else replace(node, columns=columns)
            return _changed(smaller, inputs, schema)
        case UnionNode():
            schema = _only(node.schema, needs[node] or set(node.schema.names[:1]))
            flows = [_flow(new, old, needs) for new, old in zip(inputs, node.inputs, strict=True)]
            equal = tuple(
                upstream if flow.names == schema.names else _selecting(upstream, schema)
                for upstream, flow in zip(inputs, flows, strict=True)
            )
            return _changed(node, equal, schema)
        case SideOutputNode() if node.tag == "late":
            window, old = inputs[0], node.inputs[0]
            return _changed(node, inputs, _flow(window.inputs[0], old.inputs[0], needs))
        case _:
            return _changed(node, inputs, node.schema)


def _flow(node: Node, original: Node, needs: Needs) -> pa.Schema:
    """Return the columns that the batches of `node` have."""
    if isinstance(original, SourceNode):
        return _only(original.schema, set(_read(original, needs)))
    return node.schema


def _only(schema: pa.Schema, names: set[str]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name in names])


def _selecting(node: Node, schema: pa.Schema) -> ProjectNode:
    return ProjectNode(
        inputs=(node,),
        schema=schema,
        event_time=node.event_time if node.event_time in schema.names else None,
        location=node.location,
        columns=tuple((name, col(name)) for name in schema.names),
    )


def _changed(node: Node, inputs: tuple[Node, ...], schema: pa.Schema) -> Node:
    if inputs == node.inputs and schema.equals(node.schema):
        return node
    event_time = node.event_time if node.event_time in schema.names else None
    return replace(node, inputs=inputs, schema=schema, event_time=event_time)
