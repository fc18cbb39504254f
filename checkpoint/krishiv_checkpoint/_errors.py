"""Errors of the checkpoint floor (see `krishiv_guarantees` for the tree they hang in).

::

    FatalError
    ├── KeyExists               a conditional create found its key taken
    ├── KeyMissing              a blob that should be there is not
    ├── CorruptManifest         a published log entry fails its own digest or cannot be read
    ├── CorruptState            a state file differs from the digest in its manifest
    ├── StoreFull               no space left in the checkpoint store
    ├── Fenced                  a newer attempt took the job over
    ├── CommitFailed            a sink reported that an epoch can never be applied
    ├── SinkAhead               a sink holds epochs newer than the checkpoint to restore
    ├── SinkBehind              a sink lost epochs that the log records as committed
    ├── CheckpointFailed        the checkpoint that was asked for did not complete; the job goes on
    ├── TooManyFailedCheckpoints
    ├── CommittableLost         what a sink prepared did not reach the coordinator
    ├── JobOver                 the job has ended and takes no more checkpoints
    └── InvalidTransition       the coordinator was told something impossible: a defect
    ConfigurationError
    ├── FutureFormat            written by a newer version
    ├── OtherTopology           the checkpoint belongs to another pipeline
    ├── JobLocked               another process runs this job
    ├── StoreUnwritable         the checkpoint store may not be written to
    ├── StoreRefused            the bucket of the checkpoint store is not open to these credentials
    ├── StoreMisnamed           there can be no checkpoint store at that address
    ├── StoreLibraryMissing     the library for buckets is not installed
    ├── SavepointExists         the place of a savepoint is taken
    ├── SavepointMissing        there is no savepoint at that place
    ├── SavepointUnsettled      not every sink applied the epoch of the savepoint
    └── ForeignMarks            another lineage of this job wrote to the sink
    RetriableError
    └── StoreUnavailable        the checkpoint store does not answer
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

__all__ = [
    "CheckpointFailed",
    "CommitFailed",
    "CommittableLost",
    "CorruptManifest",
    "CorruptState",
    "Fenced",
    "ForeignMarks",
    "FutureFormat",
    "InvalidTransition",
    "JobLocked",
    "JobOver",
    "KeyExists",
    "KeyMissing",
    "OtherTopology",
    "SavepointExists",
    "SavepointMissing",
    "SavepointUnsettled",
    "SinkAhead",
    "SinkBehind",
    "StoreFull",
    "StoreLibraryMissing",
    "StoreMisnamed",
    "StoreRefused",
    "StoreUnavailable",
    "StoreUnwritable",
    "TooManyFailedCheckpoints",
]


class KeyExists(FatalError):
    """A conditional create found its key taken."""

    code = "KS-STORE-EXISTS"


class KeyMissing(FatalError):
    """A blob that should be in the store is not there."""

    code = "KS-STORE-MISSING"


class CorruptManifest(FatalError):
    """A published log entry fails its own digest or cannot be read. Never skipped (P12)."""

    code = "KS-MANIFEST-CORRUPT"


class CorruptState(FatalError):
    """A state file differs from the digest in its manifest. Never skipped (P12)."""

    code = "KS-STATE-CORRUPT"


class StoreFull(FatalError):
    """No space is left in the checkpoint store."""

    code = "KS-STORE-FULL"


class StoreUnavailable(RetriableError):
    """The checkpoint store does not answer, or not in time. Field: `key`. A checkpoint fails then, not the job (P4)."""

    code = "KS-STORE-UNAVAILABLE"


class StoreRefused(ConfigurationError):
    """The bucket of the checkpoint store is not open to these credentials. Field: `key`."""

    code = "KS-STORE-REFUSED"


class StoreMisnamed(ConfigurationError):
    """There can be no checkpoint store at that address, or with those settings."""

    code = "KS-STORE-ADDRESS"


class StoreLibraryMissing(ConfigurationError):
    """The library for buckets is not installed."""

    code = "KS-STORE-LIBRARY"


class Fenced(FatalError):
    """A newer attempt holds the job; this one must change nothing more (P9)."""

    code = "KS-FENCED"


class CommitFailed(FatalError):
    """A sink reported that an epoch can never be applied (P5)."""

    code = "KS-COMMIT-FAILED"


class SinkAhead(FatalError):
    """A sink holds epochs newer than the checkpoint to restore (P15)."""

    code = "KS-SINK-AHEAD"


class SinkBehind(FatalError):
    """A sink lost epochs that the log records as committed (P15)."""

    code = "KS-SINK-BEHIND"


class TooManyFailedCheckpoints(FatalError):
    """More checkpoints in a row failed than `tolerable_failed_checkpoints` allows."""

    code = "KS-CHECKPOINTS-FAILED"


class CheckpointFailed(FatalError):
    """The checkpoint that was asked for did not complete. Raised to who asked; the job itself goes on."""

    code = "KS-CHECKPOINT-FAILED"


class CommittableLost(FatalError):
    """A sink slot's chain of epochs has a gap: what it prepared did not reach the coordinator (P4)."""

    code = "KS-COMMITTABLE-LOST"


class JobOver(FatalError):
    """The job has ended: it takes no more checkpoints and savepoints."""

    code = "KS-JOB-OVER"


class InvalidTransition(FatalError):
    """The coordinator was told something impossible; `fields["story"]` holds the events before it."""

    code = "KS-COORDINATOR"


class FutureFormat(ConfigurationError):
    """The checkpoint was written by a newer version of krishiv-stream."""

    code = "KS-FORMAT-FUTURE"


class OtherTopology(ConfigurationError):
    """The checkpoint belongs to a pipeline with other operators (P3)."""

    code = "KS-TOPOLOGY"


class JobLocked(ConfigurationError):
    """Another process runs this job on the same data directory (P10)."""

    code = "KS-JOB-LOCKED"


class ForeignMarks(ConfigurationError):
    """The sink holds output of this job under a lineage that the checkpoint directory does not know (P15)."""

    code = "KS-FOREIGN-MARKS"


class StoreUnwritable(ConfigurationError):
    """The checkpoint store may not be written to."""

    code = "KS-STORE-UNWRITABLE"


class SavepointExists(ConfigurationError):
    """The place of a savepoint is taken: savepoints are never overwritten."""

    code = "KS-SAVEPOINT-EXISTS"


class SavepointMissing(ConfigurationError):
    """There is no savepoint at that place."""

    code = "KS-SAVEPOINT-MISSING"


class SavepointUnsettled(ConfigurationError):
    """Not every sink applied the epoch of the savepoint (P16)."""

    code = "KS-SAVEPOINT-UNSETTLED"
