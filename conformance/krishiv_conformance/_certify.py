"""Certifying: run what is needed, and write a certificate for each combination that lost and doubled nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from krishiv_conformance._errors import CaseUnknown
from krishiv_conformance._evidence import fault_run, inspect_parts, make_certificate, reusable_run
from krishiv_conformance._subjects import combination_subject, distinct_parts, part_subject, run_subjects
from krishiv_stream._guarantee_parts import installed_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from krishiv_conformance._case import Case, CaseResult
    from krishiv_conformance._evidence import Parts
    from krishiv_conformance._harness import Harness
    from krishiv_conformance._servers import Servers
    from krishiv_conformance._subjects import Combination, Subject
    from krishiv_guarantees import Certificate, FaultRun

__all__ = ["Certifying", "Options", "run_cases", "subjects_of"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run.

    Parameters
    ----------
    seed : int
        From which every case draws its own.
    jobs : int
        Cases at a time.
    fresh : frozenset of Harness
        Parts whose matrix is run even if a certificate over the same code has its results.
    servers : Servers
        Those that cases share.
    report : callable
        Told of each case that ended.
    keep : Path, optional
        Where the directories of the cases are copied to.
    """

    seed: int
    jobs: int
    fresh: frozenset[Harness]
    servers: Servers
    report: Callable[[Subject, CaseResult], None]
    keep: Path | None = None


@dataclass
class Certifying:
    """One run of the suite over some combinations, and what came of it.

    Attributes
    ----------
    certificates : list of (Combination, Certificate)
        Those of which every case passed.
    refused : list of Combination
        The others.
    reused : dict of str to FaultRun
        Connectors whose results were taken from a certificate.
    results : list of (Subject, CaseResult)
        Everything that was run.
    changed : bool
        The code was edited while the cases ran: then nothing is certified.
    """

    combinations: Sequence[Combination]
    options: Options
    certificates: list[tuple[Combination, Certificate]] = field(
        default_factory=list[tuple["Combination", "Certificate"]]
    )
    refused: list[Combination] = field(default_factory=list["Combination"])
    reused: dict[str, FaultRun] = field(default_factory=dict[str, "FaultRun"])
    results: list[tuple[Subject, CaseResult]] = field(default_factory=list[tuple["Subject", "CaseResult"]])
    changed: bool = False

    def run(self) -> None:
        """Run every matrix that is needed once, then every combination, and make the certificates."""
        parts = distinct_parts(self.combinations)
        before = inspect_parts(parts)
        runs = self._reuse(parts, before)
        subjects = [part_subject(part) for part in parts if part not in runs]
        whole = [combination_subject(combination) for combination in self.combinations]
        passed = self._run([*subjects, *whole])
        runs.update({subject.tested[0]: run for subject, run in zip(subjects, passed, strict=False) if run})
        self.changed = inspect_parts(parts) != before
        for combination, own in zip(self.combinations, passed[len(subjects) :], strict=True):
            of_parts = [runs[part] for part in combination.parts if part in runs]
            if own is None or len(of_parts) < len(combination.parts) or self.changed:
                self.refused.append(combination)
            else:
                certificate = make_certificate(before, combination.parts, of_parts, own)
                self.certificates.append((combination, certificate))

    def _reuse(self, parts: Sequence[Harness], now: Parts) -> dict[Harness, FaultRun]:
        found: dict[Harness, FaultRun] = {}
        for part in parts:
            run = None if part in self.options.fresh else reusable_run(part, now, installed_certificates())
            if run is not None:
                found[part] = run
                self.reused[part.name] = run
        return found

    def _run(self, subjects: Sequence[Subject]) -> list[FaultRun | None]:
        """Run `subjects`; return the fault run of each, None for one that failed."""
        results = run_cases(subjects, self.options)
        self.results = [(subject, result) for subject, own in zip(subjects, results, strict=True) for result in own]
        return [
            fault_run(own, subject.partners) if all(result.passed for result in own) else None
            for subject, own in zip(subjects, results, strict=True)
        ]


def subjects_of(combinations: Sequence[Combination], patterns: Sequence[str]) -> list[Subject]:
    """Return the cases whose names fit one of `patterns` (shell-style), with what they are run on.

    Raises
    ------
    CaseUnknown
        If a pattern fits none.
    """
    subjects = [
        *(part_subject(part) for part in distinct_parts(combinations)),
        *map(combination_subject, combinations),
    ]
    names = [case.name for subject in subjects for case in subject.cases]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise CaseUnknown(
                f"no case is called {pattern!r} here",
                hint="--list shows the cases; patterns like 'sink/kill/*' are fine",
                pattern=pattern,
            )
    chosen = [replace(subject, cases=_chosen(subject, patterns)) for subject in subjects]
    return [subject for subject in chosen if subject.cases]


def _chosen(subject: Subject, patterns: Sequence[str]) -> tuple[Case, ...]:
    return tuple(case for case in subject.cases if any(fnmatchcase(case.name, pattern) for pattern in patterns))


def run_cases(subjects: Sequence[Subject], options: Options) -> list[list[CaseResult]]:
    """Run the cases of `subjects` and return their results, per subject."""
    return run_subjects(
        subjects,
        seed=options.seed,
        jobs=options.jobs,
        servers=options.servers,
        report=options.report,
        keep=options.keep,
    )
