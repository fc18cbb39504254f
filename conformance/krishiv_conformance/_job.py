"""The job that a child process runs, as both sides write it down."""

from __future__ import annotations

import msgspec

__all__ = ["JOB", "JobSpec", "SINK", "SOURCE", "STORE"]

SOURCE, SINK, STORE = "source", "sink", "store"
"""Folders of a case's work directory, one per harness; also the names of source and sink in the pipeline."""

JOB = "conformance"
"""Name of every job."""


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One start of a job.

    Parameters
    ----------
    source, sink, store : str
        ``"module:Class"`` of the harnesses.
    workdir : str
        The case's directory; it holds a folder per harness.
    checkpoint_interval : float
        Seconds.
    batch_rows : int
        Rows per batch that sources aim at: small, so that an epoch has several.
    max_rate : float or None
        Rows per second of the source.
    keep_checkpoints : int
        Manifests that stay; many, so that the suite can look at all of them.
    take_over : bool
        Start although another process holds the job.
    savepoint : str
        Name of a savepoint to take once the first epoch is complete; empty: none.
    """

    source: str
    sink: str
    store: str
    workdir: str
    job: str = JOB
    parallelism: int = 1
    checkpoint_interval: float = 0.05
    batch_rows: int = 16
    max_rate: float | None = None
    keep_checkpoints: int = 1000
    take_over: bool = False
    savepoint: str = ""
