"""A value that must not be seen: it does not print, is not pickled, and is read as late as possible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from krishiv_connectors._errors import SecretMissing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Secret"]


class Secret:
    """A password, key or token. `reveal` is the only way to its value.

    Parameters
    ----------
    value : str
        The secret itself. Prefer `from_env` and `from_file`: they read it when it is used, so that it can be rotated
        and stands in no pipeline file.

    Examples
    --------
    >>> token = Secret("hunter2")
    >>> print(f"{token} {token!r}")
    *** Secret('***')
    >>> token.reveal()
    'hunter2'
    """

    __slots__ = ("_origin", "_read")

    def __init__(self, value: str) -> None:
        self._read: Callable[[], str] = lambda: value
        self._origin = "a literal value"

    @classmethod
    def from_env(cls, name: str) -> Secret:
        """Return a secret that is read from the environment variable `name` when it is used."""
        return cls._late(lambda: _read_variable(name), f"environment variable {name}")

    @classmethod
    def from_file(cls, path: str | Path) -> Secret:
        """Return a secret that is read from the file `path` when it is used; one newline at its end is cut off."""
        return cls._late(lambda: _read_file(Path(path)), f"file {path}")

    @classmethod
    def _late(cls, read: Callable[[], str], origin: str) -> Secret:
        secret = cls.__new__(cls)
        secret._read = read
        secret._origin = origin
        return secret

    @property
    def origin(self) -> str:
        """Where the value comes from, in words that may be shown."""
        return self._origin

    def reveal(self) -> str:
        """Return the value.

        Raises
        ------
        SecretMissing
            If the variable or the file it should come from does not exist.
        """
        return self._read()

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: hand over Secret.from_env or Secret.from_file on the other side")


def _read_variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise SecretMissing(
            f"the secret's environment variable {name} is not set", hint=f"export {name} before you start"
        ) from None


def _read_file(path: Path) -> str:
    try:
        return path.read_text().removesuffix("\n")
    except OSError as error:
        raise SecretMissing(
            f"the secret's file {path} cannot be read: {error.strerror}", hint="check that it exists and is readable"
        ) from error
