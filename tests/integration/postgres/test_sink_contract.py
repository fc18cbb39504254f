"""The exactly-once PostgreSQL sink keeps the contract of every two-phase sink (P11, P13, P14, P15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import FilesystemStore
from tests.integration.postgres.tables import table_target
from tests.unit.sinks.contract import CHECKS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server("postgres")


@pytest.mark.parametrize("check", CHECKS)
def test_postgres_sink_keeps_the_contract(database: str, tmp_path: Path, check: str) -> None:
    store = FilesystemStore(tmp_path / "store")
    CHECKS[check](table_target(database, store, tmp_path / "store"))
