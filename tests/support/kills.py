"""Which kill tests run: all of them, or a seeded sample that kills about twenty times.

A test carries ``@pytest.mark.kill`` (one kill) or ``@pytest.mark.kill(kills=3)``. ``--kills=all`` runs every one.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

__all__ = ["SAMPLE", "kills_of", "sample"]

SAMPLE = 20
"""Kills in a sample."""


def kills_of(item: pytest.Item) -> int:
    """How many kills `item` makes; 0 if it is no kill test."""
    marker = item.get_closest_marker("kill")
    return 0 if marker is None else int(marker.kwargs.get("kills", 1))


def sample(items: Sequence[pytest.Item], seed: int) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split `items` into those to run and those to leave out. Tests that do not kill always run."""
    candidates = sorted((item for item in items if kills_of(item)), key=lambda item: item.nodeid)
    random.Random(seed).shuffle(candidates)
    chosen: set[str] = set()
    kills = 0
    for item in candidates:
        if kills >= SAMPLE:
            break
        chosen.add(item.nodeid)
        kills += kills_of(item)
    kept = [item for item in items if not kills_of(item) or item.nodeid in chosen]
    return kept, [item for item in items if kills_of(item) and item.nodeid not in chosen]
