"""Buckets: how they are opened, and what their errors mean."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint._errors import KeyMissing, StoreLibraryMissing, StoreMisnamed, StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["bucket_errors", "obstore", "open_bucket"]

_RETRY = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=20),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=2), "base": 2},
}
_CLIENT = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30)}
_OPEN = "client_options"


def obstore(module: str = "obstore") -> Any:
    """Return the library.

    Raises
    ------
    StoreLibraryMissing
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise StoreLibraryMissing(
            "checkpoints in a bucket need obstore, which is not installed", hint="pip install 'krishiv-stream[s3]'"
        ) from error


def open_bucket(url: str, options: Mapping[str, Any]) -> Any:
    """Return obstore's store at `url`; nothing is asked of a server yet.

    Parameters
    ----------
    options : mapping
        obstore's settings; ``client_options`` and ``retry_config`` among them are added to what is set here.

    Raises
    ------
    StoreMisnamed
        If the address or a setting is not understood.
    """
    library = obstore("obstore.store")
    own = dict(options)
    client = {**_CLIENT, **own.pop("client_options", {})}
    retry = {**_RETRY, **own.pop("retry_config", {})}
    # Plain HTTP is the client's setting; under this name it is other libraries', too.
    if str(own.pop("aws_allow_http", "")).lower() == "true":
        client["allow_http"] = True
    try:
        return library.from_url(url, config=own, client_options=client, retry_config=retry)
    except Exception as error:  # one class for each kind of trouble, and ValueError
        raise StoreMisnamed(
            f"no bucket at {url}: {error}",
            hint="write s3://bucket/prefix, gs://... or az://..., and settings by obstore's names",
        ) from error


@contextmanager
def bucket_errors(place: str, key: str) -> Generator[None]:
    """Raise the library's errors as ours."""
    errors = obstore("obstore.exceptions")
    try:
        yield
    except FileNotFoundError as error:
        raise KeyMissing(f"{place}/{key} does not exist", key=key) from error
    except (PermissionError, errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
        raise StoreRefused(
            f"{place}: {_first_line(error)}",
            hint="let these credentials list, read, write and delete below the prefix",
            key=key,
        ) from error
    except (errors.BaseError, OSError) as error:
        raise StoreUnavailable(
            f"{place}: {_first_line(error)}", hint="see that the endpoint can be reached from here", key=key
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
