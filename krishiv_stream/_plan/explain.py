"""A plan as text: each sink with what leads to it, indented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_stream._plan.describe import describe
from krishiv_stream._plan.identity import kind_of, operator_ids, required_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from krishiv_stream._plan.nodes import Node
    from krishiv_stream._plan.pipeline import Pipeline

__all__ = ["explain"]


def explain(pipeline: Pipeline) -> str:
    """Return the plan of `pipeline`: operators, keys, windows, event time, and marks in square brackets.

    It is read upwards: rows enter at the innermost lines and leave at the outermost. What several sinks share is
    written out once.
    """
    ids, columns = operator_ids(pipeline), required_columns(pipeline)
    seen: set[Node] = set()
    lines = [f"pipeline {pipeline.name}"]
    for sink in pipeline.sinks:
        lines.extend(_tree(sink, ids, columns, seen, "", ""))
    return "\n".join(lines)


def _tree(
    node: Node,
    ids: Mapping[Node, str],
    columns: Mapping[Node, tuple[str, ...]],
    seen: set[Node],
    first: str,
    rest: str,
) -> Iterator[str]:
    head = f"{first}{kind_of(node)} {ids[node]}"
    if node in seen:
        yield f"{head} (above)"
        return
    seen.add(node)
    told = describe(node, columns.get(node, ()))
    marks = "".join(f"  [{mark}]" for mark in told.marks)
    yield f"{head}{marks}"
    below = f"{rest}{'│' if node.inputs else ' '}    "
    for detail in told.details:
        yield f"{below}{detail}"
    for number, upstream in enumerate(node.inputs, start=1):
        is_last = number == len(node.inputs)
        yield from _tree(
            upstream,
            ids,
            columns,
            seen,
            f"{rest}{'└─ ' if is_last else '├─ '}",
            f"{rest}{'   ' if is_last else '│  '}",
        )
