"""The resolver: the weakest link of source, sink, checkpoint store and profile, path by path.

Pure: what it needs to know of files and packages, the caller has read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from krishiv_guarantees._capabilities import FailureDomain
from krishiv_guarantees._freshness import CertificateIndex, Certification, Standing
from krishiv_guarantees._hazards import Hazard, HazardSite
from krishiv_guarantees._ladders import Rung, profile_rung, sink_rung, source_rung, store_rung, uncommitted_sink_rung
from krishiv_guarantees._levels import Guarantee, weakest
from krishiv_guarantees._parts import Part
from krishiv_guarantees._report import GuaranteeReport, PartReport, PathReport, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_guarantees._parts import PipelinePath, SinkPart, SourcePart, StorePart
    from krishiv_guarantees._profiles import Profile

__all__ = ["resolve"]

_P = TypeVar("_P", bound=Part)


def resolve(
    *,
    sources: Sequence[SourcePart],
    sinks: Sequence[SinkPart],
    paths: Sequence[PipelinePath],
    store: StorePart | None,
    profile: Profile,
    certificates: CertificateIndex | None = None,
    commit_path: Mapping[str, str] | None = None,
    allow_uncertified: bool = False,
    strict: bool = False,
) -> GuaranteeReport:
    """Return what a pipeline guarantees: per path the minimum of what its parts supply, and of the paths the lowest.

    Parameters
    ----------
    sources, sinks : sequence of SourcePart, SinkPart
        Every source and sink, each with its own name.
    paths : sequence of PipelinePath
        Every way from a source to a sink, at least one.
    store : StorePart or None
        The checkpoint store; None: no checkpoints.
    profile : Profile
        The durability profile.
    certificates : CertificateIndex, optional
        All certificates that are installed.
    commit_path : mapping of str to str, optional
        Texts of the checkpoint floor's modules on the commit path, by name.
    allow_uncertified : bool
        Grant EXACTLY_ONCE without a certificate. Shown in the report.
    strict : bool
        Client or server versions outside the tested ranges make a certificate not count, instead of a warning.

    Raises
    ------
    ValueError
        If there are no paths, a path names an unknown part, or two parts of a role share a name.
    """
    if not paths:
        raise ValueError("a pipeline has at least one path from a source to a sink")
    chain = _Chain(
        store=store,
        profile=profile,
        certificates=certificates or CertificateIndex(),
        commit_path=commit_path or {},
        allow_uncertified=allow_uncertified,
        strict=strict,
    )
    source_by_name, sink_by_name = _by_name(sources), _by_name(sinks)
    reports = tuple(
        _resolve_path(path, _lookup(source_by_name, path.source), _lookup(sink_by_name, path.sink), chain)
        for path in paths
    )
    return GuaranteeReport(
        profile=profile,
        domain=_domain(store, profile),
        paths=reports,
        allow_uncertified=allow_uncertified,
        strict=strict,
        notes=_pipeline_notes(reports, paths),
    )


@dataclass(frozen=True, kw_only=True)
class _Chain:
    """What all paths of a pipeline share."""

    store: StorePart | None
    profile: Profile
    certificates: CertificateIndex
    commit_path: Mapping[str, str]
    allow_uncertified: bool
    strict: bool


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """What certification makes of a path whose capabilities add up to EXACTLY_ONCE."""

    rung: Rung
    certification: Certification
    granted: bool = False
    warnings: tuple[str, ...] = ()


def _by_name(parts: Sequence[_P]) -> dict[str, _P]:
    named = {part.name: part for part in parts}
    if len(named) < len(parts):
        raise ValueError(f"two parts share a name: {sorted(part.name for part in parts)}")
    return named


def _lookup(parts: Mapping[str, _P], name: str) -> _P:
    if name not in parts:
        raise ValueError(f"a path names {name!r}; known are {sorted(parts)}")
    return parts[name]


def _resolve_path(path: PipelinePath, source: SourcePart, sink: SinkPart, chain: _Chain) -> PathReport:
    hazards = _hazards(path, source)
    store, profile = chain.store, chain.profile
    parts = [
        _part(Role.SOURCE, source, source_rung(source.capabilities)),
        _part(Role.SINK, sink, sink_rung(sink.capabilities, hazards)),
        _part(Role.STORE, store, store_rung(store.capabilities if store else None)),
    ]
    verdict = None
    if store is not None and weakest(part.level for part in parts) is Guarantee.EXACTLY_ONCE:
        verdict = _certify(source, sink, store, uncommitted_sink_rung(sink.capabilities, hazards), chain)
    parts.append(_report(Role.PROFILE, profile.label, profile_rung(profile)))
    if verdict is not None:
        parts.append(_report(Role.CERTIFICATE, f"{source.name} -> {sink.name}", verdict.rung))
    return PathReport(
        source=source.name,
        sink=sink.name,
        diagnostic=sink.diagnostic,
        parts=tuple(parts),
        certification=verdict.certification if verdict else None,
        granted=verdict.granted if verdict else False,
        warnings=verdict.warnings if verdict else (),
        notes=_path_notes(sink),
    )


def _hazards(path: PipelinePath, source: SourcePart) -> tuple[HazardSite, ...]:
    if source.capabilities.ordered_replay:
        return path.hazards
    return (*path.hazards, HazardSite(Hazard.UNORDERED_REPLAY, f"source {source.name}"))


def _certify(source: SourcePart, sink: SinkPart, store: StorePart, fallback: Rung, chain: _Chain) -> _Verdict:
    """Decide a combination whose capabilities add up to EXACTLY_ONCE; `fallback` is what holds without that."""
    found = chain.certificates.find(source, sink, store, chain.commit_path)
    untested = found.reasons if found.standing is Standing.OUTSIDE_TESTED_VERSIONS else ()
    if found.counts(strict=chain.strict):
        return _Verdict(rung=Rung(Guarantee.EXACTLY_ONCE, _evidence(found)), certification=found, warnings=untested)
    why = "; ".join(found.reasons) + (" (strict)" if untested else "")
    if chain.allow_uncertified:
        reason = f"uncertified, and granted by allow_uncertified=True: {why}"
        return _Verdict(rung=Rung(Guarantee.EXACTLY_ONCE, reason), certification=found, granted=True)
    reason = f"uncertified: {why}. What holds by itself: {fallback.reason}"
    return _Verdict(rung=Rung(fallback.level, reason, _certify_command(source, sink, store)), certification=found)


def _evidence(found: Certification) -> str:
    certificate = found.certificate
    if certificate is None:  # a standing that counts always has one
        raise AssertionError("a certification that counts holds no certificate")
    return (
        f"certificate {certificate.id} (suite {certificate.suite_version}): "
        f"{certificate.kills} kills survived, {certificate.combination.kills} of them by this combination"
    )


def _certify_command(source: SourcePart, sink: SinkPart, store: StorePart) -> str:
    return (
        f"run 'krishiv-stream certify {sink.class_name} --source {source.class_name} --store {store.class_name}', "
        "or pass allow_uncertified=True to go without"
    )


def _part(role: Role, part: Part | None, rung: Rung) -> PartReport:
    return _report(role, part.name, rung, part.class_name) if part else _report(role, "none", rung)


def _report(role: Role, name: str, rung: Rung, class_name: str = "") -> PartReport:
    return PartReport(
        role=role, name=name, class_name=class_name, level=rung.level, reason=rung.reason, remedy=rung.remedy
    )


def _domain(store: StorePart | None, profile: Profile) -> FailureDomain:
    if store is None or not store.capabilities.durable:
        return FailureDomain.TASK
    return min(store.capabilities.survives, profile.spec.survives)


def _path_notes(sink: SinkPart) -> tuple[str, ...]:
    can = sink.capabilities
    notes: list[str] = []
    if can.two_phase and can.recovers_prepared and not can.atomic_epochs:
        notes.append(f"readers of {sink.name!r} may see part of an epoch while it is being published")
    if sink.duplicate_overlap:
        notes.append(
            f'on_sink_ahead="duplicate": epochs that {sink.name!r} already holds are written again; '
            "for that overlap the level is at_least_once"
        )
    return tuple(notes)


def _pipeline_notes(reports: Sequence[PathReport], paths: Sequence[PipelinePath]) -> tuple[str, ...]:
    notes: list[str] = []
    sinks = {report.sink for report in reports if not report.diagnostic}
    if len(sinks) > 1:
        notes.append(f"the {len(sinks)} sinks keep their guarantee each for itself: they are not atomic together")
    if any(path.user_functions for path in paths):
        notes.append("side effects of Python functions in the pipeline are outside every guarantee")
    return tuple(notes)
