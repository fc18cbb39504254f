"""Libraries that come with an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from krishiv_connectors._errors import MissingExtra

__all__ = ["need"]


def need(module: str, extra: str, *, what: str = "this format") -> Any:
    """Return `module`, which `extra` installs.

    Parameters
    ----------
    what : str
        What needs it, as the error says.

    Raises
    ------
    MissingExtra
        If it is not there.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs {module}, which is not installed",
            hint=f"pip install 'krishiv-stream[{extra}]'",
            extra=extra,
            module=module,
        ) from error
