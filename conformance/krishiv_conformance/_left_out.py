"""What cannot be run here: combinations of which a part lacks its server or its library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_conformance._errors import ServerFailed, ServerMissing
from krishiv_conformance._subjects import distinct_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from krishiv_conformance._harness import Harness
    from krishiv_conformance._servers import Servers
    from krishiv_conformance._subjects import Combination

__all__ = ["LeftOut", "sort_out"]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Combinations that are not run, for one reason.

    Parameters
    ----------
    parts : tuple of str
        Names of the parts that cannot be run here.
    why : str
        What they lack.
    combinations : tuple of str
        All combinations with one of them.
    """

    parts: tuple[str, ...]
    why: str
    combinations: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.combinations)} combinations with {', '.join(self.parts)}: {self.why}"


def sort_out(
    combinations: Sequence[Combination], servers: Servers, named: Collection[Harness]
) -> tuple[list[Combination], list[LeftOut]]:
    """Start the servers that are needed; return the combinations that can be run, and those that cannot.

    Parameters
    ----------
    named : collection of Harness
        Parts that were asked for by name: without them nothing is run.

    Raises
    ------
    ServerMissing, ServerFailed
        If one of these cannot be run here.
    """
    lacking: dict[str, list[Harness]] = {}
    for part in distinct_parts(combinations):
        if why := _lacks(part, servers, named):
            lacking.setdefault(why, []).append(part)
    unfit = {part for parts in lacking.values() for part in parts}
    able = [combination for combination in combinations if not unfit.intersection(combination.parts)]
    return able, [_left_out(combinations, parts, why) for why, parts in lacking.items()]


def _lacks(part: Harness, servers: Servers, named: Collection[Harness]) -> str:
    """Return what keeps a part from being run; empty: nothing."""
    try:
        if why := part.missing():
            raise ServerMissing(f"{part.name}: {why}", hint="install what it needs, or name other parts")
        if part.server is not None:
            servers.shared(part.server)
    except (ServerMissing, ServerFailed) as error:
        if part in named:
            raise
        return error.message
    return ""


def _left_out(combinations: Sequence[Combination], parts: Sequence[Harness], why: str) -> LeftOut:
    without = [str(each) for each in combinations if set(parts).intersection(each.parts)]
    return LeftOut(parts=tuple(part.name for part in parts), why=why, combinations=tuple(without))
