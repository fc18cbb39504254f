"""Durations as users write them: ``"10s"``, ``"1m30s"``, a `timedelta`, or a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta

from krishiv_guarantees import ConfigurationError

__all__ = ["Duration", "microseconds", "seconds"]

Duration = str | timedelta | int | float

_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")


def microseconds(value: Duration) -> int:
    """Return `value` in microseconds.

    Raises
    ------
    ConfigurationError
        If it is no duration, or below zero.
    """
    if isinstance(value, timedelta):
        result = value // timedelta(microseconds=1)
    elif isinstance(value, str):
        result = _parse(value)
    else:
        result = round(value * 1_000_000)
    if result < 0:
        raise ConfigurationError(f"the duration {value!r} is below zero", hint='write it like "10s" or "1m30s"')
    return result


def seconds(value: Duration) -> float:
    """Return `value` in seconds."""
    return microseconds(value) / 1_000_000


def _parse(text: str) -> int:
    compact = text.replace(" ", "")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ConfigurationError(
            f"{text!r} is not a duration", hint='write it like "500ms", "10s", "1m30s", "2h" or "1d"'
        )
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts))
