"""Named places where a test can make the process die, stall or fail.

A failpoint costs one global look-up while none is armed. They are armed by the environment variable
``KRISHIV_FAILPOINTS`` (``"manifest.after=kill@3;commit.before=raise"``: at the third pass, kill; at the first, raise)
or by `arm` in a test of the same process. Actions: ``kill`` (SIGKILL to this process), ``stop`` (SIGSTOP),
``raise`` (`FailpointError`) and ``sleep:<seconds>``.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass

__all__ = ["FAILPOINTS", "FailpointError", "arm", "disarm", "failpoint"]

FAILPOINTS: tuple[str, ...] = (
    "barrier.before_emit",
    "prepare.before",
    "prepare.after",
    "ack.before",
    "ack.after",
    "manifest.before",
    "manifest.after",
    "commit.before",
    "commit.during",
    "commit.after",
    "retire.before",
    "retire.after",
    "takeover.before",
    "takeover.after",
    "recovery.before_commit",
    "recovery.after_commit",
    "recovery.before_fork",
    "recovery.after_fork",
    "recovery.before_abort",
    "recovery.after_abort",
    "recovery.after_restore",
    "savepoint.before",
    "savepoint.after",
    "finish.before",
    "finish.after",
)


class FailpointError(Exception):
    """Raised by a failpoint armed with ``raise``: stands for a crash of the code around it."""


@dataclass
class _Armed:
    action: str
    at: int
    passes: int = 0


_armed: dict[str, _Armed] = {}
_lock = threading.Lock()


def failpoint(name: str) -> None:
    """Pass the place called `name`; does nothing unless it is armed."""
    if _armed:
        _pass(name)


def arm(name: str, action: str, at: int = 1) -> None:
    """Arm `name`: its `at`-th pass from now performs `action`."""
    if name not in FAILPOINTS:
        raise ValueError(f"unknown failpoint {name!r}; one of {', '.join(FAILPOINTS)}")
    with _lock:
        _armed[name] = _Armed(action, at)


def disarm() -> None:
    """Disarm every failpoint."""
    with _lock:
        _armed.clear()


def _pass(name: str) -> None:
    with _lock:
        armed = _armed.get(name)
        if armed is None:
            return
        armed.passes += 1
        if armed.passes != armed.at:
            return
    _act(name, armed.action)


def _act(name: str, action: str) -> None:
    kind, _, argument = action.partition(":")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "stop":
        # To this thread: any other one that got it first would let this one run on for a while.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    elif kind == "sleep":
        time.sleep(float(argument))
    elif kind == "raise":
        raise FailpointError(name)
    else:
        raise ValueError(f"unknown failpoint action {action!r}")


def _arm_from_environment() -> None:
    for part in filter(None, os.environ.get("KRISHIV_FAILPOINTS", "").split(";")):
        name, _, action = part.partition("=")
        kind, _, at = action.partition("@")
        arm(name.strip(), kind, int(at or 1))


_arm_from_environment()
