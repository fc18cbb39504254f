"""The exit codes of the command line, and which error ends in which."""

from __future__ import annotations

from enum import IntEnum

from krishiv_checkpoint import CommitFailed, CommittableLost, Fenced, InvalidTransition, JobLocked, JobOver
from krishiv_guarantees import ConfigurationError, GuaranteeError, KrishivError, PlanError

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """What the status of the process says. Also in docs/cli.md."""

    OK = 0
    """Done; for `run`: the job finished."""
    FAILED = 1
    """The job failed, or a check found something."""
    USAGE = 2
    """The command line, a setting or the pipeline is wrong; nothing was started."""
    GUARANTEE = 3
    """The pipeline does not reach the guarantee that was required; nothing was started."""
    CHECKPOINT = 4
    """A checkpoint, savepoint or their store is damaged, missing or does not fit."""
    HELD = 5
    """Another process holds the job, or took it over."""
    DEFECT = 70
    """Something that should not happen: a defect in krishiv-stream, or in a library that it uses."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; a job keeps its final checkpoint and goes on when it is run again."""
    TERMINATED = 143
    """Stopped by SIGTERM, in the same way."""


# Errors of the checkpoint floor that speak of the job and its sinks, not of what is stored.
_OF_THE_JOB = (CommitFailed, CommittableLost, InvalidTransition, JobOver)


def exit_of(error: KrishivError) -> Exit:
    """Return the exit code that `error` ends in."""
    if isinstance(error, GuaranteeError):
        return Exit.GUARANTEE
    if isinstance(error, JobLocked | Fenced):
        return Exit.HELD
    if isinstance(error, _OF_THE_JOB):
        return Exit.FAILED
    if type(error).__module__.startswith("krishiv_checkpoint."):
        return Exit.CHECKPOINT
    if isinstance(error, ConfigurationError | PlanError):
        return Exit.USAGE
    return Exit.FAILED
