"""What certify prints: a line per case while it runs, then what came of it; or one JSON document."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from krishiv_conformance._harness import place_of
from krishiv_stream._cli._output import console, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from krishiv_conformance._case import CaseResult
    from krishiv_conformance._certify import Certifying
    from krishiv_conformance._left_out import LeftOut
    from krishiv_conformance._subjects import Subject

__all__ = ["CaseReport", "print_cases", "print_outcome"]


@dataclass
class CaseReport:
    """Hears of every case that ended, prints it, and keeps it.

    Parameters
    ----------
    as_json : bool
        Print nothing until the end.
    """

    as_json: bool
    results: list[tuple[Subject, CaseResult]] = field(default_factory=list[tuple["Subject", "CaseResult"]])
    left_out: Sequence[LeftOut] = ()

    @property
    def failures(self) -> list[tuple[Subject, CaseResult]]:
        """The cases that failed."""
        return [(subject, result) for subject, result in self.results if not result.passed]

    def begin(self, left_out: Sequence[LeftOut]) -> None:
        """Say what cannot be run here."""
        self.left_out = left_out
        self.print_left_out()

    def print_left_out(self) -> None:
        """Print what was not run, and why."""
        for each in () if self.as_json else self.left_out:
            console().print(Text.assemble(("left out ", "bold yellow"), str(each)))

    def ended(self, subject: Subject, result: CaseResult) -> None:
        """Print a line for `result`."""
        self.results.append((subject, result))
        if self.as_json:
            return
        word, style = ("pass", "green") if result.passed else ("FAIL", "bold red")
        if result.passed and not result.reached:
            word, style = "none", "dim"  # an optional place that the connector does not mark
        kills = f", {result.kills} killed" if result.kills else ""
        line = f" {subject.name}  {result.name}  {result.seconds:.1f} s{kills}"
        console().print(Text.assemble((word, style), line))

    def finish(self) -> None:
        """Print the failures, each with how to run it alone; or everything, as JSON."""
        if self.as_json:
            print_json({"cases": self.cases()})
            return
        for subject, result in self.failures:
            text = Text.assemble(
                (f"\n{subject.name}  {result.name}, seed {result.seed}\n", "bold red"),
                f"{result.problem}\n",
                ("  alone: ", "bold"),
                command_of(subject, result),
            )
            console().print(text)

    def cases(self) -> list[dict[str, object]]:
        """Return every result as plain values."""
        return [
            {"subject": subject.name, **asdict(result), "command": command_of(subject, result)}
            for subject, result in self.results
        ]


def command_of(subject: Subject, result: CaseResult) -> str:
    """Return the command that runs one case alone."""
    places = [place_of(part) for part in subject.tested]
    if len(places) > 1:
        places = [f"--{part.role} {place_of(part)}" for part in subject.tested]
    return f"krishiv-stream certify {' '.join(places)} --case '{result.name}' --seed {result.seed}"


def print_cases(subjects: Sequence[Subject], *, as_json: bool) -> None:
    """Print the names of all cases, with what must hold in each."""
    rows = [(subject.name, case.name, case.about) for subject in subjects for case in subject.cases]
    if as_json:
        print_json([dict(zip(("subject", "case", "about"), row, strict=True)) for row in rows])
    else:
        print_table(("subject", "case", "what must hold"), rows)


def print_outcome(certifying: Certifying, written: Sequence[Path], report: CaseReport) -> None:
    """Print which combinations are certified, and which are not."""
    if report.as_json:
        print_json(
            {
                "cases": report.cases(),
                "certificates": [str(path) for path in written],
                "refused": [str(combination) for combination in certifying.refused],
                "left_out": [asdict(each) for each in report.left_out],
                "reused": sorted(certifying.reused),
                "code_changed_meanwhile": certifying.changed,
            }
        )
        return
    report.finish()
    for name in certifying.reused:
        console().print(f"results of {name}: taken from an installed certificate over the same code")
    kills = sum(result.kills for _, result in certifying.results)
    failed = len(report.failures)
    console().print(f"{len(certifying.results)} cases, {kills} processes killed, {failed} cases failed")
    for path in written:
        console().print(Text.assemble(("certified ", "bold green"), str(path)))
    for combination in certifying.refused:
        console().print(Text.assemble(("not certified ", "bold red"), str(combination)))
    report.print_left_out()
    if certifying.changed:
        console().print("the code was edited while the cases ran: run them again")
