"""What holds for every simulated job."""

from __future__ import annotations

import pytest

from tests.simulate.stage import short


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The product warns of every failure that the world deals out."""
    caplog.set_level("CRITICAL")


@pytest.fixture(scope="session")
def places() -> int:
    """How many places the short job passes when nobody disturbs it."""
    with short() as stage:
        stage.finish(stage.boot(2))
        assert stage.kernel.points > 200
        assert len(stage.outside.files.published) > 3
        return stage.kernel.points
