"""Walking over a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from krishiv_stream._plan.nodes import Node

__all__ = ["topological"]


def topological(ends: Iterable[Node]) -> tuple[Node, ...]:
    """Return every node that leads to `ends`, each once, inputs before what they feed, in a stable order."""
    found: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(end, False) for end in reversed(list(ends))]
    while stack:
        node, done = stack.pop()
        if done:
            found[node] = None
        elif node not in found:
            stack.append((node, True))
            stack.extend((upstream, False) for upstream in reversed(node.inputs))
    return tuple(found)
