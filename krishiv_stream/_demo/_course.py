"""The course of the demo: the input, the job with its kills, the comparison, and a last run at full speed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

import krishiv_stream as ks
from krishiv_guarantees import require
from krishiv_stream._demo._batch_answer import batch_answer
from krishiv_stream._demo._bids import write_bids
from krishiv_stream._demo._child import Child
from krishiv_stream._demo._comparison import Comparison, compare, read_output
from krishiv_stream._demo._input import InputFacts, look_at
from krishiv_stream._demo._killing import Kill, Killer, KillPlan
from krishiv_stream._demo._lines import Ended, JobSpec
from krishiv_stream._demo._question import Question, pipeline_of
from krishiv_stream._demo._stored_position import StoredPosition
from krishiv_stream._demo.job import JOB, REQUIRED, session_of

if TYPE_CHECKING:
    import polars as pl

    from krishiv_guarantees import GuaranteeReport

__all__ = ["Course", "DemoOptions", "DemoResult", "Narrator", "Unpaced"]

_PACED_SECONDS = 20.0
_UNPACED_INTERVAL = 1.0


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What the command line says.

    Parameters
    ----------
    question : Question or None
        What is asked of the user's own files; None: bids are made.
    rows : int
        Bids to make.
    rate : float or None
        Rows read per second; None: so that reading takes about 20 s.
    """

    question: Question | None = None
    rows: int = 2_000_000
    rate: float | None = None
    kills: int = 3
    seed: int = 0
    allow_uncertified: bool = False


class Unpaced(msgspec.Struct, frozen=True, kw_only=True):
    """The last run, which nothing holds back and nothing kills."""

    seconds: float
    rows_per_second: float
    comparison: Comparison


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo found.

    Parameters
    ----------
    rate : float
        Rows read per second in the run that was killed.
    seconds : float
        That run took, all its lives together.
    delay : int
        How far the rows were out of order, microseconds.
    uncounted_kills : int
        Kills that did not count: no checkpoint had completed, or nothing was left to read.
    """

    seed: int
    files: int
    rows: int
    delay: int
    rate: float
    checkpoint_interval: float
    seconds: float
    kills: list[Kill]
    uncounted_kills: int
    comparison: Comparison
    unpaced: Unpaced
    guarantee: dict[str, Any]

    @property
    def exact(self) -> bool:
        """Whether both runs gave what the batch query gives."""
        return self.comparison.equal and self.unpaced.comparison.equal


class Narrator(Protocol):
    """Who is told how the demo goes."""

    def say(self, text: str) -> None:
        """Something was done, or is about to be."""
        ...

    def guarantee(self, report: GuaranteeReport) -> None:
        """What the job guarantees."""
        ...

    def progress(self, rows: int, total: int, kills: list[Kill]) -> None:
        """So many rows were read, and the kills so far."""
        ...


class Course:
    """One demo in one folder.

    Parameters
    ----------
    folder : Path
        Empty; everything is written there.
    """

    def __init__(self, options: DemoOptions, folder: Path, narrator: Narrator) -> None:
        self._options = options
        self._folder = folder
        self._narrator = narrator

    def run(self) -> DemoResult:
        """Do all of it.

        Raises
        ------
        GuaranteeError
            If the job does not reach exactly-once.
        KrishivError
            Whatever is wrong with the input, or ended the job.
        """
        question, facts = self._input()
        rows = facts.total
        rate = self._options.rate or max(1.0, rows / _PACED_SECONDS)
        numbers = random.Random(self._options.seed)
        plan = KillPlan.draw(self._options.kills, rows, rate, numbers)
        spec = self._spec(question, "paced", rate, plan.checkpoint_interval)
        report = self._resolve(spec)
        killer = Killer(spec, plan, rows, StoredPosition(_checkpoints(spec), facts.rows), numbers)
        seconds = self._paced(killer, rows, len(facts.rows))
        answer = batch_answer(question, list(facts.rows))
        return DemoResult(
            seed=self._options.seed,
            files=len(facts.rows),
            rows=rows,
            delay=question.delay,
            rate=rate,
            checkpoint_interval=plan.checkpoint_interval,
            seconds=seconds,
            kills=killer.kills,
            uncounted_kills=killer.uncounted,
            comparison=compare(answer, read_output(Path(spec.output))),
            unpaced=self._unpaced(question, rows, answer),
            guarantee=dict(report.to_dict()),
        )

    def _paced(self, killer: Killer, rows: int, files: int) -> float:
        """Run the job with its kills; returns the seconds that it took."""
        spec, kills = killer.spec, len(killer.plan.targets)
        self._narrator.say(
            f"reading {rows:,} rows in {files} files at {spec.rate:,.0f} rows/s, a checkpoint every "
            f"{spec.checkpoint_interval:.2g} s, {kills} kills at random moments (--seed {self._options.seed})"
        )
        started = time.monotonic()
        killer.run(self._log("paced"), lambda done, kills: self._narrator.progress(done, rows, kills))
        seconds = time.monotonic() - started
        self._narrator.say(f"finished after {seconds:.1f} s and {len(killer.kills)} kills; comparing")
        return seconds

    def _input(self) -> tuple[Question, InputFacts]:
        question = self._options.question or self._bids()
        pipeline_of(question, self._folder / "out", None)  # a mistake in the columns is found before any work
        facts = look_at(ks.ParquetSource(question.pattern), question.event_time)
        if facts.disorder:
            self._narrator.say(
                f"rows are up to {facts.disorder / 1e6:g} s out of order: the watermark stays that far behind"
            )
        return msgspec.structs.replace(question, delay=facts.disorder), facts

    def _bids(self) -> Question:
        self._narrator.say(f"making {self._options.rows:,} Nexmark bids")
        return write_bids(self._folder / "bids", rows=self._options.rows, seed=self._options.seed)

    def _resolve(self, spec: JobSpec) -> GuaranteeReport:
        with session_of(spec) as session:
            report = session.guarantee(pipeline_of(spec.question, Path(spec.output), spec.rate))
        self._narrator.guarantee(report)
        require(report, REQUIRED)
        return report

    def _unpaced(self, question: Question, rows: int, answer: pl.DataFrame) -> Unpaced:
        self._narrator.say("once more at full speed, without kills")
        spec = self._spec(question, "unpaced", None, _UNPACED_INTERVAL)
        with Child(spec, self._log("unpaced")) as child:
            ended = [line for line in child.lines() if isinstance(line, Ended)][-1]
        return Unpaced(
            seconds=ended.seconds,
            rows_per_second=rows / ended.seconds,
            comparison=compare(answer, read_output(Path(spec.output))),
        )

    def _spec(self, question: Question, run: str, rate: float | None, interval: float) -> JobSpec:
        return JobSpec(
            question=question,
            output=str(self._folder / run / "output"),
            data_dir=str(self._folder / run / "data"),
            rate=rate,
            checkpoint_interval=interval,
            allow_uncertified=self._options.allow_uncertified,
        )

    def _log(self, run: str) -> Path:
        (self._folder / run).mkdir(exist_ok=True)
        return self._folder / run / "job.log"


def _checkpoints(spec: JobSpec) -> Path:
    return Path(spec.data_dir) / "jobs" / JOB
