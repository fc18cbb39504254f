"""Errors of the Delta connectors (see `krishiv_guarantees` for the tree they hang in).

::

    ConfigurationError
    ├── DeltaMissing       there is no table, or no such version of it
    ├── DeltaRefused       the storage does not let these credentials in
    └── DeltaUnfit         a table has a feature that cannot be honoured, or settings that do not fit
    RetriableError
    └── DeltaUnavailable   the table's storage does not answer, or another writer was faster
    FatalError
    ├── DeltaFailed        the library or the storage refused for good
    ├── RowsRemoved        a version to be read removes rows
    └── VersionGone        a version to be read is no longer in the log
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "DeltaFailed",
    "DeltaMissing",
    "DeltaRefused",
    "DeltaUnavailable",
    "DeltaUnfit",
    "RowsRemoved",
    "VersionGone",
    "delta_errors",
    "is_passing",
]


class DeltaMissing(ConfigurationError):
    """There is no Delta table at that place, or not with that version. Field: `uri`."""

    code = "KS-DELTA-MISSING"


class DeltaRefused(ConfigurationError):
    """The storage of a Delta table does not let these credentials in. Field: `uri`."""

    code = "KS-DELTA-REFUSED"


class DeltaUnfit(ConfigurationError):
    """A Delta table has a feature that cannot be honoured, or settings that do not fit. Fields: `uri`, `feature`."""

    code = "KS-DELTA-UNFIT"


class DeltaUnavailable(RetriableError):
    """The storage of a Delta table does not answer, or another writer was faster. Field: `uri`."""

    code = "KS-DELTA-UNAVAILABLE"


class DeltaFailed(FatalError):
    """A Delta table cannot be read or written. Field: `uri`."""

    code = "KS-DELTA"


class RowsRemoved(FatalError):
    """A version of a Delta table that is to be read takes rows away. Fields: `uri`, `version`."""

    code = "KS-DELTA-REMOVED"


class VersionGone(FatalError):
    """A version of a Delta table that is to be read is no longer in its log. Fields: `uri`, `version`."""

    code = "KS-DELTA-GONE"


_REFUSALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "403 Forbidden", "401 Unauthorized")
_NO_VERSION = "not the same as the specified end version"
_PASSING = re.compile(r"error sending request|HTTP error|[Cc]onnection|timed out|status code: 5\d\d|after \d+ retries")


def is_passing(error: Exception) -> bool:
    """Whether an error of delta-rs or of its storage may be over at the next try."""
    return _PASSING.search(str(error)) is not None


@contextmanager
def delta_errors(uri: str) -> Generator[None]:
    """Raise what delta-rs says about the table at `uri` as what it means."""
    from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

    try:
        yield
    except TableNotFoundError as error:
        raise DeltaMissing(
            f"there is no Delta table at {uri}: {_first_line(error)}",
            hint="mend the path, or let a DeltaSink make the table first",
            uri=uri,
        ) from error
    except CommitFailedError as error:
        raise DeltaUnavailable(f"{uri}: {_first_line(error)}", uri=uri) from error
    except (DeltaError, OSError) as error:
        text = str(error)
        if _NO_VERSION in text:
            raise DeltaMissing(
                f"{uri} has no such version: {_first_line(error)}", hint="name one that its log still has", uri=uri
            ) from error
        if any(word in text for word in _REFUSALS):
            raise DeltaRefused(
                f"{uri}: {_first_line(error)}",
                hint="let these credentials list, read, write and delete there",
                uri=uri,
            ) from error
        if is_passing(error):
            raise DeltaUnavailable(f"{uri}: {_first_line(error)}", uri=uri) from error
        raise DeltaFailed(
            f"{uri}: {_first_line(error)}",
            hint="mend the table or its storage, then run the job again: it resumes from its last checkpoint",
            uri=uri,
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
