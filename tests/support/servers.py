"""Tests that need a real server: skipped where it is not installed, failed where it was promised.

A test that needs one carries ``@pytest.mark.server("kafka")`` and calls `pytest.skip` when it cannot start it. With
``KRISHIV_REQUIRE_SERVERS=1`` in the environment (`.ci/run` sets it) such a skip is a failure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["REQUIRE_SERVERS", "refuse_skip", "servers_required"]

REQUIRE_SERVERS = "KRISHIV_REQUIRE_SERVERS"


def servers_required() -> bool:
    """Whether this run promised to have every server."""
    return os.environ.get(REQUIRE_SERVERS) == "1"


def refuse_skip(item: pytest.Item, report: pytest.TestReport) -> None:
    """Turn the skip of a server test into a failure where servers are required."""
    marker = item.get_closest_marker("server")
    if marker is None or not report.skipped or hasattr(report, "wasxfail") or not servers_required():
        return
    wanted = ", ".join(map(str, marker.args)) or "its server"
    report.outcome = "failed"
    report.longrepr = f"{item.nodeid} was skipped, but {REQUIRE_SERVERS}=1 promises {wanted}: {report.longrepr}"
