"""Errors of a running job (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    └── NewInput                a source had ended, and has input now that it did not have then
    FatalError
    ├── WrongFunctionOutput     a user's function returned other columns than it declared
    ├── NullEventTime           a row has no event time
    ├── SplitVanished           a split that was known and unread is gone
    ├── DifferentSourceSchema   a source gives other columns than when the job was planned
    └── TaskFailed              an operator or a user's function raised
    RetriableError
    └── TaskInterrupted         a connection broke, or something took too long
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

__all__ = [
    "DifferentSourceSchema",
    "NewInput",
    "NullEventTime",
    "SplitVanished",
    "TaskFailed",
    "TaskInterrupted",
    "WrongFunctionOutput",
]


class NewInput(ConfigurationError):
    """A finished job, or one with a source that had ended, finds input there that it has not read (P7)."""

    code = "KS-NEW-INPUT"


class WrongFunctionOutput(FatalError):
    """A user's function returned other columns than it declared."""

    code = "KS-FUNCTION-OUTPUT"


class NullEventTime(FatalError):
    """A row has no event time."""

    code = "KS-EVENT-TIME-NULL"


class SplitVanished(FatalError):
    """A split that was known and not read to its end is gone."""

    code = "KS-SPLIT-VANISHED"


class DifferentSourceSchema(FatalError):
    """A source gives other columns than when the job was planned."""

    code = "KS-SOURCE-SCHEMA"


class TaskFailed(FatalError):
    """An operator or a user's function raised; the cause is chained."""

    code = "KS-TASK"


class TaskInterrupted(RetriableError):
    """A connection broke or something took too long in a task; the job restarts from its last checkpoint."""

    code = "KS-TASK-INTERRUPTED"
