"""The job's process as the demo holds it: started, listened to, killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Self

import msgspec

from krishiv_stream._demo._errors import DemoJobFailed
from krishiv_stream._demo._lines import Failed, decode_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krishiv_stream._demo._lines import JobSpec, Line

__all__ = ["Child"]

_LOG_TAIL = 2_000


class Child:
    """One life of the job. As a context manager it leaves no process behind.

    Parameters
    ----------
    spec : JobSpec
        What it runs.
    log : Path
        Where its standard error is appended to.
    """

    def __init__(self, spec: JobSpec, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "krishiv_stream._demo.job"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._send(msgspec.json.encode(spec))

    def lines(self) -> Iterator[Line]:
        """Yield what the process says until it ends.

        Raises
        ------
        DemoJobFailed
            If it ended otherwise than well or by `kill`.
        """
        if self._process.stdout is None:
            raise AssertionError("the pipe was asked for")
        for text in self._process.stdout:
            line = decode_line(text)
            if isinstance(line, Failed):
                raise DemoJobFailed(f"{line.code}: {line.message}", hint=line.hint, job_code=line.code)
            yield line
        if not self.killed and self._process.returncode != 0:
            raise self._unexplained()

    def kill(self) -> None:
        """Send SIGKILL; it dies at once, wherever it is."""
        self._process.kill()

    @property
    def killed(self) -> bool:
        """Wait for the process to end; whether SIGKILL ended it."""
        return self._process.wait() == -signal.SIGKILL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def _send(self, data: bytes) -> None:
        if self._process.stdin is None:
            raise AssertionError("the pipe was asked for")
        self._process.stdin.write(data)
        self._process.stdin.close()

    def _unexplained(self) -> DemoJobFailed:
        tail = self._log.read_text(errors="replace")[-_LOG_TAIL:]
        return DemoJobFailed(
            f"the job's process ended with status {self._process.returncode} and did not say why:\n{tail}",
            hint=f"its whole output is in {self._log}",
            log=str(self._log),
        )
