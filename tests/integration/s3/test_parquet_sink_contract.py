"""Exactly-once Parquet in S3 keeps the contract of every two-phase sink (P11, P13, P14, P15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.s3.objects import Output, output_target
from tests.unit.sinks.contract import CHECKS

if TYPE_CHECKING:
    from tests.services.s3.gateway import Gateway

pytestmark = pytest.mark.server("s3")


@pytest.mark.parametrize("check", CHECKS)
def test_parquet_in_s3_keeps_the_contract(s3: Gateway, check: str) -> None:
    CHECKS[check](output_target(Output(s3)))
