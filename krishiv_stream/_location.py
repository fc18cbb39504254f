"""Where in the user's code a call came from, for error messages and plan drawings."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["user_location"]

_OURS = frozenset(
    {"krishiv_stream", "krishiv_connectors", "krishiv_checkpoint", "krishiv_guarantees", "krishiv_conformance"}
)


def user_location() -> str:
    """Return the innermost line outside this library that led here, as ``"pipeline.py:12"``; empty if there is none.

    Files below the working directory are named relative to it.
    """
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        # Dataclass-generated methods run under names of their own, in a file called "<string>".
        if module.partition(".")[0] not in _OURS and frame.f_code.co_filename != "<string>":
            return f"{_shortest(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _shortest(filename: str) -> str:
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):
        return filename
