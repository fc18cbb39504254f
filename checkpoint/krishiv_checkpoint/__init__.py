"""Checkpoints and two-phase commit: barriers, epochs, the coordinator, the job log, stores and recovery."""

from krishiv_checkpoint._attempt import Attempt, RetryPolicy
from krishiv_checkpoint._commit_path import COMMIT_PATH, commit_path_texts
from krishiv_checkpoint._driver import CheckpointDriver
from krishiv_checkpoint._entries import (
    Fingerprint,
    Finish,
    LogEntry,
    Manifest,
    OperatorIdentity,
    SavepointRecord,
    Takeover,
)
from krishiv_checkpoint._epoch import EpochPhase
from krishiv_checkpoint._errors import (
    CheckpointFailed,
    CommitFailed,
    CommittableLost,
    CorruptManifest,
    CorruptState,
    Fenced,
    ForeignMarks,
    FutureFormat,
    InvalidTransition,
    JobLocked,
    JobOver,
    KeyExists,
    KeyMissing,
    OtherTopology,
    SavepointExists,
    SavepointMissing,
    SavepointUnsettled,
    SinkAhead,
    SinkBehind,
    StoreFull,
    StoreUnwritable,
    TooManyFailedCheckpoints,
)
from krishiv_checkpoint._failpoints import FAILPOINTS, FailpointError, arm, disarm, failpoint
from krishiv_checkpoint._identity import MappedState, map_state, new_lineage, new_writer
from krishiv_checkpoint._inspection import CheckpointInfo, Problem, list_checkpoints, show_checkpoint, verify
from krishiv_checkpoint._job_lock import JobLock
from krishiv_checkpoint._job_log import JobLog
from krishiv_checkpoint._keys import check_name, is_name, parse_staged_key, staged_key, state_key
from krishiv_checkpoint._log_record import LogRecord
from krishiv_checkpoint._log_view import LogView
from krishiv_checkpoint._progress import CheckpointEvent, CheckpointStatus
from krishiv_checkpoint._records import (
    Ack,
    BarrierKind,
    CommitOutcome,
    CommitScope,
    CommitStatus,
    Committable,
    Mark,
    OperatorSnapshot,
    Prepared,
    StateFile,
)
from krishiv_checkpoint._recovery import OpenCommitters, begin_attempt
from krishiv_checkpoint._retention import retire
from krishiv_checkpoint._savepoints import (
    Savepoint,
    create_savepoint,
    delete_savepoint,
    list_savepoints,
    load_savepoint,
)
from krishiv_checkpoint._seams import BlobWriter, CheckpointStore, Committer, DataPlane
from krishiv_checkpoint._settings import CheckpointSettings
from krishiv_checkpoint._sink_survey import OnSinkAhead
from krishiv_checkpoint._state_files import read_state, write_state
from krishiv_checkpoint._stores import FilesystemStore, MemoryStore, PrefixedStore, read_verified

__all__ = [
    "Ack",
    "Attempt",
    "BarrierKind",
    "BlobWriter",
    "COMMIT_PATH",
    "CheckpointDriver",
    "CheckpointEvent",
    "CheckpointFailed",
    "CheckpointInfo",
    "CheckpointSettings",
    "CheckpointStatus",
    "CheckpointStore",
    "CommitFailed",
    "CommitOutcome",
    "CommitScope",
    "CommitStatus",
    "Committable",
    "CommittableLost",
    "Committer",
    "CorruptManifest",
    "CorruptState",
    "DataPlane",
    "EpochPhase",
    "FAILPOINTS",
    "FailpointError",
    "Fenced",
    "FilesystemStore",
    "Fingerprint",
    "Finish",
    "ForeignMarks",
    "FutureFormat",
    "InvalidTransition",
    "JobLock",
    "JobLocked",
    "JobLog",
    "JobOver",
    "KeyExists",
    "KeyMissing",
    "LogEntry",
    "LogRecord",
    "LogView",
    "Manifest",
    "MappedState",
    "Mark",
    "MemoryStore",
    "OnSinkAhead",
    "OpenCommitters",
    "OperatorIdentity",
    "OperatorSnapshot",
    "OtherTopology",
    "PrefixedStore",
    "Prepared",
    "Problem",
    "RetryPolicy",
    "Savepoint",
    "SavepointExists",
    "SavepointMissing",
    "SavepointRecord",
    "SavepointUnsettled",
    "SinkAhead",
    "SinkBehind",
    "StateFile",
    "StoreFull",
    "StoreUnwritable",
    "Takeover",
    "TooManyFailedCheckpoints",
    "arm",
    "begin_attempt",
    "check_name",
    "commit_path_texts",
    "create_savepoint",
    "delete_savepoint",
    "disarm",
    "failpoint",
    "is_name",
    "list_checkpoints",
    "list_savepoints",
    "load_savepoint",
    "map_state",
    "new_lineage",
    "new_writer",
    "parse_staged_key",
    "read_state",
    "read_verified",
    "retire",
    "show_checkpoint",
    "staged_key",
    "state_key",
    "verify",
    "write_state",
]
