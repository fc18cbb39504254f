"""Stores to run every rule on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import CheckpointStore, FilesystemStore, MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["memory", "filesystem"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    """Both stores."""
    return MemoryStore() if request.param == "memory" else FilesystemStore(tmp_path / "job")
