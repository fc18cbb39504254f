"""What is said of a node in drawings of a plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_stream._expressions.analysis import is_volatile
from krishiv_stream._expressions.columns import plain_column
from krishiv_stream._plan.nodes import (
    FilterNode,
    MapBatchesNode,
    MapRowsNode,
    Node,
    ProjectNode,
    SideOutputNode,
    SinkNode,
    SourceNode,
    WindowNode,
)
from krishiv_stream._plan.watermarks import ProcessingTime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from datafusion.expr import Expr

    from krishiv_stream._plan.aggregates import Aggregate

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """A node in words.

    Parameters
    ----------
    details : tuple of str
        What it does.
    marks : tuple of str
        What one should know before relying on it: slow paths, functions that may change their mind.
    """

    details: tuple[str, ...]
    marks: tuple[str, ...] = ()


def describe(node: Node, columns: tuple[str, ...] = ()) -> Description:
    """Return `node` in words; `columns` are those read from a source."""
    match node:
        case SourceNode():
            return Description(tuple(_source(node, columns)), _processing_time(node))
        case FilterNode():
            return Description((_text(node.predicate),), _volatile([node.predicate]))
        case ProjectNode():
            expressions = [expression for _, expression in node.columns]
            return Description((", ".join(_column(*column) for column in node.columns),), _volatile(expressions))
        case MapBatchesNode():
            return Description((_function(node.function),), ("Python per batch", *_undeclared(node)))
        case MapRowsNode():
            return Description((_function(node.function),), ("slow path: Python per row", *_undeclared(node)))
        case WindowNode():
            return Description(tuple(_window(node)), _volatile(_expressions(node)))
        case SideOutputNode():
            return Description((node.tag,))
        case SinkNode():
            return Description((_object(node.sink),), ("diagnostic",) if node.diagnostic else ())
        case _:
            return Description(())


def _source(node: SourceNode, columns: tuple[str, ...]) -> Iterable[str]:
    yield _object(node.source)
    yield f"columns: {', '.join(columns or node.schema.names)}"
    if node.event_time is not None:
        watermark = "at the end only" if node.watermark is None else str(node.watermark)
        yield f"event time: {node.event_time}; watermark: {watermark}"
    if node.max_rate is not None:
        yield f"at most {node.max_rate:g} rows/s"
    if node.on_bad_row != "fail":
        yield f"bad rows: {node.on_bad_row if isinstance(node.on_bad_row, str) else _object(node.on_bad_row)}"


def _processing_time(node: SourceNode) -> tuple[str, ...]:
    return ("results depend on the clock",) if isinstance(node.watermark, ProcessingTime) else ()


def _window(node: WindowNode) -> Iterable[str]:
    keys = ", ".join(_column(*key) for key in node.keys) or "none, one subtask"
    lateness = f", allowed lateness {node.lateness / 1e6:g}s" if node.lateness else ""
    yield f"{node.window} of {node.input_event_time}{lateness}"
    yield f"key: {keys}"
    yield ", ".join(f"{name}={_aggregate(aggregate)}" for name, aggregate in node.aggregates)


def _aggregate(aggregate: Aggregate) -> str:
    argument = "" if aggregate.argument is None else _text(aggregate.argument)
    condition = "" if aggregate.where is None else f" where {_text(aggregate.where)}"
    return f"{aggregate.function}({argument}){condition}"


def _expressions(node: WindowNode) -> list[Expr]:
    expressions = [expression for _, expression in node.keys]
    for _, aggregate in node.aggregates:
        expressions += [part for part in (aggregate.argument, aggregate.where) if part is not None]
    return expressions


def _volatile(expressions: Iterable[Expr]) -> tuple[str, ...]:
    return tuple(f"volatile: {_text(expression)}" for expression in expressions if is_volatile(expression))


def _undeclared(node: MapBatchesNode | MapRowsNode) -> tuple[str, ...]:
    return () if node.deterministic else ("not declared deterministic",)


def _column(name: str, expression: Expr) -> str:
    source = plain_column(expression)
    if source == name:
        return name
    return f"{name}={_text(expression) if source is None else source}"


_LITERAL = re.compile(r'\b(?:Utf8|LargeUtf8|Utf8View|U?Int\d+|Float\d+|Boolean)\(("(?:[^"\\]|\\.)*"|[^()"]*)\)')


def _text(expression: Expr) -> str:
    while expression.variant_name() == "Alias":
        expression = expression.rex_call_operands()[0]
    return _LITERAL.sub(r"\1", str(expression.canonical_name()))


def _function(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


def _object(value: object) -> str:
    """Return the class of a source or sink and what it says of itself; the default `repr` says nothing."""
    kind = type(value)
    return kind.__name__ if kind.__repr__ is object.__repr__ else repr(value)
