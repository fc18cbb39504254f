"""``krishiv-stream run`` as a process: its exit codes, its lines, and how signals stop it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from krishiv_stream._cli._exits import Exit
from tests.integration.cli.conftest import DURABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.cli.conftest import Command

    Start = Callable[..., Command]


def written(project: Path) -> tuple[int, int, int]:
    """Return what the sink holds: windows, rows counted in them, and the sum of their totals."""
    database = sqlite3.connect(project / "out.db")
    try:
        return database.execute("select count(*), sum(rows), sum(total) from totals").fetchone()
    finally:
        database.close()


ALL = (7 * 20, 20_000, sum(range(20_000)))
"""What the sink holds when every row was counted once."""


def test_run_ends_well_when_the_job_finishes(start: Start, project: Path) -> None:
    job = start("pipeline")
    code, errors = job.finish()
    assert (code, errors) == (Exit.OK, "")
    assert (job.lines[-1]["event"], job.lines[-1]["state"]) == ("end", "finished")
    assert [line["epoch"] for line in job.lines[:-1]] == list(range(1, len(job.lines)))
    assert written(project) == ALL


def test_run_gives_the_result_again_when_the_job_has_finished(start: Start, project: Path) -> None:
    assert [start("pipeline").finish()[0] for _ in range(2)] == [Exit.OK, Exit.OK]
    assert written(project) == ALL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)])
def test_run_stops_with_a_checkpoint_on_a_signal_and_goes_on_when_run_again(
    start: Start, project: Path, number: signal.Signals, code: Exit
) -> None:
    job = start("slow")
    job.read_until("checkpoint")
    job.signal(number)
    assert job.finish()[0] == code
    assert (job.lines[-1]["state"], job.lines[-2]["kind"]) == ("stopped", "stop")
    assert 0 < job.lines[-1]["rows_in"] < 20_000
    again = start("pipeline")
    assert again.finish()[0] == Exit.OK
    assert again.lines[-1]["rows_in"] == 20_000 - job.lines[-1]["rows_in"]
    assert written(project) == ALL


def test_run_ends_at_once_on_a_second_signal_and_loses_nothing(start: Start, project: Path) -> None:
    job = start("slow")
    job.read_until("checkpoint")
    for _ in range(2):
        job.signal(signal.SIGINT)
    assert job.finish()[0] == Exit.INTERRUPTED
    assert start("pipeline").finish()[0] == Exit.OK
    assert written(project) == ALL


def test_run_takes_a_savepoint_on_the_way_out_that_another_job_starts_from(start: Start, project: Path) -> None:
    job = start("slow", "--savepoint-on-stop", "leaving")
    job.read_until("checkpoint")
    job.signal(signal.SIGTERM)
    assert job.finish()[0] == Exit.TERMINATED
    words = (sys.executable, "-m", "krishiv_stream", "savepoints", "ls", "totals", "--json", "--data-dir", "data")
    (savepoint,) = json.loads(subprocess.run(words, cwd=project, capture_output=True, check=True).stdout)
    assert savepoint["name"] == "leaving"
    assert start("pipeline", "--restore", "leaving").finish()[0] == Exit.OK
    assert written(project) == ALL


def test_run_says_so_when_it_stopped_without_the_savepoint_that_was_asked_for(start: Start, project: Path) -> None:
    for code in (Exit.TERMINATED, Exit.CHECKPOINT):
        job = start("slow", "--savepoint-on-stop", "leaving")
        job.read_until("checkpoint")
        job.signal(signal.SIGTERM)
        ended, errors = job.finish()
        assert ended == code
        assert job.lines[-1]["state"] == "stopped"
    assert "KS-SAVEPOINT-EXISTS" in errors
    assert start("pipeline").finish()[0] == Exit.OK
    assert written(project) == ALL


def test_run_fails_when_the_job_fails(start: Start) -> None:
    code, errors = start("failing", "--restart-attempts", "0").finish()
    assert code == Exit.FAILED
    assert "the user's own mistake" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["run", "check"])
def test_command_refuses_when_the_guarantee_is_not_reached(start: Start, project: Path, command: str) -> None:
    code, errors = start("printed", "--require", "exactly_once", command=command).finish()
    assert code == Exit.GUARANTEE
    assert "KS-GUARANTEE" in errors
    assert "hint: " in errors
    assert not (project / "data").exists()


def test_run_is_refused_while_another_process_holds_the_job(start: Start, project: Path) -> None:
    first = start("slow")
    first.read_until("checkpoint")
    code, errors = start("pipeline").finish()
    assert code == Exit.HELD
    assert "KS-JOB-LOCKED" in errors
    first.signal(signal.SIGKILL)
    first.finish()
    assert start("pipeline").finish()[0] == Exit.OK
    assert written(project) == ALL


def test_run_takes_over_from_a_process_that_hangs_and_fences_it(start: Start, project: Path) -> None:
    # At a failpoint and not at any moment: stopped within a transaction it would hold SQLite's lock for ever.
    first = start("slow", failpoints="manifest.before=stop@3")
    first.wait_until_it_hangs()
    assert start("pipeline", "--take-over").finish()[0] == Exit.OK
    first.signal(signal.SIGCONT)
    code, errors = first.finish()
    assert code == Exit.HELD
    assert "KS-FENCED" in errors
    assert written(project) == ALL


def test_run_is_refused_when_the_log_is_damaged(start: Start, project: Path) -> None:
    job = start("slow")
    job.read_until("checkpoint")
    job.signal(signal.SIGTERM)
    job.finish()
    newest = max((project / "data" / "jobs" / "totals" / "log").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    code, errors = start("pipeline").finish()
    assert code == Exit.CHECKPOINT
    assert "KS-MANIFEST-CORRUPT" in errors


def test_run_shows_a_live_table_on_a_terminal(project: Path) -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "krishiv_stream", "run", "jobs:pipeline", *DURABLE]
    process = subprocess.Popen(words, cwd=project, stdout=follower, stderr=follower)
    os.close(follower)
    shown = read_terminal(leader)
    assert process.wait() == Exit.OK, shown
    assert "totals: finished after" in shown
    assert "20,000 rows in, 140 rows out" in shown
    assert '"event"' not in shown


def read_terminal(leader: int) -> str:
    """Read what was written to a terminal until its last writer has gone."""
    parts: list[bytes] = []
    with os.fdopen(leader, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while part := terminal.read(4096):
            parts.append(part)
    return b"".join(parts).decode()
