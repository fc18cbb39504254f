"""From results to certificates: what was run, over which code, and what of an older certificate still counts."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import commit_path_texts
from krishiv_conformance._errors import NotCertifiable
from krishiv_conformance._harness import SinkHarness, SourceHarness, StoreHarness
from krishiv_conformance._job import JOB
from krishiv_conformance._matrix import SUITE_VERSION
from krishiv_guarantees import (
    Certificate,
    CertifiedPart,
    FaultRun,
    Guarantee,
    SinkPart,
    SourcePart,
    StorePart,
    VersionRange,
    sink_rung,
    source_rung,
    store_rung,
    syntax_digests,
)
from krishiv_stream._guarantee_parts import part_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from krishiv_conformance._case import CaseResult
    from krishiv_conformance._harness import Harness
    from krishiv_guarantees import Rung

__all__ = ["Parts", "fault_run", "inspect_parts", "make_certificate", "reusable_run"]

AnyPart = SourcePart | SinkPart | StorePart


@dataclass(frozen=True)
class Parts:
    """The code and options under test, as they were at one moment.

    Parameters
    ----------
    parts : mapping of Harness to part
        What the resolver is told of each.
    commit_path : mapping of str to str
        Digest of each module on the commit path.
    """

    parts: Mapping[Harness, AnyPart]
    commit_path: Mapping[str, str]


def inspect_parts(harnesses: Iterable[Harness]) -> Parts:
    """Look at the code and the options of `harnesses` now.

    Raises
    ------
    NotCertifiable
        If the capabilities of one do not reach EXACTLY_ONCE by themselves, or its code cannot be read.
    """
    return Parts({harness: _part(harness) for harness in harnesses}, syntax_digests(commit_path_texts()))


def _part(harness: Harness) -> AnyPart:
    part, rung = _made(harness)
    if rung.level is not Guarantee.EXACTLY_ONCE:
        raise NotCertifiable(
            f"{part.short_class} reaches {rung.level.label} only: {rung.reason}",
            hint=f"{rung.remedy}; a certificate confirms exactly-once and nothing less",
            target=part.class_name,
        )
    if not part.modules:
        raise NotCertifiable(
            f"the source text of {part.class_name} cannot be read, and a certificate is bound to it",
            hint="put the class into a module that can be imported",
            target=part.class_name,
        )
    return part


def _made(harness: Harness) -> tuple[AnyPart, Rung]:
    with tempfile.TemporaryDirectory(prefix="krishiv-case-") as folder:
        match harness:
            case SourceHarness():
                source = harness.make(Path(folder))
                can = source.capabilities()
                options = dict(source.guarantee_config())
                return SourcePart(capabilities=can, options=options, **_identity(harness, source)), source_rung(can)
            case SinkHarness():
                sink = harness.make(Path(folder))
                able = sink.capabilities()
                options = dict(sink.guarantee_config())
                return SinkPart(capabilities=able, options=options, **_identity(harness, sink)), sink_rung(able)
            case StoreHarness():
                store = harness.make(Path(folder), JOB)
                holds = harness.capabilities(Path(folder))
                return StorePart(capabilities=holds, **_identity(harness, store)), store_rung(holds)
            case _:
                raise TypeError(f"{type(harness).__name__} is no harness of a source, a sink or a store")


def _identity(harness: Harness, made: object) -> dict[str, Any]:
    if type(made) is not harness.connector:
        raise NotCertifiable(
            f"{type(harness).__name__} makes a {type(made).__name__}, but says that it is for {harness.connector}",
            hint="name the exact class in the harness's attribute 'connector'",
            target=type(harness).__name__,
        )
    return {"name": harness.connector.__name__, **part_identity(harness.connector)}


def fault_run(results: Sequence[CaseResult], partners: tuple[str, ...] = ()) -> FaultRun:
    """Return what passed cases show; those that were not reached show nothing."""
    reached = [result for result in results if result.reached]
    return FaultRun(
        cases=tuple(result.name for result in reached),
        kills=sum(result.kills for result in reached),
        seeds=tuple(sorted({result.seed for result in reached})),
        against=partners,
    )


def reusable_run(harness: Harness, now: Parts, certificates: Iterable[Certificate]) -> FaultRun | None:
    """Return the fault run of a part from a certificate over the same code, options and versions, if there is one."""
    part = now.parts[harness]
    digests = syntax_digests(part.modules)
    for certificate in certificates:
        if certificate.suite_version != SUITE_VERSION or certificate.commit_path != now.commit_path:
            continue
        for tested in (certificate.source, certificate.sink, certificate.store):
            same = (tested.class_name, tested.digests, tested.options) == (part.class_name, digests, part.options)
            if same and tested.tested_versions == _tested_versions(part):
                return tested.faults
    return None


def make_certificate(now: Parts, harnesses: Sequence[Harness], runs: Sequence[FaultRun], own: FaultRun) -> Certificate:
    """Return the certificate of a combination.

    Parameters
    ----------
    harnesses, runs
        Source, sink and store, and the fault run of each.
    own : FaultRun
        Of the combination.
    """
    source, sink, store = (
        CertifiedPart.of(now.parts[harness], faults=run, tested_versions=_tested_versions(now.parts[harness]))
        for harness, run in zip(harnesses, runs, strict=True)
    )
    return Certificate(
        suite_version=SUITE_VERSION,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        environment={
            "python": platform.python_version(),
            "platform": platform.platform(),
            "krishiv-stream": version("krishiv-stream"),
        },
        source=source,
        sink=sink,
        store=store,
        commit_path=now.commit_path,
        combination=own,
    )


def _tested_versions(part: AnyPart) -> dict[str, VersionRange]:
    return {name: VersionRange(number, number) for name, number in part.versions.items()}
