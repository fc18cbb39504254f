"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re

from krishiv_guarantees import ConfigurationError

__all__ = ["size_of"]

_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def size_of(name: str, value: int | str, *, least: int, most: int) -> int:
    """Return the bytes of ``"128MiB"``, ``"64MB"`` or a number.

    Raises
    ------
    ConfigurationError
        If it is no size, or not between `least` and `most`.
    """
    match = _SIZE.fullmatch(str(value).strip())
    size = int(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()] if match else -1
    if not least <= size <= most:
        raise ConfigurationError(
            f"{name}={value!r} is not a size between {least} and {most} bytes",
            hint='write it like "128MiB", or in bytes',
        )
    return size
