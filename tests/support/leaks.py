"""What a test may not leave behind: Python threads, open files, pipes and sockets, child processes.

Native thread pools (Arrow, DataFusion, Polars, RocksDB) live as long as the process and are not looked at; nor are
``anon_inode`` descriptors, which their event loops keep.
"""

from __future__ import annotations

import gc
import io
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.csv as pa_csv

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Leftovers", "Resources", "open_what_is_kept"]

# Descriptors that libraries and the interpreter open once and keep.
_KEPT_TARGETS = ("anon_inode:", "/dev/", "/proc/")
# The helper of `multiprocessing` that lives as long as the interpreter.
_KEPT_CHILD = b"multiprocessing.resource_tracker"


def open_what_is_kept() -> None:
    """Have libraries open now what they open once and keep: pyarrow, at its first CSV file, a pipe for signals."""
    pa_csv.read_csv(io.BytesIO(b"a\n1\n"))


@dataclass(frozen=True)
class Resources:
    """What this process holds at one moment: thread names, descriptor targets, child command lines."""

    threads: dict[int, str]
    descriptors: dict[int, str]
    children: dict[int, str]

    @classmethod
    def now(cls) -> Resources:
        """Look at this process."""
        return cls(_threads(), _descriptors(), _children())


@dataclass(frozen=True)
class Leftovers:
    """What is there after a test that was not there before; false if nothing."""

    lines: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lines)

    @classmethod
    def since(cls, before: Resources, patience: float = 2.0) -> Leftovers:
        """Compare now with `before`; what is about to end gets up to `patience` seconds to do so."""
        found = cls(_compare(before))
        if not found:
            return found
        gc.collect()
        deadline = time.monotonic() + patience
        _join_new_threads(before, deadline)
        return cls(_settled(lambda: _compare(before), deadline))


def _settled(look: Callable[[], tuple[str, ...]], deadline: float) -> tuple[str, ...]:
    pause = threading.Event()
    while (found := look()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return found


def _join_new_threads(before: Resources, deadline: float) -> None:
    for thread in _own():
        if thread.ident not in before.threads and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


def _compare(before: Resources) -> tuple[str, ...]:
    now = Resources.now()
    lines = [f"thread {name!r}" for ident, name in now.threads.items() if ident not in before.threads]
    lines += [
        f"descriptor {number} -> {target}"
        for number, target in now.descriptors.items()
        if before.descriptors.get(number) != target
    ]
    lines += [f"child process {pid}: {line}" for pid, line in now.children.items() if pid not in before.children]
    return tuple(lines)


def _own() -> list[threading.Thread]:
    """Return the threads that Python started: a library's pool, which calls into it once, stays for good."""
    return [thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)]


def _threads() -> dict[int, str]:
    return {thread.ident or 0: thread.name for thread in _own()}


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if not target.startswith(_KEPT_TARGETS):
            found[int(name)] = target
    return found


def _children() -> dict[int, str]:
    found: dict[int, str] = {}
    for task in Path("/proc/self/task").iterdir():
        for pid in _read(task / "children").split():
            command = _read(Path("/proc") / pid.decode() / "cmdline")
            if _KEPT_CHILD not in command:
                found[int(pid)] = (
                    command.replace(b"\0", b" ").decode(errors="replace").strip() or "(ended, not waited for)"
                )
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
