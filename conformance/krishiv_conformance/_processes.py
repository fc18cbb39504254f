"""What every child process of the suite has in common."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["child_command", "child_environment", "die_with_parent"]

_PR_SET_PDEATHSIG = 1


def child_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package in a fresh interpreter, whatever the working folder."""
    return [sys.executable, "-P", "-m", f"{__package__}.{module}", *arguments]


def child_environment(failpoints: str = "") -> dict[str, str]:
    """Return this process's environment without settings of a session, with its import path and `failpoints`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KRISHIV_")}
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return {**kept, "KRISHIV_FAILPOINTS": failpoints, "PYTHONPATH": path}


def die_with_parent() -> None:
    """Have the kernel kill this process when the suite dies: one that is stopped would stay for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
