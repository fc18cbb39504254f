"""What holds for every test: nothing is left behind, promised servers are there, kill tests are sampled by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.kills import kills_of, sample
from tests.support.leaks import Leftovers, Resources, open_what_is_kept
from tests.support.servers import refuse_skip

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(autouse=True)
def no_leaks() -> Generator[None]:
    """Fail a test that leaves a thread, a descriptor or a child process behind."""
    before = Resources.now()
    yield
    if leftovers := Leftovers.since(before):
        pytest.fail("left behind: " + "; ".join(leftovers.lines), pytrace=False)


def pytest_sessionstart() -> None:
    """Begin with what stays open for good."""
    open_what_is_kept()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of kill tests."""
    group = parser.getgroup("krishiv-stream")
    group.addoption("--kills", choices=("sample", "all"), default="sample", help="which kill tests run")
    group.addoption("--kills-seed", type=int, default=0, help="seed of the sample")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the kill tests that the sample does not hold; a test named on the command line is always run."""
    if config.getoption("--kills") == "all" or any("::" in argument for argument in config.args):
        return
    kept, left_out = sample(items, config.getoption("--kills-seed"))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_report_header(config: pytest.Config) -> str:
    """Say which kill tests run."""
    return f"kills: {config.getoption('--kills')}, seed {config.getoption('--kills-seed')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hold server tests to what the environment promised, and note the kills of kill tests."""
    report = yield
    refuse_skip(item, report)
    if report.when == "call" and kills_of(item):
        report.user_properties.append(("kills", kills_of(item)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the kills that were survived."""
    passed = terminalreporter.stats.get("passed", [])
    kills = sum(value for report in passed for name, value in report.user_properties if name == "kills")
    if kills:
        terminalreporter.write_line(f"kills survived: {kills}")
