"""Every two-phase sink keeps the contract (P11, P13, P14, P15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.sinks.contract import CHECKS

if TYPE_CHECKING:
    from tests.unit.sinks.contract import Target


@pytest.mark.parametrize("check", CHECKS)
def test_sink_keeps_the_contract(target: Target, check: str) -> None:
    CHECKS[check](target)
