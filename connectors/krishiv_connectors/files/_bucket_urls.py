"""Which paths are addresses in S3, and what only they take."""

from __future__ import annotations

from typing import Any

from krishiv_guarantees import ConfigurationError

__all__ = ["in_bucket", "refuse_bucket_options"]


def in_bucket(place: Any) -> bool:
    """Whether a path, or the first of several, begins with ``s3://``."""
    first = place[0] if isinstance(place, (list, tuple)) and place else place
    return isinstance(first, str) and first.startswith("s3://")


def refuse_bucket_options(place: object, **options: object) -> None:
    """Raise if one of `options`, which local files have no use for, is given.

    Raises
    ------
    ConfigurationError
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigurationError(
            f"{given[0]} is given, and {place!r} is no address in S3", hint="write s3://bucket/prefix"
        )
