"""Harnesses of the checkpoint stores that come with krishiv-stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import FilesystemStore
from krishiv_conformance._harness import StoreHarness

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_stream._session_options import SessionOptions

__all__ = ["FilesystemStoreHarness"]


class FilesystemStoreHarness(StoreHarness):
    """Checkpoints under the session's data directory."""

    connector = FilesystemStore

    def make(self, workdir: Path, job: str) -> FilesystemStore:
        """Return the job's directory as a store."""
        return FilesystemStore(workdir / "jobs" / job)

    def settings(self, workdir: Path) -> SessionOptions:
        """Keep everything in `workdir`."""
        return {"data_dir": workdir}
