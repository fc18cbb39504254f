"""The four delivery guarantees and their order."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from krishiv_guarantees._errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Guarantee", "weakest"]


class Guarantee(IntEnum):
    """How often the effect of each input row reaches the output, from weakest to strongest."""

    BEST_EFFORT = 0
    AT_LEAST_ONCE = 1
    EFFECTIVELY_ONCE = 2
    EXACTLY_ONCE = 3

    @property
    def label(self) -> str:
        """The name as users type it: ``"exactly_once"``."""
        return self.name.lower()

    @classmethod
    def parse(cls, value: str | Guarantee) -> Guarantee:
        """Return the level that `value` names.

        Raises
        ------
        ConfigurationError
            If `value` names none of the four; the hint lists them.
        """
        if isinstance(value, Guarantee):
            return value
        try:
            return cls[value.upper()]
        except KeyError:
            names = ", ".join(repr(level.label) for level in cls)
            raise ConfigurationError(f"unknown guarantee {value!r}", hint=f"one of {names}") from None


def weakest(levels: Iterable[Guarantee]) -> Guarantee:
    """Return the lowest of `levels`: a chain holds what its weakest link holds. Of nothing: EXACTLY_ONCE."""
    return min(levels, default=Guarantee.EXACTLY_ONCE)
