"""Errors of the Iceberg connectors (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── IcebergMissing      there is no catalog, namespace, table or snapshot of that name
    ├── IcebergRefused      the catalog or the storage does not let these credentials in
    └── IcebergUnfit        a table has a feature that cannot be honoured, or settings that do not fit
    RetriableError
    └── IcebergUnavailable  the catalog or the storage does not answer, or another writer was faster
    FatalError
    ├── IcebergFailed       the library, the catalog or the storage refused for good
    ├── TableRolledBack     a table was taken back to an older snapshot, and what is in it cannot be told
    ├── SnapshotTakesRows   a snapshot to be read takes rows away
    └── SnapshotGone        a snapshot to be read is no longer in the table's history
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from krishiv_guarantees import ConfigurationError, FatalError, KrishivError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = [
    "IcebergFailed",
    "IcebergMissing",
    "IcebergRefused",
    "IcebergUnavailable",
    "IcebergUnfit",
    "SnapshotGone",
    "SnapshotTakesRows",
    "TableRolledBack",
    "iceberg_errors",
]


class IcebergMissing(ConfigurationError):
    """There is no Iceberg catalog, namespace, table or snapshot of that name. Field: `table`."""

    code = "KS-ICEBERG-MISSING"


class IcebergRefused(ConfigurationError):
    """The catalog or the storage of an Iceberg table does not let these credentials in. Field: `table`."""

    code = "KS-ICEBERG-REFUSED"


class IcebergUnfit(ConfigurationError):
    """A feature of an Iceberg table cannot be honoured, or its settings do not fit. Fields: `table`, `feature`."""

    code = "KS-ICEBERG-UNFIT"


class IcebergUnavailable(RetriableError):
    """The catalog or the storage of an Iceberg table does not answer, or another writer was faster. Field: `table`."""

    code = "KS-ICEBERG-UNAVAILABLE"


class IcebergFailed(FatalError):
    """An Iceberg table cannot be read or written. Field: `table`."""

    code = "KS-ICEBERG"


class TableRolledBack(FatalError):
    """An Iceberg table was taken back to an older snapshot; which epochs it holds cannot be told. Field: `table`."""

    code = "KS-ICEBERG-ROLLED-BACK"


class SnapshotTakesRows(FatalError):
    """A snapshot of an Iceberg table that is to be read takes rows away. Fields: `table`, `snapshot`."""

    code = "KS-ICEBERG-REMOVED"


class SnapshotGone(FatalError):
    """A snapshot of an Iceberg table that is to be read is no longer in its history. Fields: `table`, `snapshot`."""

    code = "KS-ICEBERG-GONE"


# By name: the libraries that define them come with the extra, and some only with one kind of catalog.
_MISSING = {"NoSuchTableError", "NoSuchIcebergTableError", "NoSuchNamespaceError", "NoSuchIdentifierError"}
_REFUSED = {"UnauthorizedError", "ForbiddenError", "OAuthError", "AuthorizationExpiredError", "PermissionError"}
_PASSING = {
    "CommitFailedException",
    "CommitStateUnknownException",
    "ConnectionError",
    "DBAPIError",
    "OperationalError",
    "ServerError",
    "ServiceUnavailableError",
    "Timeout",
    "TimeoutError",
    "TooManyRequestsError",
    "WaitingForLockException",
}
_LONGEST = 300


@contextmanager
def iceberg_errors(table: str, hide: Callable[[str], str] = str) -> Generator[None]:
    """Turn what pyiceberg, its catalogs and its storage raise about `table` into errors that say what to do.

    Parameters
    ----------
    hide : callable
        Takes secrets out of a text.
    """
    try:
        yield
    except KrishivError:
        raise
    except Exception as error:
        text = f"{table}: {hide(_said(error))}"
        told = _kind(error)(text, hint=_hint(error), table=table)
        if hide(str(error)) != str(error):
            raise told from None  # the library's own words hold a secret
        raise told from error


def _kind(error: Exception) -> type[KrishivError]:
    names = {base.__name__ for base in type(error).__mro__}
    if names & _MISSING:
        return IcebergMissing
    if names & _REFUSED:
        return IcebergRefused
    if names & _PASSING or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
        return IcebergUnavailable
    return IcebergFailed


def _hint(error: Exception) -> str:
    kind = _kind(error)
    if kind is IcebergMissing:
        return "make the table first, or see that catalog and table are named right"
    if kind is IcebergRefused:
        return "let these credentials read and write the table, in the catalog and in its storage"
    if kind is IcebergUnavailable:
        return "see that the catalog and the storage answer"
    return "mend the table or its storage, then run the job again: it resumes from its last checkpoint"


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:_LONGEST]}" if lines else type(error).__name__
