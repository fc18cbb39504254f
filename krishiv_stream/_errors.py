"""Errors of the session, its settings and of pipelines (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── UnknownSetting         a setting, KRISHIV_* variable, mode or profile that does not exist
    ├── InvalidSetting         a setting whose value cannot be used
    ├── InvalidPlacement       a mode that cannot run at that placement
    ├── CoordinatorUnfit       a coordinator URL is missing, not wanted, or of the wrong kind
    ├── ModeMismatch           the coordinator runs in another mode than the one that was set
    ├── ProfileUnfit           the mode does not run under that durability profile
    ├── NotAvailable           valid, but not part of this build
    ├── PipelineNotFound       ``module:name`` leads to no pipeline
    ├── JobNotFound            nothing is stored of that job
    └── NotConfirmed           what cannot be undone was not confirmed
    PlanError
    └── PipelineMistake        a mistake in a pipeline; knows the user's line
        ├── UnknownColumn      no column of that name at this point of the stream
        ├── WrongType          an expression that does not fit the types of its columns
        ├── NotRowWise         a window, aggregate or unnest function where each row stands for itself
        ├── DuplicateColumn    two output columns of one name
        ├── DuplicateName      two sources, sinks or operators of one name
        ├── InvalidName        a name that cannot stand in file names and log keys
        ├── InvalidArgument    an argument of the wrong kind
        ├── NoEventTime        a window over a stream without an event-time column
        ├── InvalidEventTime   an event-time column that is no UTC timestamp
        ├── InvalidWindow      a window size, step or offset that makes no windows
        ├── SchemaMismatch     streams or sinks whose columns do not fit together
        ├── ChangelogInput     an aggregate over a stream of changes (``_op``)
        └── UnboundedCollect   `collect` on a stream that never ends
    FatalError
    └── ExpressionFailed       an expression failed on the data (division by zero, a bad cast)
"""

from __future__ import annotations

from typing import Any

from krishiv_guarantees import ConfigurationError, FatalError, PlanError
from krishiv_stream._location import user_location

__all__ = [
    "ChangelogInput",
    "CoordinatorUnfit",
    "DuplicateColumn",
    "DuplicateName",
    "ExpressionFailed",
    "InvalidArgument",
    "InvalidEventTime",
    "InvalidName",
    "InvalidPlacement",
    "InvalidSetting",
    "InvalidWindow",
    "JobNotFound",
    "ModeMismatch",
    "NoEventTime",
    "NotAvailable",
    "NotConfirmed",
    "NotRowWise",
    "PipelineMistake",
    "PipelineNotFound",
    "ProfileUnfit",
    "SchemaMismatch",
    "UnboundedCollect",
    "UnknownColumn",
    "UnknownSetting",
    "WrongType",
]


class UnknownSetting(ConfigurationError):
    """A setting, KRISHIV_* variable, mode or profile of that name does not exist. `fields`: name, where, valid."""

    code = "KS-SETTING-UNKNOWN"


class InvalidSetting(ConfigurationError):
    """A setting whose value cannot be used. `fields`: setting, value, where."""

    code = "KS-SETTING-INVALID"


class InvalidPlacement(ConfigurationError):
    """The mode cannot run at that placement. `fields`: mode, placement, valid."""

    code = "KS-PLACEMENT"


class CoordinatorUnfit(ConfigurationError):
    """A coordinator URL is missing, not wanted, or of the wrong kind. `fields`: mode, placement."""

    code = "KS-COORDINATOR-UNFIT"


class ModeMismatch(ConfigurationError):
    """The coordinator runs in another mode than the one that was set. `fields`: mode, actual, coordinator."""

    code = "KS-MODE-MISMATCH"


class ProfileUnfit(ConfigurationError):
    """The mode does not run under that durability profile. `fields`: mode, profile, valid."""

    code = "KS-MODE-PROFILE"


class NotAvailable(ConfigurationError):
    """What was asked for is valid, but not part of this build; nothing else is run in its place."""

    code = "KS-NOT-AVAILABLE"


class PipelineNotFound(ConfigurationError):
    """``module:name`` or ``path/to/file.py:name`` leads to no pipeline. `fields`: target."""

    code = "KS-PIPELINE-NOT-FOUND"


class JobNotFound(ConfigurationError):
    """Nothing is stored of a job of that name. `fields`: job."""

    code = "KS-JOB-NOT-FOUND"


class NotConfirmed(ConfigurationError):
    """What cannot be undone was not confirmed; nothing was done."""

    code = "KS-NOT-CONFIRMED"


class PipelineMistake(PlanError):
    """A mistake in a pipeline, raised where it was written.

    Parameters
    ----------
    location : str or None
        Where in the user's code, ``"pipeline.py:12"``; None: the line that is running now.
    """

    code = "KS-PLAN-MISTAKE"

    def __init__(self, message: str, *, hint: str = "", location: str | None = None, **fields: Any) -> None:
        super().__init__(message, hint=hint, **fields)
        self.location = user_location() if location is None else location

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n  at {self.location}" if self.location else text


class UnknownColumn(PipelineMistake):
    """There is no column of that name at this point of the stream. `fields`: column, columns."""

    code = "KS-PLAN-COLUMN"


class WrongType(PipelineMistake):
    """An expression does not fit the types of its columns. `fields`: expression."""

    code = "KS-PLAN-TYPE"


class NotRowWise(PipelineMistake):
    """A window, aggregate or unnest function stands where each row must stand for itself. `fields`: expression."""

    code = "KS-PLAN-ROWWISE"


class DuplicateColumn(PipelineMistake):
    """Two output columns have one name. `fields`: column."""

    code = "KS-PLAN-DUPLICATE-COLUMN"


class DuplicateName(PipelineMistake):
    """Two sources, sinks or operators of a pipeline have one name. `fields`: name."""

    code = "KS-PLAN-DUPLICATE-NAME"


class InvalidName(PipelineMistake):
    """A name that cannot stand in file names and log keys. `fields`: name."""

    code = "KS-PLAN-NAME"


class InvalidArgument(PipelineMistake):
    """An argument of the wrong kind."""

    code = "KS-PLAN-ARGUMENT"


class NoEventTime(PipelineMistake):
    """A window over a stream that has no event-time column."""

    code = "KS-PLAN-EVENT-TIME"


class InvalidEventTime(PipelineMistake):
    """The event-time column is no UTC timestamp. `fields`: column, type."""

    code = "KS-PLAN-EVENT-TIME-TYPE"


class InvalidWindow(PipelineMistake):
    """A window size, step or offset that makes no windows."""

    code = "KS-PLAN-WINDOW"


class SchemaMismatch(PipelineMistake):
    """Streams whose columns do not fit together."""

    code = "KS-PLAN-SCHEMA"


class ChangelogInput(PipelineMistake):
    """An aggregate over a stream of changes (it has a column ``_op``)."""

    code = "KS-PLAN-CHANGELOG"


class UnboundedCollect(PipelineMistake):
    """`collect` on a stream that never ends."""

    code = "KS-PLAN-UNBOUNDED"


class ExpressionFailed(FatalError):
    """An expression failed on the data: division by zero, a cast that does not fit. `fields`: location."""

    code = "KS-EXPRESSION"
