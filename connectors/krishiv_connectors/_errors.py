"""Errors of the connectors (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── BadOutputPath       an output path cannot be written to as it is
    ├── StagingElsewhere    staged files and output are on different file systems
    └── TableMismatch       an existing table has other columns than the rows
    PlanError
    └── UnsupportedColumn   a sink cannot store a column of this type
    RetriableError
    └── TargetBusy          another writer holds the target just now
    FatalError
    ├── OutputFull          no space left for the output
    ├── OutputFailed        the operating system refused to write the output
    └── MemoryChanged       a position in an in-memory source belongs to other rows
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, PlanError, RetriableError

__all__ = [
    "BadOutputPath",
    "MemoryChanged",
    "OutputFailed",
    "OutputFull",
    "StagingElsewhere",
    "TableMismatch",
    "TargetBusy",
    "UnsupportedColumn",
]


class BadOutputPath(ConfigurationError):
    """An output path cannot be written to as it is."""

    code = "KS-OUTPUT-PATH"


class StagingElsewhere(ConfigurationError):
    """Staged files and output are on different file systems, so that no rename can publish an epoch."""

    code = "KS-STAGING"


class TableMismatch(ConfigurationError):
    """An existing table cannot take the rows: a column is missing, of another type, or needs a value they lack."""

    code = "KS-TABLE"


class UnsupportedColumn(PlanError):
    """A sink cannot store a column of this type."""

    code = "KS-SINK-TYPE"


class TargetBusy(RetriableError):
    """Another writer holds the target just now."""

    code = "KS-TARGET-BUSY"


class OutputFull(FatalError):
    """No space is left for the output."""

    code = "KS-OUTPUT-FULL"


class OutputFailed(FatalError):
    """The operating system refused to write the output."""

    code = "KS-OUTPUT-IO"


class MemoryChanged(FatalError):
    """A stored position in an in-memory source belongs to other rows than those it holds now."""

    code = "KS-MEMORY-CHANGED"
