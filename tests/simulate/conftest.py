"""What holds for every simulated job."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The product warns of every failure that the world deals out."""
    caplog.set_level("CRITICAL")
