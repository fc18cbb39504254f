"""Which error ends in which exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from krishiv_checkpoint import CommitFailed, CorruptManifest, FutureFormat, JobLocked, SavepointMissing, StoreFull
from krishiv_guarantees import (
    ConfigurationError,
    FatalError,
    GuaranteeError,
    KrishivError,
    PlanError,
    ProfileError,
    RetriableError,
)
from krishiv_stream._cli._exits import Exit, exit_of
from krishiv_stream._errors import PipelineNotFound

DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FatalError, Exit.FAILED),
        (RetriableError, Exit.FAILED),
        (CommitFailed, Exit.FAILED),
        (ConfigurationError, Exit.USAGE),
        (ProfileError, Exit.USAGE),
        (PlanError, Exit.USAGE),
        (PipelineNotFound, Exit.USAGE),
        (GuaranteeError, Exit.GUARANTEE),
        (CorruptManifest, Exit.CHECKPOINT),
        (FutureFormat, Exit.CHECKPOINT),
        (SavepointMissing, Exit.CHECKPOINT),
        (StoreFull, Exit.CHECKPOINT),
        (JobLocked, Exit.HELD),
    ],
)
def test_error_ends_in_its_exit_code(error: type[KrishivError], code: Exit) -> None:
    assert exit_of(error("something")) is code


def test_exit_codes_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == [code.value for code in Exit]
