"""The keyword arguments of `Session`, for type checkers and editors; `Settings` says what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pathlib import Path

    from krishiv_checkpoint import OnSinkAhead
    from krishiv_connectors import S3, Secret
    from krishiv_stream._durations import Duration

__all__ = ["RunOptions", "SessionOptions"]


class SessionOptions(TypedDict, total=False):
    """Every setting of a session; what is left out comes from the environment, `krishiv.toml` or the default."""

    mode: str
    profile: str
    placement: str | None
    coordinator: str | None
    control_token: Secret | str | None
    data_dir: str | Path | None
    checkpoints: str | None
    storage: S3 | str | None
    metadata: str | None
    state: str | None
    shuffle: str | None
    fencing: bool
    parallelism: int
    checkpoint_interval: Duration | None
    checkpoint_timeout: Duration
    min_pause: Duration
    tolerable_failed_checkpoints: int
    max_pending_epochs: int
    keep_checkpoints: int
    restart_attempts: int
    restart_backoff: Duration
    max_key_groups: int
    memory_budget: int | str
    batch_rows: int
    linger: Duration
    allow_uncertified: bool
    strict: bool


class RunOptions(TypedDict, total=False):
    """How one job is started.

    Parameters
    ----------
    job : str
        Its name; default: the pipeline's.
    require : str or Guarantee
        Refuse to start unless the pipeline guarantees this.
    restore : str
        ``"latest"`` (default): go on from the newest checkpoint; ``"none"``: start afresh; else a savepoint.
    on_sink_ahead : str
        ``"refuse"`` (default), ``"duplicate"`` or ``"rewind"``: what to do if a sink holds epochs that the restored
        checkpoint does not know.
    take_over : bool
        Start although another process holds the job; that one is fenced.
    state_map : mapping of str to str
        Old operator name to new.
    drop_state : sequence of str
        Operators whose stored state is not wanted.
    """

    job: str | None
    require: str | None
    restore: str
    on_sink_ahead: OnSinkAhead
    take_over: bool
    state_map: dict[str, str]
    drop_state: list[str]
