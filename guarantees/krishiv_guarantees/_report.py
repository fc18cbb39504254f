"""The resolver's answer: the level, why it is not higher, what would raise it, and the failures it holds through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from krishiv_guarantees._errors import GuaranteeError
from krishiv_guarantees._levels import Guarantee, weakest
from krishiv_guarantees._rendering import PartDict, PathDict, ReportDict, render_report

if TYPE_CHECKING:
    from krishiv_guarantees._capabilities import FailureDomain
    from krishiv_guarantees._freshness import Certification
    from krishiv_guarantees._profiles import Profile

__all__ = ["GuaranteeReport", "PartReport", "PathReport", "Role", "require"]


class Role(StrEnum):
    """What a part is in the chain."""

    SOURCE = "source"
    SINK = "sink"
    STORE = "checkpoints"
    PROFILE = "profile"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """One link of the chain.

    Parameters
    ----------
    role : Role
        What it is.
    name : str
        The part's id in the pipeline.
    class_name : str
        Its class; empty for profile and certificate.
    level : Guarantee
        What it supplies.
    reason : str
        Why.
    remedy : str
        The change that would raise it; empty at the top.
    """

    role: Role
    name: str
    class_name: str = ""
    level: Guarantee
    reason: str
    remedy: str = ""

    @property
    def label(self) -> str:
        """Role and name: ``"sink 'totals'"``."""
        return f"{self.role.value} {self.name!r}"

    def to_dict(self, *, limiting: bool) -> PartDict:
        """Return JSON-able values; `limiting`: whether its path is no better than this."""
        return {
            "role": self.role.value,
            "name": self.name,
            "class": self.class_name,
            "level": self.level.label,
            "reason": self.reason,
            "remedy": self.remedy,
            "limiting": limiting,
        }


@dataclass(frozen=True, kw_only=True)
class PathReport:
    """One way from a source to a sink.

    Parameters
    ----------
    source, sink : str
        The ends.
    diagnostic : bool
        Whether `require` leaves the sink out.
    parts : tuple of PartReport
        Source, sink, checkpoints, profile and, where the capabilities add up to exactly once, the certificate.
    certification : Certification or None
        What was found for the combination; None where no certificate is needed.
    granted : bool
        `allow_uncertified` stood in for the certificate.
    notes : tuple of str
        What the level does not say.
    warnings : tuple of str
        What may be wrong: versions that were not tested.
    """

    source: str
    sink: str
    diagnostic: bool
    parts: tuple[PartReport, ...]
    certification: Certification | None = None
    granted: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def level(self) -> Guarantee:
        """The weakest link's."""
        return weakest(part.level for part in self.parts)

    @property
    def limiting(self) -> tuple[PartReport, ...]:
        """The weakest links; none if the path reaches EXACTLY_ONCE."""
        level = self.level
        if level is Guarantee.EXACTLY_ONCE:
            return ()
        return tuple(part for part in self.parts if part.level is level)

    @property
    def uncertified(self) -> bool:
        """Whether EXACTLY_ONCE is reached, but granted by `allow_uncertified` and not earned."""
        return self.granted and self.level is Guarantee.EXACTLY_ONCE

    def to_dict(self) -> PathDict:
        """Return JSON-able values."""
        limiting = self.limiting
        return {
            "source": self.source,
            "sink": self.sink,
            "diagnostic": self.diagnostic,
            "level": self.level.label,
            "uncertified": self.uncertified,
            "certification": self.certification.standing.label if self.certification else None,
            "parts": [part.to_dict(limiting=part in limiting) for part in self.parts],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, kw_only=True)
class GuaranteeReport:
    """What a pipeline guarantees, and why.

    Parameters
    ----------
    profile : Profile
        The durability profile.
    domain : FailureDomain
        The worst failure that the level holds through.
    paths : tuple of PathReport
        One per way from a source to a sink.
    allow_uncertified, strict : bool
        As they were set.
    notes : tuple of str
        What holds for the pipeline as a whole and the level does not say.
    """

    profile: Profile
    domain: FailureDomain
    paths: tuple[PathReport, ...]
    allow_uncertified: bool = False
    strict: bool = False
    notes: tuple[str, ...] = ()

    @property
    def covered(self) -> tuple[PathReport, ...]:
        """The paths that the level speaks of: those to sinks that are not diagnostic; all, if every sink is."""
        return tuple(path for path in self.paths if not path.diagnostic) or self.paths

    @property
    def level(self) -> Guarantee:
        """The weakest covered path's."""
        return weakest(path.level for path in self.covered)

    @property
    def limiting(self) -> tuple[PartReport, ...]:
        """The weakest links of the weakest paths, each once; none at EXACTLY_ONCE."""
        level = self.level
        weak = (part for path in self.covered if path.level is level for part in path.limiting)
        return tuple(dict.fromkeys(weak))

    @property
    def remedies(self) -> tuple[str, ...]:
        """The changes that would raise the limiting parts, each once, named by part."""
        return tuple(f"{part.label}: {part.remedy}" for part in self.limiting if part.remedy)

    @property
    def uncertified(self) -> bool:
        """Whether the level is EXACTLY_ONCE only because `allow_uncertified` grants it to a covered path."""
        return self.level is Guarantee.EXACTLY_ONCE and any(path.uncertified for path in self.covered)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Every path's warnings, each once."""
        return tuple(dict.fromkeys(warning for path in self.paths for warning in path.warnings))

    @property
    def summary(self) -> str:
        """One line for logs and tables: level, failure domain, and whether uncertified combinations are allowed."""
        line = f"{self.level.label}, holds through {self.domain.description}"
        if self.uncertified:
            return f"{line} [UNCERTIFIED: allow_uncertified=True]"
        return f"{line} [allow_uncertified=True]" if self.allow_uncertified else line

    def to_dict(self) -> ReportDict:
        """Return JSON-able values: levels, roles and domains by their names."""
        return {
            "level": self.level.label,
            "summary": self.summary,
            "profile": self.profile.label,
            "domain": {"name": self.domain.label, "description": self.domain.description},
            "uncertified": self.uncertified,
            "allow_uncertified": self.allow_uncertified,
            "strict": self.strict,
            "paths": [path.to_dict() for path in self.paths],
            "limiting": [f"{part.label}: {part.reason}" for part in self.limiting],
            "remedies": list(self.remedies),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        return render_report(self.to_dict())


def require(report: GuaranteeReport, level: Guarantee | str) -> None:
    """Refuse a pipeline that does not reach `level`.

    Raises
    ------
    GuaranteeError
        With the report; the message names the limiting parts, the hint what would raise them.
    ConfigurationError
        If `level` names no level.
    """
    wanted = Guarantee.parse(level)
    if report.level >= wanted:
        return
    limits = "; ".join(report.to_dict()["limiting"])
    raise GuaranteeError(
        f"this pipeline resolves to {report.level.label}, {wanted.label} is required. Limited by {limits}",
        hint="; ".join(report.remedies),
        report=report,
        level=report.level.label,
        required=wanted.label,
    )
