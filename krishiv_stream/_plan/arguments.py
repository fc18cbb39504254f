"""Checks of what users pass: names, and objects of the right class."""

from __future__ import annotations

import re

from krishiv_stream._errors import InvalidArgument, InvalidName

__all__ = ["require_instance", "require_name"]

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def require_instance(value: object, kind: type, what: str, hint: str) -> None:
    """Raise InvalidArgument unless `value` is a `kind`, called `what`."""
    if not isinstance(value, kind):
        raise InvalidArgument(f"{value!r} is no {what}", hint=hint)


def require_name(name: object) -> None:
    """Raise InvalidName unless `name` is None or can stand in file names and keys of the job's log."""
    if name is None or (isinstance(name, str) and _VALID.fullmatch(name)):
        return
    raise InvalidName(
        f"name={name!r} cannot be used",
        hint="letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 100",
        name=name,
    )
