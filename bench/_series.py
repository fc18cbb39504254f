"""Runs of several contenders in turns, so that a change of the machine's mood meets all of them alike."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench._child import measure
from bench._measured import Engine, Measured, Output, Run

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Contest", "Contestant", "Outcome", "run_contest"]

BATCH = "batch"
OFF = "ours"
ON = "ours, checkpoints"


@dataclass(frozen=True)
class Contestant:
    """One way to answer a query, called `label`."""

    label: str
    engine: Engine
    checkpoint_interval: float | None = None


@dataclass(frozen=True)
class Contest:
    """One query over the same files by several contestants.

    Parameters
    ----------
    files : Path
        Folder of the input.
    """

    query: str
    output: Output
    files: Path
    warm_up: Path
    contestants: tuple[Contestant, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one contestant, in order."""

    query: str
    output: Output
    label: str
    runs: list[Measured]

    def median(self, of: Callable[[Measured], float]) -> float:
        """Return the median of a figure over the runs."""
        return statistics.median(map(of, self.runs))

    def ratio_to(self, other: Outcome) -> float:
        """Return the median ratio of throughput to `other`'s, pair by pair."""
        pairs = zip(self.runs, other.runs, strict=True)
        return statistics.median(mine.rows_per_second / theirs.rows_per_second for mine, theirs in pairs)


def run_contest(contest: Contest, repeats: int, tell: Callable[[str, Measured], None]) -> list[Outcome]:
    """Run every contestant `repeats` times, in turns.

    Parameters
    ----------
    tell : callable
        Hears the label and the figures of each run.

    Raises
    ------
    RuntimeError
        If two contestants gave different numbers of rows.
    """
    runs: dict[str, list[Measured]] = {contestant.label: [] for contestant in contest.contestants}
    for _ in range(repeats):
        for contestant in contest.contestants:
            measured = _run(contest, contestant)
            runs[contestant.label].append(measured)
            tell(contestant.label, measured)
    _require_equal(contest, runs)
    return [Outcome(query=contest.query, output=contest.output, label=label, runs=each) for label, each in runs.items()]


def _run(contest: Contest, contestant: Contestant) -> Measured:
    work = Path(tempfile.mkdtemp(prefix="work-", dir=contest.files.parent))
    try:
        return measure(
            Run(
                engine=contestant.engine,
                query=contest.query,
                files=str(contest.files),
                warm_up=str(contest.warm_up),
                work=str(work),
                output=contest.output,
                checkpoint_interval=contestant.checkpoint_interval,
            )
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _require_equal(contest: Contest, runs: dict[str, list[Measured]]) -> None:
    rows = {(run.rows, run.result_rows) for each in runs.values() for run in each}
    if len(rows) != 1:
        raise RuntimeError(f"the contestants of {contest.query} gave different results: {sorted(rows)}")
