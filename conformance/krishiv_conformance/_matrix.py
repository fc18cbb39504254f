"""The fault matrix: which cases a part has, and the reference partners it is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_conformance._cases import job_kills, sink_contract, source_contract, source_kills, store_contract
from krishiv_conformance._cases.combination import combination_cases
from krishiv_conformance._cases.server_kills import combination_server_cases, server_cases
from krishiv_conformance._cases.store_kills import hammer_cases
from krishiv_conformance._cases.zombies import zombie_cases
from krishiv_conformance._reference import ReferenceHarness
from krishiv_conformance._shipped import FilesystemStoreHarness, SqliteSinkHarness

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_conformance._case import Case
    from krishiv_conformance._harness import SinkHarness, SourceHarness

__all__ = [
    "SUITE_VERSION",
    "combination_cases",
    "combination_server_cases",
    "reference_partners",
    "server_cases",
    "sink_cases",
    "source_cases",
    "store_cases",
]

SUITE_VERSION = "3"
"""Goes up when cases are added or become stricter: evidence of an older suite is not taken over."""


def reference_partners() -> tuple[ReferenceHarness, SqliteSinkHarness, FilesystemStoreHarness]:
    """Return what a part is tested with where it is not itself under test: source, sink and store."""
    return ReferenceHarness(), SqliteSinkHarness(), FilesystemStoreHarness()


def sink_cases(harness: SinkHarness) -> list[Case]:
    """Return the matrix of a two-phase sink."""
    return [*sink_contract.contract_cases(harness.connector), *job_kills.sink_cases(), *zombie_cases("sink")]


def source_cases(harness: SourceHarness, workdir: Path) -> list[Case]:
    """Return the matrix of a source, as far as its capabilities go.

    Parameters
    ----------
    workdir : Path
        An empty directory, to make the source in.
    """
    capabilities = harness.make(workdir).capabilities()
    follows = capabilities.discovers_splits and not capabilities.bounded
    return [
        *source_contract.contract_cases(capabilities),
        *source_kills.source_cases(),
        *(source_kills.follow_cases() if follows else ()),
    ]


def store_cases() -> list[Case]:
    """Return the matrix of a checkpoint store."""
    zombies = zombie_cases("store", ("manifest.before", "manifest.after"))
    return [*store_contract.contract_cases(), *hammer_cases(), *job_kills.store_cases(), *zombies]
