"""Certificates: the evidence that one combination of source, sink and checkpoint store was killed and lost nothing.

Made by the certify command only. They are evidence, not a signature: whoever can edit the text can forge one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from krishiv_guarantees._certificate_fields import Fields, certificate_text, corrupt, read_object, text_checksum
from krishiv_guarantees._digests import combined_digest, syntax_digests
from krishiv_guarantees._errors import CertificateFutureFormat
from krishiv_guarantees._versions import VersionRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_guarantees._parts import OptionValue, Part

__all__ = ["CERTIFICATE_FORMAT", "MIN_COMBINATION_KILLS", "Certificate", "CertifiedPart", "FaultRun"]

CERTIFICATE_FORMAT = 1
"""The format that this version writes, and the newest that it reads."""

MIN_COMBINATION_KILLS = 5
"""Seeded end-to-end kills that a combination itself must have lived through."""

_NOTICE = (
    "Evidence of a test run, not a signature. Made by 'krishiv-stream certify'; void for any other code than its "
    "digests name."
)


@dataclass(frozen=True, kw_only=True)
class FaultRun:
    """Which faults were run.

    Parameters
    ----------
    cases : tuple of str
        Names of the cases of the fault matrix.
    kills : int
        Processes killed, over all cases.
    seeds : tuple of int
        Seeds of the random ones.
    against : tuple of str
        Class names of the reference partners; empty for the combination itself.
    """

    cases: tuple[str, ...]
    kills: int
    seeds: tuple[int, ...]
    against: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CertifiedPart:
    """What of one part was tested.

    Parameters
    ----------
    class_name, version : str
        The class, and the version of its distribution.
    digests : mapping of str to str
        `syntax_digest` of every module that makes it up, by module name.
    options : mapping of str to OptionValue
        The options that bear on the guarantee, as tested.
    tested_versions : mapping of str to VersionRange
        Client libraries and servers, by name.
    faults : FaultRun
        The fault matrix of this part, against reference partners.
    """

    class_name: str
    version: str
    digests: Mapping[str, str]
    options: Mapping[str, OptionValue]
    tested_versions: Mapping[str, VersionRange]
    faults: FaultRun

    @property
    def digest(self) -> str:
        """One digest over all of its modules."""
        return combined_digest(self.digests)

    @classmethod
    def of(cls, part: Part, *, faults: FaultRun, tested_versions: Mapping[str, VersionRange]) -> CertifiedPart:
        """Return `part` as tested now: the digests are taken of its modules' texts.

        Raises
        ------
        SourceTextUnreadable
            If one of the texts cannot be parsed.
        """
        return cls(
            class_name=part.class_name,
            version=part.version,
            digests=syntax_digests(part.modules),
            options=dict(part.options),
            tested_versions=dict(tested_versions),
            faults=faults,
        )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The evidence for one combination.

    Parameters
    ----------
    suite_version : str
        Version of the conformance suite that ran.
    made : str
        When, ISO 8601 in UTC. Age alone never makes a certificate stale.
    environment : mapping of str to str
        Where it ran, for readers: Python, platform.
    source, sink, store : CertifiedPart
        The three parts, each with its own fault matrix.
    commit_path : mapping of str to str
        `syntax_digest` of each module of the checkpoint floor on the commit path.
    combination : FaultRun
        The end-to-end kills of the three together; at least `MIN_COMBINATION_KILLS`.
    origin : str
        Where the text came from (a path, a package), for messages. Not part of the text.
    """

    suite_version: str
    made: str
    environment: Mapping[str, str]
    source: CertifiedPart
    sink: CertifiedPart
    store: CertifiedPart
    commit_path: Mapping[str, str]
    combination: FaultRun
    origin: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """The first twelve hex digits of its checksum."""
        return text_checksum(self._document())[:12]

    @property
    def kills(self) -> int:
        """Processes killed, in all fault matrices and the combination."""
        return sum(run.kills for run in self._runs())

    def to_json(self) -> str:
        """Return the text, indented, with sorted keys and a checksum over everything else.

        Raises
        ------
        CertificateCorrupt
            If it holds too little to be a certificate: no digests, no cases, too few kills.
        """
        _check_evidence(self, "this certificate")
        return certificate_text(self._document())

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> Certificate:
        """Read a certificate.

        Parameters
        ----------
        text : str
            What `to_json` wrote.
        origin : str
            Where it came from, for messages.

        Raises
        ------
        CertificateCorrupt
            If the text is damaged, incomplete, or holds too little evidence.
        CertificateFutureFormat
            If a newer version wrote it.
        """
        document = read_object(text, origin)
        form = document.number("format")
        if form > CERTIFICATE_FORMAT:
            raise CertificateFutureFormat(
                f"certificate {origin} has format {form}; this version reads up to {CERTIFICATE_FORMAT}",
                hint="upgrade krishiv-stream, or make the certificate again with this version",
                origin=origin,
            )
        document.verify_checksum()
        certificate = _read_certificate(document, origin)
        _check_evidence(certificate, origin)
        return certificate

    def _runs(self) -> tuple[FaultRun, ...]:
        return (self.source.faults, self.sink.faults, self.store.faults, self.combination)

    def _document(self) -> dict[str, object]:
        return {
            "format": CERTIFICATE_FORMAT,
            "notice": _NOTICE,
            "suite_version": self.suite_version,
            "made": self.made,
            "environment": dict(self.environment),
            "source": _part_document(self.source),
            "sink": _part_document(self.sink),
            "store": _part_document(self.store),
            "commit_path": dict(self.commit_path),
            "combination": _run_document(self.combination),
        }


def _check_evidence(certificate: Certificate, origin: str) -> None:
    """Refuse what cannot be evidence of anything."""
    for role, part in (("source", certificate.source), ("sink", certificate.sink), ("store", certificate.store)):
        if not part.digests:
            raise corrupt(origin, f"it binds the {role} to no code: {role}.digests is empty")
        if not part.faults.cases or part.faults.kills < 1:
            raise corrupt(origin, f"it holds no fault run of the {role}")
    if not certificate.commit_path:
        raise corrupt(origin, "it binds the commit path to no code: commit_path is empty")
    run = certificate.combination
    if run.kills < MIN_COMBINATION_KILLS or not run.seeds:
        raise corrupt(
            origin, f"the combination lived through {run.kills} seeded kills; {MIN_COMBINATION_KILLS} are the least"
        )


def _part_document(part: CertifiedPart) -> dict[str, object]:
    tested = {name: [span.lowest, span.highest] for name, span in part.tested_versions.items()}
    return {
        "class": part.class_name,
        "version": part.version,
        "digests": dict(part.digests),
        "options": dict(part.options),
        "tested_versions": tested,
        "faults": _run_document(part.faults),
    }


def _run_document(run: FaultRun) -> dict[str, object]:
    return {"cases": list(run.cases), "kills": run.kills, "seeds": list(run.seeds), "against": list(run.against)}


def _read_certificate(document: Fields, origin: str) -> Certificate:
    certificate = Certificate(
        suite_version=document.text("suite_version"),
        made=document.text("made"),
        environment=document.child("environment").texts(),
        source=_read_part(document.child("source")),
        sink=_read_part(document.child("sink")),
        store=_read_part(document.child("store")),
        commit_path=document.child("commit_path").texts(),
        combination=_read_run(document.child("combination")),
        origin=origin,
    )
    document.text("notice")
    document.done()
    return certificate


def _read_part(fields: Fields) -> CertifiedPart:
    tested = fields.child("tested_versions")
    part = CertifiedPart(
        class_name=fields.text("class"),
        version=fields.text("version"),
        digests=fields.child("digests").texts(),
        options=fields.child("options").scalars(),
        tested_versions={name: VersionRange(*tested.text_pair(name)) for name in tested.names()},
        faults=_read_run(fields.child("faults")),
    )
    fields.done()
    return part


def _read_run(fields: Fields) -> FaultRun:
    run = FaultRun(
        cases=fields.text_list("cases"),
        kills=fields.number("kills"),
        seeds=fields.number_list("seeds"),
        against=fields.text_list("against"),
    )
    fields.done()
    return run
