"""Errors of the connectors (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── SecretMissing       the variable or file that holds a secret is not there
    ├── BadOutputPath       an output path cannot be written to as it is
    ├── StagingElsewhere    staged files and output are on different file systems
    ├── TableMismatch       an existing table has other columns than the rows
    ├── MissingDirectory    the directory that input files should be in does not exist
    ├── NoMatchingFiles     a pattern matches no input file
    ├── UnsupportedLocation an input path is a URL
    ├── UnsupportedField    a format cannot hold a column of this type
    ├── UnknownFormat       no message format has this name
    ├── FormatUnfit         a message format lacks a schema, or has one that does not fit
    ├── NothingToInfer      there is no message that a schema could be inferred from
    ├── MissingExtra        a library that belongs to an extra is not installed
    ├── RegistryRefused     a schema registry does not let these credentials in
    └── RegistryRejected    a schema registry lacks a subject, or does not take a schema
    PlanError
    └── UnsupportedColumn   a sink cannot store a column of this type
    RetriableError
    ├── TargetBusy          another writer holds the target just now
    ├── OutputHeld          an epoch's output could not be staged, and will be with the next epoch's
    └── RegistryUnreachable a schema registry does not answer
    SkippableError
    ├── BadCsvRow           a CSV row does not parse
    └── BadJsonLine         an NDJSON line does not parse
    FatalError
    ├── MarkMoved           a staged sink's mark is not the one that the epoch was to replace
    ├── OutputFull          no space left for the output
    ├── OutputFailed        the operating system refused to write the output
    ├── MemoryChanged       a position in an in-memory source belongs to other rows
    ├── FileVanished        an input file is gone before it was read to its end
    ├── FileChanged         an input file is not what it was when a part of it was read
    ├── UnreadableFile      an input file is truncated, corrupt or not readable
    ├── SchemaChanged       an input file has other columns than the source
    ├── UnencodableRow      a row cannot be written in the message format
    ├── GeneratorChanged    a position belongs to a generator of other rows
    └── SimulatedCrash      a test source came to a crash in its data
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, PlanError, RetriableError, SkippableError

__all__ = [
    "BadCsvRow",
    "BadJsonLine",
    "BadOutputPath",
    "FileChanged",
    "FileVanished",
    "FormatUnfit",
    "GeneratorChanged",
    "MarkMoved",
    "MemoryChanged",
    "MissingDirectory",
    "MissingExtra",
    "NoMatchingFiles",
    "NothingToInfer",
    "OutputFailed",
    "OutputFull",
    "OutputHeld",
    "RegistryRefused",
    "RegistryRejected",
    "RegistryUnreachable",
    "SchemaChanged",
    "SecretMissing",
    "SimulatedCrash",
    "StagingElsewhere",
    "TableMismatch",
    "TargetBusy",
    "UnencodableRow",
    "UnknownFormat",
    "UnreadableFile",
    "UnsupportedColumn",
    "UnsupportedField",
    "UnsupportedLocation",
]


class SecretMissing(ConfigurationError):
    """The environment variable or file that a secret should come from cannot be read."""

    code = "KS-SECRET"


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


class OutputHeld(RetriableError):
    """What was written for an epoch could not be staged. The sink keeps it, and stages it with the next epoch.

    The checkpoint fails, and nothing else: the job goes on.
    """

    code = "KS-OUTPUT-HELD"


class OutputFull(FatalError):
    """No space is left for the output."""

    code = "KS-OUTPUT-FULL"


class OutputFailed(FatalError):
    """The operating system refused to write the output."""

    code = "KS-OUTPUT-IO"


class MemoryChanged(FatalError):
    """A stored position in an in-memory source belongs to other rows than those it holds now."""

    code = "KS-MEMORY-CHANGED"


class MissingDirectory(ConfigurationError):
    """The directory that input files should be in does not exist. Fields: `directory`, `pattern`."""

    code = "KS-INPUT-DIRECTORY"


class NoMatchingFiles(ConfigurationError):
    """A pattern matches no input file. Field: `pattern`."""

    code = "KS-INPUT-NONE"


class UnsupportedLocation(ConfigurationError):
    """An input path is a URL, and this source reads local files. Field: `location`."""

    code = "KS-INPUT-LOCATION"


class UnsupportedField(ConfigurationError):
    """A text format cannot hold a column of this type. Fields: `column`, `type`."""

    code = "KS-INPUT-TYPE"


class UnknownFormat(ConfigurationError):
    """No message format has this name. Fields: `name`, `valid`."""

    code = "KS-FORMAT-UNKNOWN"


class FormatUnfit(ConfigurationError):
    """A message format lacks a schema that it needs, or was given one that does not fit. Field: `format`."""

    code = "KS-FORMAT-UNFIT"


class NothingToInfer(ConfigurationError):
    """There is no message that a schema could be inferred from."""

    code = "KS-FORMAT-INFER"


class MissingExtra(ConfigurationError):
    """A library that belongs to an extra of krishiv-stream is not installed. Fields: `extra`, `module`."""

    code = "KS-EXTRA"


class RegistryRefused(ConfigurationError):
    """A schema registry does not let these credentials in. Field: `status`."""

    code = "KS-REGISTRY-ACCESS"


class RegistryRejected(ConfigurationError):
    """A schema registry lacks a subject or a version, or does not take a schema. Fields: `subject`, `error_code`."""

    code = "KS-REGISTRY-SCHEMA"


class RegistryUnreachable(RetriableError):
    """A schema registry does not answer, or answers that it cannot just now."""

    code = "KS-REGISTRY-DOWN"


class UnencodableRow(FatalError):
    """A row cannot be written in the message format. Field: `row`, its place in the batch, where it is known."""

    code = "KS-ENCODE-ROW"


class BadCsvRow(SkippableError):
    """A CSV row does not parse. Fields: `place`, `path`, `row`, `offset`, `raw` (bytes, cut if long)."""

    code = "KS-CSV-ROW"


class BadJsonLine(SkippableError):
    """An NDJSON line does not parse. Fields: `place`, `path`, `row`, `offset`, `raw` (bytes, cut if long)."""

    code = "KS-JSON-LINE"


class FileVanished(FatalError):
    """An input file is gone before it was read to its end. Field: `path`."""

    code = "KS-FILE-VANISHED"


class FileChanged(FatalError):
    """An input file is not what it was when a part of it was read. Field: `path`."""

    code = "KS-FILE-CHANGED"


class UnreadableFile(FatalError):
    """An input file is truncated, corrupt or not readable. Field: `path`."""

    code = "KS-FILE-UNREADABLE"


class SchemaChanged(FatalError):
    """An input file has other columns than the source. Fields: `path`, `column`."""

    code = "KS-FILE-SCHEMA"


class GeneratorChanged(FatalError):
    """A stored position belongs to a generator of other rows. Fields: `stored`, `now`."""

    code = "KS-GENERATOR-CHANGED"


class SimulatedCrash(FatalError):
    """A test source came to a crash in its data. Fields: `split`, `item`."""

    code = "KS-TEST-CRASH"


class MarkMoved(FatalError):
    """`StagedSink.apply` found another epoch in the marker than it was told to replace (P14)."""

    code = "KS-MARK-MOVED"
