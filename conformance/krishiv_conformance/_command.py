"""``krishiv-stream certify``: run the suite against a class, and write the certificate that it earns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from krishiv_conformance._certify import Certifying, Options, run_cases, subjects_of
from krishiv_conformance._errors import TargetMissing
from krishiv_conformance._find import find_harnesses, known_harnesses, shipped_harnesses
from krishiv_conformance._left_out import sort_out
from krishiv_conformance._report import CaseReport, print_cases, print_outcome
from krishiv_conformance._servers import Servers
from krishiv_conformance._subjects import Combination, distinct_parts
from krishiv_stream._cli._exits import Exit
from krishiv_stream._cli._output import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_conformance._harness import Harness

__all__ = ["certify"]

Names = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

SHIPPED = Path(__file__).parent / "certificates"


def certify(
    target: str | None = None,
    /,
    *,
    source: Names = (),
    sink: Names = (),
    store: Names = (),
    out: Path = Path("certificates"),
    case: Names = (),
    list_cases: Annotated[bool, Parameter(name="--list", negative="", show_default=False)] = False,
    seed: int = 0,
    jobs: int | None = None,
    again: Flag = False,
    shipped: Flag = False,
    keep: Path | None = None,
    json: Json = False,
) -> Exit:
    """Kill a source and a sink at every step, and write the certificate that they earn.

    Runs the fault matrix of the class named, and of its partners unless an installed certificate over the same code
    has their results; then at least five end-to-end kills of each combination. A certificate is written only if no
    case failed.

    Parameters
    ----------
    target
        module:Class of a harness, or of a connector that has one; or the bare name of a shipped connector.
    source
        Certify with this source only. May be repeated. [default: every shipped one]
    sink
        Certify with this sink only. May be repeated. [default: every shipped one]
    store
        Certify with this checkpoint store only. May be repeated. [default: every shipped one]
    out
        Folder for the certificates.
    case
        Run only the cases whose names fit this pattern, and write nothing. May be repeated.
    list_cases
        Show the cases and run none.
    seed
        What every case draws its moments and rows from.
    jobs
        Cases at a time. [default: one per processor]
    again
        Run the matrix of the partners too.
    shipped
        Certify every combination that comes with krishiv-stream, in place.
    keep
        Copy the directory of every case to this folder.
    """
    under_test = find_harnesses(target) if target else []
    named = [*under_test, *(harness for name in (*source, *sink, *store) for harness in find_harnesses(name))]
    combinations = _combinations(named, shipped=shipped)
    if list_cases:
        print_cases(subjects_of(combinations, case or ("*",)), as_json=json)
        return Exit.OK
    report = CaseReport(as_json=json)
    with Servers() as servers:
        able, left_out = sort_out(combinations, servers, named)
        report.begin(left_out)
        options = Options(
            seed=seed,
            jobs=jobs or os.cpu_count() or 1,
            fresh=frozenset(distinct_parts(able)) if again or shipped else frozenset(under_test),
            servers=servers,
            report=report.ended,
            keep=keep,
        )
        if case:
            run_cases(subjects_of(able, case), options)
            report.finish()
            return Exit.FAILED if report.failures else Exit.OK
        certifying = Certifying(able, options)
        certifying.run()
    written = _write(certifying, SHIPPED if shipped else out)
    print_outcome(certifying, written, report)
    return Exit.FAILED if certifying.refused or (shipped and left_out) else Exit.OK


def _combinations(named: Sequence[Harness], *, shipped: bool) -> list[Combination]:
    """Return the combinations of what was named; every shipped part in the roles that were not."""
    if not named and not shipped:
        raise TargetMissing(
            "nothing to certify was named",
            hint="write module:Class, or --shipped; known are "
            + ", ".join(harness.name for harness in known_harnesses()),
        )
    roles = {harness.role for harness in named}
    partners = [harness for harness in shipped_harnesses() if harness.role not in roles]
    return Combination.of_harnesses([*named, *partners])


def _write(certifying: Certifying, folder: Path) -> list[Path]:
    written: list[Path] = []
    for combination, certificate in certifying.certificates:
        folder.mkdir(parents=True, exist_ok=True)
        written.append(folder / combination.file_name)
        written[-1].write_text(certificate.to_json(), encoding="utf-8")
    return written
