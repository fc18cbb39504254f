"""Errors of the PostgreSQL connector (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── BadDsn               the dsn is no connection string
    ├── PostgresRefused      a wrong password, no such user or database, or no permission
    ├── PostgresUnfit        a setting or a kind of table does not allow what was asked for
    ├── TableMissing         a table or a schema does not exist
    ├── QueryUnfit           a query does not run, or gives columns that cannot be read
    └── SplitUnfit           a query cannot be split or ordered by the columns named
    RetriableError
    └── PostgresUnavailable  the server does not answer, is shutting down, or has no connection to spare
    FatalError
    ├── UnstorableValue      PostgreSQL cannot hold a value, or the column cannot
    ├── KeyNotUnique         rows that a source reads in order have equal keys
    ├── QueryChanged         a query gives other columns than when the job began
    └── PostgresFailed       the server refused a statement for good
"""

from __future__ import annotations

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

__all__ = [
    "BadDsn",
    "KeyNotUnique",
    "PostgresFailed",
    "PostgresRefused",
    "PostgresUnavailable",
    "PostgresUnfit",
    "QueryChanged",
    "QueryUnfit",
    "SplitUnfit",
    "TableMissing",
    "UnstorableValue",
]


class BadDsn(ConfigurationError):
    """The dsn is no connection string. What is wrong with it is not repeated: a password may be a part of it."""

    code = "KS-POSTGRES-DSN"


class PostgresRefused(ConfigurationError):
    """The server refused a password, a user, a database or an operation. Fields: `place`, `sqlstate`."""

    code = "KS-POSTGRES-REFUSED"


class PostgresUnfit(ConfigurationError):
    """A setting of the server or the kind of a table does not allow what was asked for. Fields: `setting`, `found`."""

    code = "KS-POSTGRES-UNFIT"


class TableMissing(ConfigurationError):
    """A table or a schema does not exist. Field: `table`."""

    code = "KS-POSTGRES-TABLE"


class QueryUnfit(ConfigurationError):
    """A query does not run, or gives a column of a type that cannot be read. Fields: `column`, `type`, `sqlstate`."""

    code = "KS-POSTGRES-QUERY"


class SplitUnfit(ConfigurationError):
    """A query cannot be split or ordered by a column: it is missing, of another type, or has nulls. Field: `column`."""

    code = "KS-POSTGRES-SPLIT"


class PostgresUnavailable(RetriableError):
    """The server does not answer, is starting or shutting down, or has no connection to spare. Field: `place`."""

    code = "KS-POSTGRES-UNAVAILABLE"


class UnstorableValue(FatalError):
    """A value cannot be stored. Fields: `column`, `row` (its place in the batch, where it is known)."""

    code = "KS-POSTGRES-VALUE"


class KeyNotUnique(FatalError):
    """Rows that are read in the order of a key have equal keys: no position could tell them apart. Field: `key`."""

    code = "KS-POSTGRES-KEY"


class QueryChanged(FatalError):
    """A query gives other columns than when the job began. Field: `column`."""

    code = "KS-POSTGRES-SCHEMA"


class PostgresFailed(FatalError):
    """The server refused a statement for good. Fields: `place`, `sqlstate`."""

    code = "KS-POSTGRES-FAILED"
