"""A Delta table by its address: opened, made, looked at; and the store that lies in it for data files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_checkpoint import FilesystemStore, ObjectStore
from krishiv_connectors._errors import BadOutputPath
from krishiv_connectors._extras import need
from krishiv_connectors.delta._errors import DeltaMissing, DeltaUnavailable, DeltaUnfit, delta_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors._storage import S3

__all__ = ["CLIENT_LIBRARY", "STAGING", "TableAddress", "arrow_schema", "check_features"]

CLIENT_LIBRARY = "deltalake"
STAGING = "_staging"
"""Where data files lie in a table, before and after their commit: vacuum passes over what begins with ``_``."""

_SECONDS = {"timeout": "30s", "connect_timeout": "5s", "max_retries": "4", "retry_timeout": "20s"}
_HONOURED = frozenset(
    (
        "appendOnly",
        "changeDataFeed",  # appends need no change files
        "checkConstraints",
        "columnMapping",
        "deletionVectors",
        "domainMetadata",
        "generatedColumns",
        "invariants",
        "timestampNtz",
        "v2Checkpoint",
        "vacuumProtocol",
    )
)
"""Writer features that files added here cannot break, unless the table makes use of them: that is looked at."""


class TableAddress:
    """Where a table is, and how its storage is opened. Prints without secrets.

    Parameters
    ----------
    uri : str or path
        A folder, ``file://``, ``s3://bucket/prefix``.
    storage : S3 or None
        None: what the environment says.
    """

    def __init__(self, uri: str | os.PathLike[str], storage: S3 | None) -> None:
        text = os.fspath(uri).rstrip("/")
        if text.startswith("file://"):
            text = text.removeprefix("file://")
        self.local: Path | None = None if "://" in text else Path(text).resolve()
        self.uri = text if self.local is None else str(self.local)
        self._storage = storage
        if self.local is not None and self.local.exists() and not self.local.is_dir():
            raise BadOutputPath(f"{self.uri} is no folder", hint="name the folder of a Delta table", path=self.uri)

    def __repr__(self) -> str:
        return repr(self.uri)

    def options(self) -> dict[str, str]:
        """Return delta-rs's storage options, with secrets."""
        if self.local is not None:
            return {}
        # Two writers of one version of the log: the second has to be refused by the storage.
        return {**_SECONDS, "conditional_put": "etag", **self.storage_options()}

    def storage_options(self) -> dict[str, str]:
        """Return obstore's settings, with secrets."""
        return {} if self._storage is None else self._storage.options()

    def open(self, version: int | str | None = None) -> Any:
        """Return the table as it is now, or as it was.

        Raises
        ------
        DeltaMissing, DeltaRefused, DeltaUnavailable, DeltaFailed
        """
        library = _library()
        with delta_errors(self.uri):
            return library.DeltaTable(self.uri, version=version, storage_options=self.options())

    def find(self) -> Any | None:
        """Return the table, or None if there is none."""
        try:
            return self.open()
        except DeltaMissing:
            return None

    def make(self, schema: pa.Schema, partition_by: Sequence[str], configuration: Mapping[str, str]) -> Any:
        """Return the table, made with these columns if it is missing."""
        table = self.find()
        if table is not None:
            return table
        with suppress(DeltaUnavailable):  # another one was faster, or the storage is away: opening it tells
            self._create(schema, partition_by, configuration)
        return self.open()

    def _create(self, schema: pa.Schema, partition_by: Sequence[str], configuration: Mapping[str, str]) -> None:
        library = _library()
        with delta_errors(self.uri):
            library.DeltaTable.create(
                self.uri,
                library.Schema.from_arrow(schema),
                mode="ignore",
                partition_by=list(partition_by),
                configuration=dict(configuration),
                storage_options=self.options(),
            )

    def files(self) -> CheckpointStore:
        """Return the store of data files and notes in the table."""
        if self.local is not None:
            return FilesystemStore(self.local / STAGING)
        return ObjectStore.at(f"{self.uri}/{STAGING}", self.storage_options())

    def check_storage(self, store: CheckpointStore) -> None:
        """Raise `DeltaUnfit` if the storage would let two writers write the same version of the log."""
        if not store.capabilities().conditional_create:
            raise DeltaUnfit(
                f"the storage of {self.uri} writes over what is there: two writers would lose each other's versions",
                hint="use a server that honours If-None-Match when an object is put",
                uri=self.uri,
                feature="conditional put",
            )

    def size_of(self, path: str) -> int | None:
        """Return the bytes of a file of the table; None if it is not there."""
        if self.local is not None:
            with suppress(FileNotFoundError):
                return (self.local / path).stat().st_size
            return None
        with delta_errors(self.uri):
            (found,) = self.remote().get_file_info([path])
        size: int | None = found.size
        return size

    def remote(self) -> Any:
        """Return the table's folder in a bucket, as pyarrow reads files."""
        from pyarrow.fs import PyFileSystem

        _library()
        from deltalake.fs import DeltaStorageHandler

        return PyFileSystem(DeltaStorageHandler(self.uri, options=self.options()))


def _library() -> Any:
    return need(CLIENT_LIBRARY, "delta", what="a Delta table")


def arrow_schema(table: Any) -> pa.Schema:
    """Return the columns of a table, partition columns included."""
    return pa.schema(table.schema().to_arrow())


def check_features(uri: str, table: Any, *, rewriting: bool = False) -> None:
    """Raise `DeltaUnfit` if adding files could break what the table promises.

    Parameters
    ----------
    rewriting : bool
        Rows are changed, too.
    """
    settings = dict(table.metadata().configuration)
    fields = table.schema().fields
    if settings.get("delta.columnMapping.mode", "none") != "none":
        raise _unfit(uri, "column mapping", "files hold columns under other names than the table")
    if rewriting and settings.get("delta.appendOnly", "false") == "true":
        raise _unfit(uri, "delta.appendOnly", "rows that are there may not be changed")
    for name in settings:
        if name.startswith("delta.constraints."):
            raise _unfit(uri, name, "a constraint would not be checked")
    for field in fields:
        if "delta.invariants" in field.metadata:
            raise _unfit(uri, f"an invariant of {field.name!r}", "it would not be checked")
        if "delta.generationExpression" in field.metadata:
            raise _unfit(uri, f"generated column {field.name!r}", "it would not be computed")
    strange = sorted(set(table.protocol().writer_features or ()) - _HONOURED)
    if strange:
        raise _unfit(uri, strange[0], "this build does not know what it asks of a writer")


def _unfit(uri: str, feature: str, why: str) -> DeltaUnfit:
    return DeltaUnfit(f"{uri} has {feature}: {why}", hint="write to a table without it", uri=uri, feature=feature)
