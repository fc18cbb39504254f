"""When checkpoints are taken, how much trouble they tolerate, how many are kept."""

from __future__ import annotations

from dataclasses import dataclass

from krishiv_guarantees import ConfigurationError

__all__ = ["CheckpointSettings"]


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """Settings of a job's checkpoints. All times are seconds.

    Parameters
    ----------
    checkpoint_interval : float or None
        From one periodic trigger to the next; None takes checkpoints only on demand, at a stop and at the end.
    checkpoint_timeout : float
        How long the acks of one epoch may take before it counts as failed. Writing the manifest is not under it: a
        write cannot be taken back.
    min_pause : float
        Least time between the end of one checkpoint and the trigger of the next periodic one.
    tolerable_failed_checkpoints : int
        How many may fail in a row; one more stops the job.
    max_pending_epochs : int
        How many epochs may be complete and not yet applied by every sink; then checkpoints pause (P5).
    keep_checkpoints : int
        How many complete epochs stay restorable.
    """

    checkpoint_interval: float | None = 10.0
    checkpoint_timeout: float = 600.0
    min_pause: float = 0.0
    tolerable_failed_checkpoints: int = 3
    max_pending_epochs: int = 2
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        if self.checkpoint_interval is not None:
            _require(self.checkpoint_interval > 0, "checkpoint_interval", self.checkpoint_interval, "above 0, or None")
        _require(self.checkpoint_timeout > 0, "checkpoint_timeout", self.checkpoint_timeout, "above 0")
        _require(self.min_pause >= 0, "min_pause", self.min_pause, "0 or more")
        tolerable = self.tolerable_failed_checkpoints
        _require(tolerable >= 0, "tolerable_failed_checkpoints", tolerable, "0 or more")
        _require(self.max_pending_epochs >= 1, "max_pending_epochs", self.max_pending_epochs, "1 or more")
        _require(self.keep_checkpoints >= 1, "keep_checkpoints", self.keep_checkpoints, "1 or more")


def _require(holds: bool, setting: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigurationError(
            f"{setting} is {value!r}", hint=f"set {setting} to a number {allowed}", setting=setting
        )
