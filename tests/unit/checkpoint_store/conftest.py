"""Stores to run every rule on, and a disk that is really small."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    FilesystemStore,
    JobLog,
    MemoryStore,
    ObjectStore,
    OperatorSnapshot,
    create_savepoint,
)
from tests.unit.checkpoint_store.support import manifest, put, takeover

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture(params=["memory", "filesystem", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    """Every store; the bucket is one in memory."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "filesystem":
            return FilesystemStore(tmp_path / "job")
        case _:
            return ObjectStore.at("memory:///")


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte; mounting one takes a privilege that not everybody has."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def job(store: CheckpointStore) -> CheckpointStore:
    """Entries 1 to 5: takeover, epochs 1 to 3, a savepoint of epoch 3."""
    log = JobLog(store)
    log.append(takeover())
    base = put(store, "state/1-1/base.arrow", b"base")
    for epoch in (1, 2, 3):
        delta = put(store, f"state/1-{epoch}/delta.arrow", b"12345")
        both = OperatorSnapshot("totals", 0, (0, 128), {}, (*base.files, *delta.files))
        log.append(manifest(epoch, operators=(both, both)))
    newest = log.read().manifest
    assert newest is not None
    create_savepoint(log, newest, "s", {})
    return store
