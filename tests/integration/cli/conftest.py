"""Command lines in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = """
import os
import pyarrow as pa
import krishiv_stream as ks
from krishiv_stream import col

ROWS = 20_000
times = pa.array([1_700_000_000_000_000 + row * 1_000 for row in range(ROWS)], pa.timestamp("us", tz="UTC"))
table = pa.table({"key": [row % 7 for row in range(ROWS)], "value": list(range(ROWS)), "at": times})


def read(rate=None):
    return ks.read(ks.MemorySource(table), event_time="at", name="rows", max_rate=rate)


def totals(stream):
    windows = stream.key_by("key").window(ks.tumble("1s"))
    sums = windows.aggregate(name="windows", rows=ks.count(), total=ks.sum("value"))
    return sums.write(ks.SqliteSink("out.db", "totals"), name="totals")


def fail(batch):
    raise ValueError("the user's own mistake")


pipeline = totals(read())
slow = totals(read(rate=float(os.environ.get("RATE", "4000"))))
failing = totals(read().map_batches(fail, schema=table.schema))
printed = read().write(ks.PrintSink(), name="printed")
"""

DURABLE = ("--profile", "single-node-durable", "--data-dir", "data", "--checkpoint-interval", "100ms")


@dataclass
class Command:
    """A command that runs in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def read_until(self, event: str) -> dict[str, Any]:
        """Read its JSON lines until one tells of `event`, and return that one."""
        output: IO[str] | None = self.process.stdout
        assert output is not None
        for line in output:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"no {event}: {self.lines}, {self.process.communicate()[1]}")

    def wait_until_it_hangs(self) -> None:
        """Return when it has stopped itself at a failpoint."""
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert found is not None
        assert found.si_code == os.CLD_STOPPED

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what it said to standard error."""
        output, errors = self.process.communicate(timeout=60)
        self.lines += [json.loads(line) for line in output.splitlines()]
        return self.process.returncode, errors


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a module of pipelines."""
    (tmp_path / "jobs.py").write_text(JOB)
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Command]]:
    """Start ``krishiv-stream run jobs:<name>`` with durable settings."""
    started: list[subprocess.Popen[str]] = []

    def launch(name: str, *arguments: str, command: str = "run", failpoints: str = "") -> Command:
        words = [sys.executable, "-m", "krishiv_stream", command, f"jobs:{name}", *DURABLE, *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KRISHIV_")}
        environment["KRISHIV_FAILPOINTS"] = failpoints
        process = subprocess.Popen(
            words, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return Command(process)

    yield launch
    for process in started:
        process.kill()
        process.communicate()
