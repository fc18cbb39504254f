"""The kinds of values that settings hold: how each is read from text or a Python value, and how it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from krishiv_guarantees import ConfigurationError
from krishiv_stream._durations import seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

__all__ = [
    "FLAG",
    "LOCATION",
    "PATH",
    "SECRET",
    "SIZE",
    "STORAGE",
    "TEXT",
    "Kind",
    "choice",
    "duration",
    "suggest",
    "whole",
]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)
_SIZES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_SIZES: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_FLAGS: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_NONE: Final = "none"
_AMAZON: Final = "aws"
_REGION: Final = "?region="


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Parameters
    ----------
    reads : callable
        Gives the value from what was written; raises `ConfigurationError` (message and hint) if it is none.
    shows : callable
        Gives the text from which `reads` gives the same value again.
    syntax : str
        What can be written, in a few words.
    """

    reads: Callable[[object], Any]
    shows: Callable[[Any], str]
    syntax: str

    def or_none(self) -> Kind:
        """Return this kind, with None (written ``none``) as one more value."""
        return Kind(
            lambda value: None if value is None or _is_none(value) else self.reads(value),
            lambda value: "none" if value is None else self.shows(value),
            f"{self.syntax}, or none",
        )


def suggest(name: str, valid: list[str]) -> str:
    """Return a hint that names what `name` may have meant, then all of `valid`."""
    close = get_close_matches(name, valid, n=1, cutoff=0.6)
    listed = f"valid: {', '.join(valid)}"
    return f"did you mean {close[0]!r}? {listed}" if close else listed


def choice(enum: type[Enum]) -> Kind:
    """Return the kind of the members of `enum`, written in lower case with hyphens."""
    names: list[str] = [member.value for member in enum]

    def read(value: object) -> Enum:
        if isinstance(value, enum):
            return value
        text = value.strip().lower().replace("_", "-") if isinstance(value, str) else ""
        if text not in names:
            raise ConfigurationError(f"{value!r} is not one of its values", hint=suggest(text, names), valid=names)
        return enum(text)

    return Kind(read, lambda member: str(member.value), " | ".join(names))


def whole(least: int) -> Kind:
    """Return the kind of whole numbers from `least` up."""

    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigurationError(
                f"{value!r} is not a whole number from {least} up", hint=f"write a whole number, {least} or more"
            )
        return value

    return Kind(read, str, f"whole number >= {least}")


def duration(*, above_zero: bool) -> Kind:
    """Return the kind of durations, held as seconds."""

    def read(value: object) -> float:
        if not isinstance(value, (str, timedelta, int, float)) or isinstance(value, bool):
            raise ConfigurationError(f"{value!r} is not a duration", hint='write it like "10s"')
        result = seconds(value)
        if above_zero and result == 0:
            raise ConfigurationError(f"{value!r} is no time at all", hint='write a duration above zero, like "10s"')
        return result

    return Kind(read, _show_seconds, 'duration like "10s"')


def _show_seconds(value: float) -> str:
    if value and value < 1:
        return f"{value * 1000:g}ms"
    return f"{value:g}s"


def _read_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    number, unit = found.groups() if found else ("0", "")
    result = round(float(number) * (_SIZES | _BINARY_SIZES).get(unit.lower(), 0))
    if result <= 0:
        raise ConfigurationError(f"{value!r} is not a size", hint='write it like "512MiB", "2GB" or a number of bytes')
    return result


def _show_size(value: int) -> str:
    for unit, size in reversed(_BINARY_SIZES.items()):
        if value % size == 0:
            return f"{value // size}{unit.capitalize()}B"
    return str(value)


def _read_flag(value: object) -> bool:
    found = value if isinstance(value, bool) else _FLAGS.get(str(value).strip().lower())
    if found is None:
        raise ConfigurationError(f"{value!r} is neither true nor false", hint="write true or false")
    return found


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{value!r} is not a text", hint="write a text that is not empty")
    return value.strip()


def _read_path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise ConfigurationError(f"{value!r} is not a path", hint="write the path of a folder")
    return Path(value).expanduser()


def _read_location(value: object) -> str:
    if isinstance(value, str) and "://" in value:
        return value.strip()
    return str(_read_path(value))


def _read_secret(value: object) -> object:
    from krishiv_connectors import Secret

    return value if isinstance(value, Secret) else Secret(_read_text(value))


def _read_storage(value: object) -> object:
    from krishiv_connectors import S3

    if isinstance(value, S3):
        return value
    endpoint, _, region = _read_text(value).partition(_REGION)
    return S3(endpoint=None if endpoint == _AMAZON else endpoint, region=region or None)


def _show_storage(value: Any) -> str:
    return (value.endpoint or _AMAZON) + (_REGION + value.region if value.region else "")


def _is_none(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == _NONE


FLAG: Final = Kind(_read_flag, lambda value: str(value).lower(), "true | false")
SIZE: Final = Kind(_read_size, _show_size, 'size like "512MiB"')
TEXT: Final = Kind(_read_text, str, "text")
PATH: Final = Kind(_read_path, str, "path")
LOCATION: Final = Kind(_read_location, str, "path or URL")
SECRET: Final = Kind(_read_secret, lambda value: str(cast("object", value)), "secret")
STORAGE: Final = Kind(
    _read_storage, _show_storage, "endpoint like https://host:9000?region=eu, or aws; keys come from the environment"
)
