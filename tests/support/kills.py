"""Which fault tests run: all of them, or a seeded sample.

A test carries ``@pytest.mark.kill`` (one kill) or ``@pytest.mark.kill(kills=3)``, or, if it freezes processes, stalls
networks or takes things away, ``@pytest.mark.fault``. ``--kills=all`` runs every one.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

__all__ = ["FAULTS", "KILLS", "kills_of", "sample"]

KILLS, FAULTS = 20, 8
"""Kills, and tests of other faults, in a sample."""


def kills_of(item: pytest.Item) -> int:
    """How many kills `item` makes; 0 if it is no kill test."""
    marker = item.get_closest_marker("kill")
    return 0 if marker is None else int(marker.kwargs.get("kills", 1))


def sample(items: Sequence[pytest.Item], seed: int) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split `items` into those to run and those to leave out. Tests of no faults always run."""
    kills = {item: kills_of(item) for item in items if kills_of(item)}
    others = {item: 1 for item in items if item.get_closest_marker("fault") and item not in kills}
    left_out = {*kills, *others} - _drawn(kills, KILLS, seed) - _drawn(others, FAULTS, seed)
    return [item for item in items if item not in left_out], [item for item in items if item in left_out]


def _drawn(weights: dict[pytest.Item, int], enough: int, seed: int) -> set[pytest.Item]:
    candidates = sorted(weights, key=lambda item: item.nodeid)
    random.Random(seed).shuffle(candidates)
    chosen: set[pytest.Item] = set()
    total = 0
    for item in candidates:
        if total >= enough:
            break
        chosen.add(item)
        total += weights[item]
    return chosen
