"""The peers' own virtual environment: their dependencies are none of ours."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

__all__ = ["install_peers", "python_of_peers", "versions_of_peers"]

_HOME = Path.home() / ".cache" / "krishiv-stream" / "bench-peers"
_PACKAGES = ("quixstreams", "bytewax[kafka]")


def python_of_peers() -> str:
    """Return the interpreter that has the peers."""
    return str(_HOME / "bin" / "python")


def install_peers() -> None:
    """Make the environment, once.

    Raises
    ------
    subprocess.CalledProcessError
        If something cannot be installed.
    """
    if not (_HOME / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_HOME)], check=True)
        subprocess.run([python_of_peers(), "-m", "pip", "install", "--quiet", *_PACKAGES], check=True)
        (_HOME / "done").touch()


def versions_of_peers() -> dict[str, str]:
    """Return the versions that take part, the client library's too."""
    names = ("quixstreams", "bytewax", "confluent-kafka")
    code = f"from importlib.metadata import version\nfor name in {names!r}: print(version(name))"
    done = subprocess.run([python_of_peers(), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    found = dict(zip(names, done.stdout.split(), strict=True))
    theirs = found.pop("confluent-kafka")
    return {**found, "confluent-kafka, ours": version("confluent-kafka"), "confluent-kafka, peers'": theirs}
