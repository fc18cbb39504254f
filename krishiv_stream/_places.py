"""Where jobs keep what: checkpoints in a store of their own each, and beside them what only this host needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_checkpoint import CheckpointStore, ObjectStore
    from krishiv_stream._settings import Settings

__all__ = ["JobPlaces"]

_JOBS = "jobs"
"""The folder, or what keys begin with, below which each job has a folder of its own."""


class JobPlaces:
    """The places of all jobs of a session.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.jobs_directory
        self._bucket = settings.checkpoint_bucket

    def __str__(self) -> str:
        if self._bucket is not None:
            return f"{self._bucket}/{_JOBS}"
        return "memory" if self._folder is None else str(self._folder)

    @property
    def lasting(self) -> bool:
        """Whether there is something after the process has ended."""
        return self._bucket is not None or self._folder is not None

    def store(self, job: str) -> CheckpointStore:
        """Return where `job` keeps its checkpoints. In memory: an empty store, each time another one."""
        from krishiv_checkpoint import FilesystemStore, MemoryStore

        if self._bucket is not None:
            return self._objects(f"{self._bucket}/{_JOBS}/{job}")
        return MemoryStore() if self._folder is None else FilesystemStore(self._folder / job)

    def local(self, job: str) -> Path | None:
        """Return the folder on this host for the lock of `job` and for what its attempts need; None: there is none."""
        if self._bucket is not None:
            data = self._settings.data_dir
            return None if data is None else data / _JOBS / job
        return None if self._folder is None else self._folder / job

    def names(self) -> list[str]:
        """Return the names of the jobs that have checkpoints, sorted."""
        if self._bucket is not None:
            return self._objects(f"{self._bucket}/{_JOBS}").folders()
        folder = self._folder
        if folder is None or not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if (path / "log").is_dir())

    def _objects(self, url: str) -> ObjectStore:
        from krishiv_checkpoint import ObjectStore

        storage = self._settings.storage
        return ObjectStore.at(url, {} if storage is None else storage.options())
