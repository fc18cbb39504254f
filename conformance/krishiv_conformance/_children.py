"""Child processes that run a job: started, watched, stopped, resumed and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._processes import child_command, child_environment

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from krishiv_conformance._job import JobSpec

__all__ = ["Child", "Ended", "PATIENCE"]

PATIENCE = 60.0
"""Seconds that anything a child does may take."""


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Parameters
    ----------
    code : int
        Exit status; negative: the signal that ended it.
    events : tuple of dict
        What it printed.
    errors : str
        The end of its standard error.
    """

    code: int
    events: tuple[dict[str, Any], ...]
    errors: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    @property
    def finished(self) -> bool:
        """Whether its job ran to the end."""
        return self.code == 0 and self.last.get("state") == "finished"

    @property
    def failed(self) -> bool:
        """Whether its job ended with an error that says what was wrong."""
        return self.code > 0 and self.last.get("event") == "failed"

    @property
    def last(self) -> dict[str, Any]:
        """The last event; empty if there was none."""
        return self.events[-1] if self.events else {}

    def __str__(self) -> str:
        if self.last.get("event") == "failed":
            return f"the job failed: {self.last['code']} {self.last['message']}"
        return f"the job's process ended with status {self.code}, last said {self.last or 'nothing'}: {self.errors}"


class Child:
    """One process. As a context manager it is killed on leaving, if it still lives.

    Parameters
    ----------
    spec : JobSpec
    failpoints : str
        As in ``KRISHIV_FAILPOINTS``.
    log : Path
        File for its standard error; what it says goes to one beside it.
    """

    def __init__(self, spec: JobSpec, failpoints: str, log: Path) -> None:
        self._log = log
        self._events: list[dict[str, Any]] = []
        self._silent = False
        self._changed = threading.Condition()
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                child_command("_child", msgspec.json.encode(spec).decode()),
                cwd=spec.workdir,  # not where a krishiv.toml of the user's may lie
                env=child_environment(failpoints),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, name=f"child-{self._process.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> Ended:
        """Wait for its end."""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._hung() from None
        self._reader.join()
        return Ended(code, tuple(self._events), self._log.read_text(errors="replace")[-2000:].strip())

    def wait_begun(self) -> bool:
        """Wait until it is about to start its job; False if the process ended before."""
        return self._wait_said("begun")

    def wait_started(self) -> bool:
        """Wait until its job runs; False if the process ended before."""
        return self._wait_said("started")

    def wait_epoch(self, patience: float) -> None:
        """Wait until it completed an epoch of its own, or ended, at most `patience` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: "epoch" in self._said() or self._silent, patience)

    def wait_stopped(self) -> bool:
        """Wait until a failpoint stopped it; False if the process ended instead."""
        found = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    def wait_seconds(self, seconds: float) -> bool:
        """Give it `seconds`; True if it ended meanwhile."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def resume(self) -> None:
        """Let a stopped process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to stop with a final checkpoint."""
        self._process.terminate()

    def kill(self) -> None:
        """End it with SIGKILL, if it still lives."""
        self._process.kill()

    def _wait_said(self, event: str) -> bool:
        with self._changed:
            if self._changed.wait_for(lambda: event in self._said() or self._silent, PATIENCE):
                return event in self._said()
        raise self._hung()

    def _said(self) -> set[str]:
        return {event["event"] for event in self._events}

    def _hung(self) -> CaseFailed:
        """End it with SIGABRT, upon which it writes down what each of its threads is doing."""
        self._process.send_signal(signal.SIGABRT)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()
        threads = self._log.read_text(errors="replace").strip()
        return CaseFailed(f"a job's process hung for {PATIENCE:g} s; it last said {self._events[-1:]}\n{threads}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        with self._log.with_suffix(".jsonl").open("w", encoding="utf-8") as said:
            for line in self._process.stdout or ():
                said.write(line)
                with self._changed:
                    self._events.append(_event(line))
                    self._changed.notify_all()
        with self._changed:
            self._silent = True
            self._changed.notify_all()


def _event(line: str) -> dict[str, Any]:
    """Return what a line of the child says; a connector may print too."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "event" in event else {"event": "printed", "line": line}
