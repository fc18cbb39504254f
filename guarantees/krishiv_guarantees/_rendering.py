"""A guarantee report as JSON-able values, and as text. The text is made of those values alone, here or far away."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DomainDict", "PartDict", "PathDict", "ReportDict", "render_report"]


class DomainDict(TypedDict):
    """A failure domain: its name and what it means."""

    name: str
    description: str


PartDict = TypedDict(
    "PartDict", {"role": str, "name": str, "class": str, "level": str, "reason": str, "remedy": str, "limiting": bool}
)
"""One link of the chain; `limiting`: no other link of its path is weaker, and it could be stronger."""


class PathDict(TypedDict):
    """One way from a source to a sink; `certification` is a `Standing`'s label, or None where none is needed."""

    source: str
    sink: str
    diagnostic: bool
    level: str
    uncertified: bool
    certification: str | None
    parts: list[PartDict]
    notes: list[str]
    warnings: list[str]


class ReportDict(TypedDict):
    """A whole report."""

    level: str
    summary: str
    profile: str
    domain: DomainDict
    uncertified: bool
    allow_uncertified: bool
    strict: bool
    paths: list[PathDict]
    limiting: list[str]
    remedies: list[str]
    notes: list[str]
    warnings: list[str]


def render_report(report: ReportDict) -> str:
    """Return `report` as text for a terminal, lines of any width, without a newline at the end."""
    return "\n".join(_lines(report))


def _lines(report: ReportDict) -> Iterator[str]:
    yield f"guarantee: {report['level']}" + (" (uncertified)" if report["uncertified"] else "")
    yield f"holds through: {report['domain']['description']}"
    yield f"profile: {report['profile']}"
    if report["allow_uncertified"]:
        yield "allow_uncertified: True. Exactly once may be granted to combinations that nobody has tested"
    for path in report["paths"]:
        yield ""
        yield from _path_lines(path)
    yield from _section("limited by", report["limiting"])
    yield from _section("to raise it", report["remedies"])
    yield from _section("warnings", report["warnings"])
    yield from _section("notes", report["notes"])


def _path_lines(path: PathDict) -> Iterator[str]:
    marks = "".join((" (uncertified)" if path["uncertified"] else "", " (diagnostic)" if path["diagnostic"] else ""))
    yield f"{path['source']} -> {path['sink']}: {path['level']}{marks}"
    role_width = max(len(part["role"]) for part in path["parts"])
    name_width = max(len(_title(part)) for part in path["parts"])
    level_width = max(len(part["level"]) for part in path["parts"])
    for part in path["parts"]:
        mark = "!" if part["limiting"] else " "
        columns = f"{part['role']:{role_width}}  {_title(part):{name_width}}  {part['level']:{level_width}}"
        yield f"  {mark} {columns}  {part['reason']}"
    for note in path["notes"]:
        yield f"    note: {note}"


def _title(part: PartDict) -> str:
    short = part["class"].rpartition(":")[2]
    return f"{part['name']} ({short})" if short else part["name"]


def _section(title: str, items: list[str]) -> Iterator[str]:
    if items:
        yield ""
        yield f"{title}:"
        yield from (f"  - {item}" for item in items)
