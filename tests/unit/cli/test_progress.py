"""What a running job shows: numbers for people, lines for programs."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import BarrierKind, CheckpointEvent, EpochPhase
from krishiv_stream._cli._progress import JsonLines, LiveTable, Rate, instant, size
from krishiv_stream._job import JobState, JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = JobStatus(
    job="totals",
    state=JobState.RUNNING,
    lineage="l",
    token=3,
    epoch_completed=5,
    epoch_committed=4,
    rows_in=1_234_567,
    rows_out=89,
    watermark=1_700_000_000_000_000,
    state_bytes=3 << 20,
    guarantee="exactly_once",
)
EVENT = CheckpointEvent(epoch=5, kind=BarrierKind.CHECKPOINT, phase=EpochPhase.COMPLETED, seconds=0.25, state_bytes=7)


@pytest.fixture
def clock() -> Callable[[], float]:
    """A clock that goes one second per look."""
    ticks = iter(range(1000))
    return lambda: float(next(ticks))


def test_rate_is_over_the_last_seconds(clock: Callable[[], float]) -> None:
    rate = Rate(window=5.0, clock=clock)
    assert rate.of(0) == 0.0
    assert [rate.of(rows) for rows in (100, 200, 300)] == [100.0, 100.0, 100.0]
    assert [rate.of(300) for _ in range(6)][-1] == 0.0


def test_rate_begins_anew_when_the_job_was_restarted(clock: Callable[[], float]) -> None:
    rate = Rate(clock=clock)
    for rows in (1000, 2000, 0):
        rate.of(rows)
    assert rate.of(50) == 50.0


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00+00:00"),
        (1_700_000_000_000_000, "2023-11-14T22:13:20+00:00"),
        (2**63 - 1, "end"),
        (-(2**63), None),
    ],
)
def test_watermark_is_shown_as_an_instant(microseconds: int | None, text: str | None) -> None:
    assert instant(microseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5.0 TiB")]
)
def test_size_is_shown_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_json_lines_write_one_line_per_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonLines() as display:
        display.tick(STATUS)
        display.checkpoint(EVENT, STATUS)
        display.checkpoint(replace(EVENT, epoch=6, phase=EpochPhase.FAILED, reason="a task is slow"), STATUS)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["epoch"], line["phase"], line["reason"]) for line in lines] == [
        ("checkpoint", 5, "completed", ""),
        ("checkpoint", 6, "failed", "a task is slow"),
    ]
    assert lines[0]["job"] == "totals"
    assert lines[0]["watermark"] == "2023-11-14T22:13:20+00:00"
    assert lines[0]["state_bytes"] == 7
    assert lines[0]["rows_in"] == 1_234_567


def test_live_table_shows_rows_watermark_checkpoints_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    terminal = io.StringIO()
    made = Console(file=terminal, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr("krishiv_stream._cli._progress.console", lambda: made)
    with LiveTable() as display:
        display.tick(STATUS)
    shown = terminal.getvalue()
    for text in (
        "totals: running",
        "exactly_once",
        "1,234,567 in",
        "2023-11-14",
        "epoch 5 completed, 4 committed",
        "3.0 MiB",
    ):
        assert text in shown
