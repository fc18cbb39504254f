"""The settings of a session: one table that says what each is, its default, and how it is written."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from krishiv_guarantees import Profile
from krishiv_stream._modes import ExecutionPlacement, RuntimeMode
from krishiv_stream._setting_kinds import (
    FLAG,
    LOCATION,
    PATH,
    SECRET,
    SIZE,
    STORAGE,
    TEXT,
    Kind,
    choice,
    duration,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_connectors import S3, Secret

__all__ = ["BUCKET_SCHEMES", "SETTINGS", "Setting", "Settings", "Shuffle", "StateBackend"]


BUCKET_SCHEMES: Final = ("s3", "gs", "az")
"""What the URLs of buckets begin with. A certificate is for the servers that it was earned with."""


class StateBackend(StrEnum):
    """Where state beyond what a checkpoint holds lives while a job runs. Snapshots are the same from either."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


class Shuffle(StrEnum):
    """Where rows wait between workers on different hosts. Channels inside one process are not shuffle."""

    MEMORY = "memory"
    LOCAL_DISK = "local-disk"
    TIERED = "tiered"


@dataclass(frozen=True)
class Setting:
    """What is known of one setting besides its value."""

    name: str
    kind: Kind
    help: str
    default: Any

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"KRISHIV_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The command-line flag that sets it."""
        return "--" + self.name.replace("_", "-")


def _is(kind: Kind, help: str) -> dict[str, Any]:
    return {"kind": kind, "help": help}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of a session, checked one by one; `check_settings` checks them together.

    Times are in seconds, sizes in bytes. `SETTINGS` holds the words for each.
    """

    mode: RuntimeMode = field(
        default=RuntimeMode.EMBEDDED, metadata=_is(choice(RuntimeMode), "how the session executes")
    )
    profile: Profile = field(
        default=Profile.DEV_LOCAL, metadata=_is(choice(Profile), "which failures state and checkpoints survive")
    )
    placement: ExecutionPlacement | None = field(
        default=None,
        metadata=_is(choice(ExecutionPlacement).or_none(), "where the data plane runs; none: the mode's own"),
    )
    coordinator: str | None = field(default=None, metadata=_is(TEXT.or_none(), "Flight URL of the coordinator"))
    control_token: Secret | None = field(
        default=None, metadata=_is(SECRET.or_none(), "what lets a client in at the control interface")
    )
    data_dir: Path | None = field(
        default=None, metadata=_is(PATH.or_none(), "folder for checkpoints, staged output and local state")
    )
    checkpoints: str | None = field(
        default=None, metadata=_is(LOCATION.or_none(), "checkpoint store; none: in data_dir, or in memory without one")
    )
    storage: S3 | None = field(
        default=None,
        metadata=_is(STORAGE.or_none(), "the S3 server that checkpoints at s3:// are on; none: the environment's"),
    )
    metadata: str | None = field(
        default=None, metadata=_is(LOCATION.or_none(), "metadata store; none: beside the checkpoints")
    )
    state: StateBackend | None = field(
        default=None,
        metadata=_is(
            choice(StateBackend).or_none(), "where state is kept beyond memory_budget; none: the profile's own"
        ),
    )
    shuffle: Shuffle | None = field(
        default=None, metadata=_is(choice(Shuffle).or_none(), "where rows wait between hosts; none: the profile's own")
    )
    fencing: bool = field(default=True, metadata=_is(FLAG, "a writer that was replaced can change nothing more"))
    parallelism: int = field(default=1, metadata=_is(whole(1), "subtasks per operator"))
    checkpoint_interval: float | None = field(
        default=10.0,
        metadata=_is(
            duration(above_zero=True).or_none(),
            "from one checkpoint to the next; none: only on demand and at the end",
        ),
    )
    checkpoint_timeout: float = field(
        default=600.0, metadata=_is(duration(above_zero=True), "how long the acks of one epoch may take")
    )
    min_pause: float = field(
        default=0.0, metadata=_is(duration(above_zero=False), "least time between two checkpoints")
    )
    tolerable_failed_checkpoints: int = field(default=3, metadata=_is(whole(0), "checkpoints that may fail in a row"))
    max_pending_epochs: int = field(
        default=2, metadata=_is(whole(1), "epochs complete and not yet committed by every sink")
    )
    keep_checkpoints: int = field(default=3, metadata=_is(whole(1), "checkpoints that stay restorable"))
    restart_attempts: int = field(default=3, metadata=_is(whole(0), "restarts after a failure before the job fails"))
    restart_backoff: float = field(
        default=1.0, metadata=_is(duration(above_zero=False), "wait before the first restart; it grows with each")
    )
    max_key_groups: int = field(default=128, metadata=_is(whole(1), "key groups; fixed at a job's first start"))
    memory_budget: int = field(
        default=512 << 20, metadata=_is(SIZE, "bytes of state in memory before it moves to disk")
    )
    batch_rows: int = field(default=65_536, metadata=_is(whole(1), "rows per batch that sources aim at"))
    linger: float = field(
        default=0.005, metadata=_is(duration(above_zero=False), "longest wait of a source for a fuller batch")
    )
    allow_uncertified: bool = field(
        default=False, metadata=_is(FLAG, "let uncertified combinations count as exactly-once; shown everywhere")
    )
    strict: bool = field(
        default=False, metadata=_is(FLAG, "refuse where a certificate's tested versions would only warn")
    )

    @property
    def state_backend(self) -> StateBackend:
        """The state backend in use: `state`, or the profile's own."""
        if self.state is not None:
            return self.state
        return StateBackend.MEMORY if self.profile is Profile.DEV_LOCAL else StateBackend.ROCKSDB

    @property
    def checkpoint_bucket(self) -> str | None:
        """The URL that checkpoints in a bucket are below; None: they are not in one."""
        if self.checkpoints is None or self.checkpoints.partition("://")[0].lower() not in BUCKET_SCHEMES:
            return None
        return self.checkpoints.rstrip("/")

    @property
    def jobs_directory(self) -> Path | None:
        """The folder that holds one folder of checkpoints per job; None: they are in memory, or in a bucket."""
        if self.checkpoints is None:
            return None if self.data_dir is None else self.data_dir / "jobs"
        scheme, separator, place = self.checkpoints.partition("://")
        if separator and scheme != "file":
            return None
        return Path(place if separator else scheme) / "jobs"


def _describe(column: Field[Any]) -> Setting:
    return Setting(column.name, column.metadata["kind"], column.metadata["help"], column.default)


SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType(
    {column.name: _describe(column) for column in fields(Settings)}
)
"""Every setting by name, in the order in which they are shown."""
