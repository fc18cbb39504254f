"""A plan as a picture, for notebooks: boxes from left to right, sources first."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from krishiv_stream._plan.describe import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from krishiv_stream._plan.nodes import Node

__all__ = ["draw"]

_BOX = (200, 64)
_GAP = (48, 20)
_CHARACTERS = 30
_STYLE = (
    "<style>.ks rect{fill:#f6f8fa;stroke:#57606a}.ks .m rect{stroke:#bc4c00;stroke-width:2}"
    ".ks text{font:11px sans-serif;fill:#24292f}.ks .t{font-weight:bold}.ks path{fill:none;stroke:#57606a}</style>"
)


def draw(nodes: Sequence[Node]) -> str:
    """Return an SVG of a plan, given inputs before what they feed. A box with a mark has a warning in its tooltip."""
    places = _places(nodes)
    width = max(x for x, _ in places.values()) + _BOX[0] + 8
    height = max(y for _, y in places.values()) + _BOX[1] + 8
    parts = [*_arrows(places), *(_box(node, *place) for node, place in places.items())]
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return f'<svg class="ks" xmlns="http://www.w3.org/2000/svg" {size}>{_STYLE}{"".join(parts)}</svg>'


def _places(nodes: Sequence[Node]) -> dict[Node, tuple[int, int]]:
    """Return the corner of each box: the column is the longest way from a source."""
    depths: dict[Node, int] = {}
    filled: dict[int, int] = {}
    places: dict[Node, tuple[int, int]] = {}
    for node in nodes:
        depth = 1 + max((depths[upstream] for upstream in node.inputs), default=-1)
        row = filled.get(depth, 0)
        depths[node], filled[depth] = depth, row + 1
        places[node] = (8 + depth * (_BOX[0] + _GAP[0]), 8 + row * (_BOX[1] + _GAP[1]))
    return places


def _arrows(places: dict[Node, tuple[int, int]]) -> Iterator[str]:
    for node, (x, y) in places.items():
        for upstream in node.inputs:
            left, top = places[upstream]
            start, begin, end = left + _BOX[0], top + _BOX[1] // 2, y + _BOX[1] // 2
            middle = (start + x) // 2
            yield f'<path d="M{start} {begin} C{middle} {begin} {middle} {end} {x} {end}"/>'


def _box(node: Node, x: int, y: int) -> str:
    told = describe(node)
    kind = type(node).__name__.removesuffix("Node")
    title = f"{kind} {node.name}" if node.name else kind
    lines = [title, *told.details][:4]
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 16 + 14 * row}"{" class=" + chr(34) + "t" + chr(34) if not row else ""}>'
        f"{escape(_short(line))}</text>"
        for row, line in enumerate(lines)
    )
    tooltip = escape("\n".join([*lines, *told.marks, node.location]))
    marked = ' class="m"' if told.marks else ""
    box = f'<rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4"/>'
    return f"<g{marked}><title>{tooltip}</title>{box}{texts}</g>"


def _short(line: str) -> str:
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"
