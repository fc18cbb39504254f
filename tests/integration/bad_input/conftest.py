"""Small file systems that can be filled, and made read-only."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PAGE = 4096


class Disk:
    """A file system of its own, of a few megabytes, in memory.

    Parameters
    ----------
    path : Path
        Where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * _PAGE)

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink()

    def allow_writing(self, allowed: bool) -> None:
        """Mount it anew, for reading and writing or for reading only."""
        options = f"remount,{'rw' if allowed else 'ro'}"
        subprocess.run(["mount", "-o", options, str(self.path)], check=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Mount a file system with so many megabytes, below `tmp_path`. Needs leave to mount, as root has."""
    with contextlib.ExitStack() as mounted:

        def mount(name: str = "disk", megabytes: int = 4) -> Disk:
            path = tmp_path / name
            path.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "krishiv-test", str(path)]
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
            if tried.returncode:
                pytest.skip(
                    f"a full disk needs a small file system of its own, and none can be mounted: {tried.stderr}"
                )
            mounted.callback(subprocess.run, ["umount", str(path)], check=True)
            return Disk(path)

        yield mount


@pytest.fixture
def disk(mount: Callable[..., Disk]) -> Disk:
    """One such file system."""
    return mount()
