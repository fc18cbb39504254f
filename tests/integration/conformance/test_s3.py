"""Parquet in S3 in the suite: a broken sink is refused, the shipped one passes, and bears the death of its server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import run_case
from krishiv_conformance._matrix import reference_partners, server_cases, sink_cases
from krishiv_conformance._servers import Servers
from krishiv_conformance._shipped import ObjectParquetSinkHarness
from krishiv_conformance._shipped._s3 import BUCKETS
from tests.integration.conformance.s3_mutants import PublishesAtPrepareHarness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_conformance import CaseResult
    from krishiv_conformance._harness import SinkHarness

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(180)]

COMMAND = Path(__file__).parents[2] / "services" / "s3" / "command.py"


@pytest.fixture(scope="module")
def buckets() -> Iterator[Servers]:
    """One server for the tests of the module, started by the first that needs it."""
    if shutil.which("radosgw") is None:
        pytest.skip("no radosgw here")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(BUCKETS.variable, f"{sys.executable} {COMMAND}")
        with Servers() as running:
            yield running


def run(name: str, servers: Servers, harness: SinkHarness) -> CaseResult:
    """Run the case called `name`, with reference partners."""
    source, _, store = reference_partners()
    case = next(case for case in [*sink_cases(harness), *server_cases("sink")] if case.name == name)
    return run_case(case, source=source, sink=harness, store=store, seed=0, servers=servers)


@pytest.mark.kill
def test_broken_sink_in_s3_is_refused(buckets: Servers) -> None:
    result = run("sink/contract/prepared-rows-stay-invisible", buckets, PublishesAtPrepareHarness())
    assert result.reached
    assert not result.passed
    assert "Traceback" not in result.problem, result.problem


@pytest.mark.kill
@pytest.mark.parametrize(
    "name",
    [
        "sink/contract/racing-commits-publish-once",
        "sink/kill/commit.during-1",
        "sink/zombie/commit.during-finished",
        "sink/server/commit.during-1",
    ],
)
def test_parquet_sink_in_s3_passes(buckets: Servers, name: str) -> None:
    result = run(name, buckets, ObjectParquetSinkHarness())
    assert result.passed, result.problem
    assert result.reached
