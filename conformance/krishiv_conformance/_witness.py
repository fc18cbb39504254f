"""What a job's own log says, read by the suite: which rows are covered by a manifest, who holds the job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import JobLog
from krishiv_conformance._job import SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_checkpoint import CheckpointStore, LogView, Manifest

__all__ = ["covered_rows", "log_of"]


def log_of(store: CheckpointStore) -> LogView:
    """Return what the log of the job in `store` says now."""
    return JobLog(store).read()


def covered_rows(view: LogView, parts: Mapping[str, int]) -> set[int]:
    """Return how many rows each manifest covers; 0 for none is always in it.

    Parameters
    ----------
    view : LogView
        Of a job that reads the reference source.
    parts : mapping of str to int
        Rows of each of its splits, by id.
    """
    return {0, *(_covered(manifest, parts) for manifest in view.manifests())}


def _covered(manifest: Manifest, parts: Mapping[str, int]) -> int:
    sources = [snapshot.inline for snapshot in manifest.operators if snapshot.operator == SOURCE]
    finished = {split for source in sources for split in source["finished"]}
    # A split that was restored and not taken by its barrier is where it was; one that was taken says so itself.
    entries = [entry for kind in ("waiting", "open") for source in sources for entry in source.get(kind, ())]
    positions = {entry["id"]: entry["position"] or 0 for entry in entries if entry["id"] not in finished}
    return sum(parts[split] for split in finished) + sum(positions.values())
