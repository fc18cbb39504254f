"""Ctrl-C and SIGTERM stop a job with a final checkpoint and its windows kept open, by script and by command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import BarrierKind
from krishiv_stream._cli._exits import Exit
from tests.fault.harness import ROOT, expected_rows, read_output
from tests.integration.bad_input.support import RATE, FileJob, wait_until

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import json
from pathlib import Path

from tests.fault import child

pipeline = child.pipeline(json.loads(Path("spec.json").read_text()))
"""


def words(way: str) -> list[str]:
    """Return the command that runs the job of spec.json."""
    if way != "cli":
        return [sys.executable, "-m", "tests.integration.bad_input.script", "spec.json", way]
    settings = ["--profile", "single-node-durable", "--data-dir", "data", "--checkpoint-interval", "50ms"]
    return [sys.executable, "-m", "krishiv_stream", "run", "jobs:pipeline", "--job", "job", *settings]


@pytest.mark.parametrize(
    ("way", "number", "code"),
    [
        ("cli", signal.SIGINT, Exit.INTERRUPTED),
        ("cli", signal.SIGTERM, Exit.TERMINATED),
        ("run", signal.SIGINT, 0),
        ("run", signal.SIGTERM, 0),
        ("run_async", signal.SIGINT, 0),
        ("run_async", signal.SIGTERM, 0),
    ],
)
def test_signal_stops_the_job_with_its_windows_open_and_it_resumes(
    tmp_path: Path, way: str, number: signal.Signals, code: int
) -> None:
    job = FileJob(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps(job.spec(RATE)))
    (tmp_path / "jobs.py").write_text(MODULE)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words(way), cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: job.appended > 4, process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    last = json.loads(output.splitlines()[-1])
    assert last["state"] == "stopped"
    check_stopped(job)
    job.read = last["rows_in"]
    job.resume()


def check_stopped(job: FileJob) -> None:
    """The last checkpoint is the one that stopped it, holds rows of open windows, and no such window was written."""
    manifest = job.manifest()
    assert manifest.kind is BarrierKind.STOP
    assert any(snapshot.files for snapshot in manifest.operators if snapshot.operator == "window-1")
    whole = expected_rows(job.spec()["source"], job.shape)
    for rows in read_output(job.spec()["sinks"][job.shape]).values():
        assert set(rows) < set(whole)
