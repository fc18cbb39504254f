"""A real broker for the harnesses of the Kafka connectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from krishiv_conformance._servers import Servers
from krishiv_conformance._shipped._kafka import BROKER
from tests.services.kafka.install import Unavailable, installation
from tests.unit.conformance.conftest import quick

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["broker_command", "quick", "servers"]

COMMAND = Path(__file__).parents[2] / "services" / "kafka" / "command.py"


@pytest.fixture
def broker_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the command that starts a broker, as ``make certify`` does."""
    try:
        installation()
    except Unavailable as missing:
        pytest.skip(str(missing))
    monkeypatch.setenv(BROKER.variable, f"{sys.executable} {COMMAND}")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """One broker for the tests of a module, started by the first that needs it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(BROKER.variable, f"{sys.executable} {COMMAND}")
        with Servers() as running:
            yield running
