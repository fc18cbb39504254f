"""The check before a release: every shipped combination has a certificate over the code as it is.

``python -m krishiv_conformance.release`` exits with 1 and says what is stale if not; ``krishiv-stream certify
--shipped`` makes the certificates anew.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from krishiv_checkpoint import commit_path_texts
from krishiv_conformance._evidence import inspect_parts
from krishiv_conformance._files import shipped_certificates
from krishiv_conformance._find import shipped_harnesses
from krishiv_conformance._matrix import SUITE_VERSION
from krishiv_conformance._subjects import Combination, distinct_parts
from krishiv_guarantees import CertificateIndex, KrishivError, SinkPart, SourcePart, Standing, StorePart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from krishiv_conformance._evidence import Parts

__all__ = ["main", "problems", "shipped_combinations"]


def shipped_combinations() -> list[Combination]:
    """Return every combination that is certified with a release."""
    return Combination.of_harnesses(shipped_harnesses())


def problems(combinations: Sequence[Combination], texts: Mapping[str, str]) -> Iterator[str]:
    """Yield what keeps a release from going out, a line each.

    Parameters
    ----------
    texts : mapping of str to str
        The certificates that would be shipped.

    Raises
    ------
    CertificateCorrupt, CertificateFutureFormat
        If one cannot be read at all.
    """
    index = CertificateIndex.from_texts(texts)
    now = inspect_parts(distinct_parts(combinations))
    commit_path = commit_path_texts()
    for combination in combinations:
        found = index.find(*_parts(now, combination), commit_path)
        if found.standing is not Standing.FRESH:
            yield f"{combination}: {found.standing.label}: {'; '.join(found.reasons)}"
        elif found.certificate is not None and found.certificate.suite_version != SUITE_VERSION:
            yield f"{combination}: made by suite {found.certificate.suite_version}, this is suite {SUITE_VERSION}"
    wanted = {combination.file_name for combination in combinations}
    for name in sorted(texts):
        if name.rpartition("/")[2] not in wanted:
            yield f"{name}: no shipped combination has this certificate"


def _parts(now: Parts, combination: Combination) -> tuple[SourcePart, SinkPart, StorePart]:
    match tuple(now.parts[part] for part in combination.parts):
        case (SourcePart() as source, SinkPart() as sink, StorePart() as store):
            return source, sink, store
        case _:
            raise AssertionError("a combination is a source, a sink and a store")


def main() -> int:
    """Print what is wrong; return 1 if anything is."""
    try:
        found = list(problems(shipped_combinations(), shipped_certificates()))
    except KrishivError as error:
        found = [str(error)]
    for line in found:
        print(line)
    if found:
        print(f"{len(found)} problems: make certify, then commit what it wrote")
        return 1
    print(f"{len(shipped_combinations())} combinations are certified over the code as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
