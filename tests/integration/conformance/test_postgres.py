"""PostgreSQL in the suite: broken sinks are refused, the shipped one passes, and bears the death of its server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance import run_case
from krishiv_conformance._matrix import reference_partners, server_cases, sink_cases
from krishiv_conformance._servers import Servers
from krishiv_conformance._shipped import PostgresSinkHarness
from krishiv_conformance._shipped._postgres import DATABASE
from tests.integration.conformance import postgres_mutants
from tests.services.postgres.server import Unavailable, programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_conformance import CaseResult
    from krishiv_conformance._harness import SinkHarness

pytestmark = [pytest.mark.server("postgres"), pytest.mark.timeout(180)]

COMMAND = Path(__file__).parents[2] / "services" / "postgres" / "command.py"


@pytest.fixture(scope="module")
def databases() -> Iterator[Servers]:
    """One server for the tests of the module, started by the first that needs it."""
    try:
        programs()
    except Unavailable as missing:
        pytest.skip(str(missing))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE.variable, f"{sys.executable} {COMMAND}")
        with Servers() as running:
            yield running


def run(name: str, servers: Servers, harness: SinkHarness) -> CaseResult:
    """Run the case called `name`, with reference partners."""
    source, _, store = reference_partners()
    case = next(case for case in [*sink_cases(harness), *server_cases("sink")] if case.name == name)
    return run_case(case, source=source, sink=harness, store=store, seed=0, servers=servers)


@pytest.mark.kill
@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        ("CommitsBetween", "sink/contract/racing-commits-publish-once"),
        ("CommitsBetween", "sink/kill/commit.during-3"),
        ("ForgetsTheMark", "sink/contract/a-second-commit-changes-nothing"),
        ("WritesAtPrepare", "sink/contract/prepared-rows-stay-invisible"),
    ],
)
def test_broken_postgres_sink_is_refused(databases: Servers, mutant: str, name: str) -> None:
    result = run(name, databases, getattr(postgres_mutants, f"{mutant}Harness")())
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
def test_postgres_sink_passes(databases: Servers, name: str) -> None:
    result = run(name, databases, PostgresSinkHarness())
    assert result.passed, result.problem
    assert result.reached
