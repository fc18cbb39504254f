"""The four levels and their order."""

from __future__ import annotations

import pytest

from krishiv_guarantees import ConfigurationError, Guarantee, weakest


def test_levels_are_ordered_from_best_effort_to_exactly_once() -> None:
    assert [level.label for level in sorted(Guarantee)] == [
        "best_effort",
        "at_least_once",
        "effectively_once",
        "exactly_once",
    ]


def test_weakest_of_nothing_is_exactly_once() -> None:
    assert weakest([]) is Guarantee.EXACTLY_ONCE


@pytest.mark.parametrize("level", list(Guarantee))
def test_level_is_parsed_from_its_label_and_from_itself(level: Guarantee) -> None:
    assert Guarantee.parse(level.label) is Guarantee.parse(level) is level


def test_unknown_level_is_an_error_that_lists_the_four() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Guarantee.parse("at-most-once")
    assert all(level.label in caught.value.hint for level in Guarantee)
