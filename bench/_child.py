"""A run in a process of its own: ``python -m bench._child``, its `Run` on stdin, its `Measured` on stdout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from bench._measured import Measured, Run

__all__ = ["measure"]


def measure(what: Run) -> Measured:
    """Run `what` in a fresh process and return what it measured.

    Raises
    ------
    subprocess.CalledProcessError
        If it failed; its own words are on standard error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench._child"], input=msgspec.json.encode(what), stdout=subprocess.PIPE, check=True
    )
    return msgspec.json.decode(done.stdout, type=Measured)


def main() -> None:
    """Warm up, run, and say what was measured."""
    from bench._engines import run

    what = msgspec.json.decode(sys.stdin.buffer.read(), type=Run)
    with tempfile.TemporaryDirectory(dir=Path(what.work).parent) as trial:
        run(msgspec.structs.replace(what, files=what.warm_up, work=trial))
    sys.stdout.buffer.write(msgspec.json.encode(run(what)))


if __name__ == "__main__":
    main()
