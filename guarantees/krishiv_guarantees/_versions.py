"""Version numbers of client libraries and servers, as far as a tested range needs them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["VersionRange"]

_VERSION = re.compile(r"v?(?P<release>[0-9]{1,12}(?:\.[0-9]{1,12})*)(?P<rest>.*)", re.DOTALL)
_PRE_RELEASE = re.compile(r"[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev|snapshot|m)[-_.]?\d*\b", re.IGNORECASE)


@dataclass(frozen=True)
class VersionRange:
    """The lowest and the highest version that were tested, both included.

    A bound with fewer numbers covers every version that begins with it: ``4.1`` covers 4.1.2. A pre-release comes
    before its release.

    Examples
    --------
    >>> VersionRange("2.3.0", "2.16").covers("2.16.4")
    True
    >>> VersionRange("2.3.0", "2.16").covers("2.3.0rc1")
    False
    """

    lowest: str
    highest: str

    def covers(self, version: str) -> bool:
        """Whether `version` lies in the range; False for a version that cannot be read."""
        found, lowest, highest = _parse(version), _parse(self.lowest), _parse(self.highest)
        if found is None or lowest is None or highest is None:
            return False
        return _at_least(found, lowest) and _at_most(found, highest)

    def __str__(self) -> str:
        return self.lowest if self.lowest == self.highest else f"{self.lowest} to {self.highest}"


_Parsed = tuple[tuple[int, ...], bool]
"""The release's numbers, and whether it is final (True sorts after False)."""


def _parse(version: str) -> _Parsed | None:
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        return None
    release = tuple(int(number) for number in match["release"].split("."))
    return release, _PRE_RELEASE.match(match["rest"]) is None


def _at_least(found: _Parsed, bound: _Parsed) -> bool:
    size = max(len(found[0]), len(bound[0]))
    return (_padded(found[0], size), found[1]) >= (_padded(bound[0], size), bound[1])


def _at_most(found: _Parsed, bound: _Parsed) -> bool:
    size = len(bound[0])
    begins = _padded(found[0], size)[:size]
    if begins != bound[0]:
        return begins < bound[0]
    # 4.1rc1 as the highest tested does not cover 4.1; 4.1 does cover 4.1rc1
    return bound[1] or (not found[1] and not any(found[0][size:]))


def _padded(release: tuple[int, ...], size: int) -> tuple[int, ...]:
    return release + (0,) * (size - len(release))
