"""What is run for a certificate: each part with its matrix and reference partners, then each combination."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krishiv_conformance._case import run_case
from krishiv_conformance._matrix import (
    combination_cases,
    combination_server_cases,
    reference_partners,
    server_cases,
    sink_cases,
    source_cases,
    store_cases,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from krishiv_conformance._case import Case, CaseResult
    from krishiv_conformance._harness import Harness, SinkHarness, SourceHarness, StoreHarness
    from krishiv_conformance._servers import Servers

__all__ = ["Combination", "Subject", "combination_subject", "distinct_parts", "part_subject", "run_subjects"]


@dataclass(frozen=True, kw_only=True)
class Combination:
    """A source, a sink and a store that are certified together."""

    source: SourceHarness
    sink: SinkHarness
    store: StoreHarness

    @property
    def parts(self) -> tuple[Harness, Harness, Harness]:
        """Source, sink and store."""
        return self.source, self.sink, self.store

    def __str__(self) -> str:
        return " x ".join(part.name for part in self.parts)

    @property
    def file_name(self) -> str:
        """Name of its certificate's file."""
        return "_".join(part.name for part in self.parts) + ".json"

    @classmethod
    def of_harnesses(cls, harnesses: Iterable[Any]) -> list[Combination]:
        """Return every combination of a source, a sink and a store of these."""
        roles: dict[str, list[Any]] = {"source": [], "sink": [], "store": []}
        for harness in harnesses:
            roles[harness.role].append(harness)
        return [cls(source=a, sink=b, store=c) for a, b, c in product(*roles.values())]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something with cases to run.

    Parameters
    ----------
    name : str
        Who is under test, for people.
    combination : Combination
        What the cases are run with.
    tested : tuple of Harness
        The parts of it that are under test; the others are reference partners.
    """

    name: str
    combination: Combination
    tested: tuple[Harness, ...]
    cases: tuple[Case, ...] = field(repr=False)

    @property
    def partners(self) -> tuple[str, ...]:
        """Class names of the reference partners."""
        return tuple(class_name(part) for part in self.combination.parts if part not in self.tested)


def distinct_parts(combinations: Sequence[Combination]) -> list[Harness]:
    """Return every part of `combinations`, each once."""
    return list(dict.fromkeys(part for combination in combinations for part in combination.parts))


def class_name(harness: Harness) -> str:
    """Return ``"module:Class"`` of the connector that a harness is for."""
    return f"{harness.connector.__module__}:{harness.connector.__qualname__}"


def part_subject(part: Harness) -> Subject:
    """Return a part with its whole matrix, against reference partners."""
    from krishiv_conformance._harness import SinkHarness, SourceHarness, StoreHarness

    source, sink, store = reference_partners()
    match part:
        case SourceHarness():
            with tempfile.TemporaryDirectory(prefix="krishiv-case-") as folder:
                cases = source_cases(part, Path(folder))
            combination = Combination(source=part, sink=sink, store=store)
        case SinkHarness():
            cases, combination = sink_cases(part), Combination(source=source, sink=part, store=store)
        case StoreHarness():
            cases, combination = store_cases(), Combination(source=source, sink=sink, store=part)
        case _:
            raise TypeError(f"{type(part).__name__} is no harness of a source, a sink or a store")
    if part.server is not None:
        cases += server_cases(part.role)
    return Subject(name=part.name, combination=combination, tested=(part,), cases=tuple(cases))


def combination_subject(combination: Combination) -> Subject:
    """Return a combination with its own cases."""
    cases = combination_cases()
    if any(part.server is not None for part in combination.parts):
        cases += combination_server_cases()
    return Subject(name=str(combination), combination=combination, tested=combination.parts, cases=tuple(cases))


def run_subjects(
    subjects: Sequence[Subject],
    *,
    seed: int,
    jobs: int,
    servers: Servers,
    report: Callable[[Subject, CaseResult], None],
    keep: Path | None = None,
) -> list[list[CaseResult]]:
    """Run every case of `subjects`, `jobs` at a time.

    Parameters
    ----------
    servers : Servers
        Those that cases share.
    report : callable
        Told of each case that ended, one at a time.
    keep : Path, optional
        Where the directories of the cases are copied to.

    Returns
    -------
    list of list of CaseResult
        Per subject, in the order of its cases.
    """
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="case") as pool:
        try:
            running = [
                (subject, [pool.submit(_run, subject, case, seed, servers, keep) for case in subject.cases])
                for subject in subjects
            ]
            results: list[list[CaseResult]] = []
            for subject, futures in running:
                results.append([])
                for future in futures:
                    results[-1].append(future.result())
                    report(subject, results[-1][-1])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def _run(subject: Subject, case: Case, seed: int, servers: Servers, keep: Path | None) -> CaseResult:
    parts = subject.combination
    return run_case(
        case, source=parts.source, sink=parts.sink, store=parts.store, seed=seed, keep=keep, servers=servers
    )
