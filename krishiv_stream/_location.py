"""Where in the user's code a call came from, for error messages and plan drawings."""

from __future__ import annotations

import inspect
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["error_location", "user_location"]

_OURS = frozenset(
    {"krishiv_stream", "krishiv_connectors", "krishiv_checkpoint", "krishiv_guarantees", "krishiv_conformance"}
)


def user_location() -> str:
    """Return the innermost line outside this library that led here, as ``"pipeline.py:12"``; empty if there is none.

    Files below the working directory are named relative to it.
    """
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if not _is_ours(frame):
            return f"{_shortest(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def error_location(error: BaseException) -> str:
    """Return the innermost line of the user's that `error` came from, as ``"pipeline.py:12, in share"``; or empty.

    Where installed packages raised it for the user, that is the line that called them.
    """
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if not _is_ours(frame)]
    own = [each for each in frames if "site-packages" not in each[0].f_code.co_filename]
    if not own:
        return ""
    frame, line = own[-1]
    return f"{_shortest(frame.f_code.co_filename)}:{line}, in {frame.f_code.co_name}"


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    # Dataclass-generated methods run under names of their own, in a file called "<string>".
    return module.partition(".")[0] in _OURS or frame.f_code.co_filename == "<string>"


def _shortest(filename: str) -> str:
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):
        return filename
