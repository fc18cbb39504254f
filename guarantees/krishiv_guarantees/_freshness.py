"""Whether a certificate still speaks of the code, options and versions in use, and which of several speaks best."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from krishiv_guarantees._certificates import Certificate
from krishiv_guarantees._digests import syntax_digests
from krishiv_guarantees._errors import SourceTextUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from krishiv_guarantees._certificates import CertifiedPart
    from krishiv_guarantees._parts import Part, SinkPart, SourcePart, StorePart

__all__ = ["CertificateIndex", "Certification", "Standing", "check_freshness"]

_TOLD = 3
"""Modules that are named where many have changed."""


class Standing(IntEnum):
    """How well a combination is certified, from worst to best."""

    MISSING = 0
    STALE = 1
    OTHER_OPTIONS = 2
    OUTSIDE_TESTED_VERSIONS = 3
    FRESH = 4

    @property
    def label(self) -> str:
        """The name in reports: ``"outside_tested_versions"``."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Certification:
    """What is known of one combination.

    Parameters
    ----------
    standing : Standing
        How well it is certified.
    reasons : tuple of str
        What keeps it from being fresh; empty if it is.
    certificate : Certificate or None
        The best one found.
    """

    standing: Standing
    reasons: tuple[str, ...] = ()
    certificate: Certificate | None = None

    def counts(self, *, strict: bool) -> bool:
        """Whether it earns EXACTLY_ONCE. With `strict`, untested versions do not."""
        return self.standing >= (Standing.FRESH if strict else Standing.OUTSIDE_TESTED_VERSIONS)


def check_freshness(
    certificate: Certificate, source: SourcePart, sink: SinkPart, store: StorePart, commit_path: Mapping[str, str]
) -> Certification:
    """Compare a certificate with the combination in use. Fresh: digests and options match, versions were tested.

    Parameters
    ----------
    certificate : Certificate
        One for the same three classes.
    source, sink, store
        The parts in use, with their modules' texts.
    commit_path : mapping of str to str
        Texts of the modules on the commit path, by name.
    """
    pairs: tuple[tuple[str, CertifiedPart, Part], ...] = (
        ("source", certificate.source, source),
        ("sink", certificate.sink, sink),
        ("store", certificate.store, store),
    )
    stale = [
        *(reason for _, tested, part in pairs for reason in _code_changes(tested.digests, part.modules)),
        *_code_changes(certificate.commit_path, commit_path),
    ]
    if stale:
        return Certification(standing=Standing.STALE, reasons=_first(dict.fromkeys(stale)), certificate=certificate)
    options = [reason for role, tested, part in pairs for reason in _option_changes(role, tested, part)]
    if options:
        return Certification(standing=Standing.OTHER_OPTIONS, reasons=tuple(options), certificate=certificate)
    versions = [reason for _, tested, part in pairs for reason in _untested_versions(tested, part)]
    if versions:
        distinct = tuple(dict.fromkeys(versions))
        return Certification(standing=Standing.OUTSIDE_TESTED_VERSIONS, reasons=distinct, certificate=certificate)
    return Certification(standing=Standing.FRESH, certificate=certificate)


class CertificateIndex:
    """Certificates by combination: which source, sink and store classes they speak of.

    Parameters
    ----------
    certificates : iterable of Certificate
        From wherever they were shipped; several for one combination are fine.
    """

    def __init__(self, certificates: Iterable[Certificate] = ()) -> None:
        self._by_classes: dict[tuple[str, str, str], list[Certificate]] = {}
        for certificate in certificates:
            parts = (certificate.source, certificate.sink, certificate.store)
            classes = (parts[0].class_name, parts[1].class_name, parts[2].class_name)
            self._by_classes.setdefault(classes, []).append(certificate)

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> CertificateIndex:
        """Read certificates from their texts, by origin (a path or a package's name).

        Raises
        ------
        CertificateCorrupt, CertificateFutureFormat
            For the first text that cannot be used.
        """
        return cls(Certificate.from_json(text, origin=origin) for origin, text in texts.items())

    def __iter__(self) -> Iterator[Certificate]:
        for certificates in self._by_classes.values():
            yield from certificates

    def __len__(self) -> int:
        return sum(map(len, self._by_classes.values()))

    def find(
        self, source: SourcePart, sink: SinkPart, store: StorePart, commit_path: Mapping[str, str]
    ) -> Certification:
        """Return the best certification of a combination; `Standing.MISSING` if there is none at all."""
        found = [
            check_freshness(certificate, source, sink, store, commit_path)
            for certificate in self._by_classes.get((source.class_name, sink.class_name, store.class_name), ())
        ]
        if not found:
            combination = f"{source.short_class}, {sink.short_class} and {store.short_class}"
            return Certification(standing=Standing.MISSING, reasons=(f"there is no certificate for {combination}",))
        return max(found, key=lambda certification: certification.standing)


def _first(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return `reasons`, or, where they are many, some and how many more there are."""
    found = tuple(reasons)
    more = len(found) - _TOLD
    return found if more < 2 else (*found[:_TOLD], f"and {more} modules more")


def _code_changes(tested: Mapping[str, str], modules: Mapping[str, str]) -> Iterator[str]:
    try:
        current = syntax_digests(modules)
    except SourceTextUnreadable as error:
        yield error.message
        return
    for name in sorted(tested.keys() | current.keys()):
        if name not in current:
            yield f"the text of module {name} is not known here"
        elif name not in tested:
            yield f"module {name} was not part of what was tested"
        elif tested[name] != current[name]:
            yield f"module {name} changed since it was tested"


def _option_changes(role: str, tested: CertifiedPart, part: Part) -> Iterator[str]:
    for name in sorted(tested.options.keys() | part.options.keys()):
        before, now = _option(tested.options, name), _option(part.options, name)
        if before != now:
            yield f"{role} option {name} was tested as {before}, here it is {now}"


def _option(options: Mapping[str, object], name: str) -> str:
    # as JSON, in which true is not 1
    return json.dumps(options[name]) if name in options else "unset"


def _untested_versions(tested: CertifiedPart, part: Part) -> Iterator[str]:
    for name in sorted(tested.tested_versions.keys() | part.versions.keys()):
        span, version = tested.tested_versions.get(name), part.versions.get(name)
        if span is None:
            yield f"{name} {version} was not tested"
        elif version is None:
            yield f"the version of {name} in use is not known; tested: {span}"
        elif not span.covers(version):
            yield f"{name} {version} is outside the tested versions {span}"
