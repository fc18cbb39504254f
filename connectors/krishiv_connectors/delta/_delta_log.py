"""What the versions of a Delta table hold: a snapshot's files, and what each later version adds."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from krishiv_checkpoint import FilesystemStore, KeyMissing, ObjectStore
from krishiv_connectors.delta._errors import DeltaMissing, DeltaUnfit, RowsRemoved, VersionGone, delta_errors
from krishiv_connectors.delta._types import columns_of
from krishiv_connectors.files._durable import sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors.delta._table import TableAddress

__all__ = ["Added", "AddedFile", "TableLog", "check_readable"]

_NOTE = re.compile(rb'\s*\{\s*"(?:txn|commitInfo)"')


class AddedFile(msgspec.Struct, frozen=True):
    """A data file.

    Parameters
    ----------
    path : str
        Relative to the table.
    partition : dict of str to str or None
        As the log writes values.
    moment : int
        When it was written, as the log says, in milliseconds since 1970.
    """

    path: str
    partition: dict[str, str | None]
    moment: int = 0


class Added(NamedTuple):
    """What a version adds: its files in reading order, and the table's columns if it changes them."""

    files: list[AddedFile]
    columns: pa.Schema | None = None


class TableLog:
    """The log of one table, as a reader needs it.

    Parameters
    ----------
    address : TableAddress
    """

    def __init__(self, address: TableAddress) -> None:
        self._address = address
        self._store: CheckpointStore | None = None

    def snapshot(self, version: int) -> Added:
        """Return the files of `version`, the oldest first.

        Raises
        ------
        VersionGone
            If it has been cleaned up.
        DeltaUnfit, DeltaUnavailable
        """
        uri = self._address.uri
        try:
            table = self._address.open(version)
        except DeltaMissing as error:
            raise self._gone(version, self._newest()) from error
        with delta_errors(uri):
            check_readable(uri, table)
            rows = pa.table(table.get_add_actions()).select(_present(table)).to_pylist()
        return Added(_ordered(AddedFile(unquote(row["path"]), _texts(row), _milliseconds(row)) for row in rows))

    def added(self, version: int) -> Added | None:
        """Return what `version` adds; None if there is no such version yet.

        Raises
        ------
        RowsRemoved
            If it takes rows away.
        VersionGone
            If it has been cleaned up.
        DeltaUnfit
            If files do not hold what the table means from there on.
        """
        lines = self._lines(version)
        if lines is None:
            return None
        uri, files, columns = self._address.uri, list[AddedFile](), None
        for line in lines:
            action: dict[str, Any] = msgspec.json.decode(line)
            if (removed := action.get("remove")) and removed.get("dataChange", True):
                raise _removed(uri, version, removed)
            if metadata := action.get("metaData"):
                check_mapping(uri, metadata.get("configuration") or {})
                columns = columns_of(metadata["schemaString"])
                check_partitions(uri, columns, metadata.get("partitionColumns") or ())
            if (add := action.get("add")) and add.get("dataChange", True):
                if add.get("deletionVector"):
                    raise _vectors(uri)
                partition = add.get("partitionValues") or {}
                files.append(AddedFile(unquote(add["path"]), partition, int(add.get("modificationTime") or 0)))
        return Added(_ordered(files), columns)

    def notes(self, version: int) -> list[dict[str, Any]] | None:
        """Return who made `version`, and its application transactions; None if it is not in the log."""
        try:
            lines = self._entry(version)
        except KeyMissing:
            return None
        return [msgspec.json.decode(line) for line in lines if _NOTE.match(line)]

    def sync(self, first: int, last: int, *, files: bool = False) -> None:
        """Force versions to the disk: delta-rs writes them, and leaves to the system when they get there.

        Parameters
        ----------
        files : bool
            Also the data files that they add, which delta-rs wrote.
        """
        root = self._address.local
        if root is None:
            return
        log = root / "_delta_log"
        for version in range(first, last + 1):
            if files:
                _sync_all({root / path for path in self.paths(version)})
            _sync_all({root / _key(version), log / f"{version:020d}.checkpoint.parquet"})
        _sync_all({log / "_last_checkpoint"})
        for folder in (log, root, root.parent):
            sync_directory(folder)

    def paths(self, version: int) -> list[str]:
        """Return the files that a version adds, for whatever reason."""
        with suppress(KeyMissing):
            actions = [msgspec.json.decode(line) for line in self._entry(version)]
            return [unquote(action["add"]["path"]) for action in actions if action.get("add")]
        return []

    def _entry(self, version: int) -> list[bytes]:
        if self._store is None:
            self._store = self._open_store()
        data = bytes(self._store.get(_key(version)))
        return [line for line in data.splitlines() if line.strip()]

    def _lines(self, version: int) -> list[bytes] | None:
        try:
            return self._entry(version)
        except KeyMissing:
            if version and self._address.size_of(_key(version - 1)) is not None:
                return None  # the oldest are cleaned up first
            if (newest := self._newest()) < version:
                return None
            raise self._gone(version, newest) from None

    def _gone(self, version: int, newest: int) -> VersionGone:
        return VersionGone(
            f"version {version} of {self._address.uri} is no longer in its log, which goes up to {newest}",
            hint="rows are lost to this job: keep the log longer than a job may stand still "
            '(delta.logRetentionDuration); or begin anew with restore="none" and another output',
            uri=self._address.uri,
            version=version,
        )

    def _newest(self) -> int:
        # Versions that are there have numbers above the missing one: looked for without listing all of them.
        table = self._address.open()
        version: int = table.version()
        return version

    def _open_store(self) -> CheckpointStore:
        if self._address.local is not None:
            return FilesystemStore(self._address.local)
        return ObjectStore.at(self._address.uri, self._address.storage_options())


def check_readable(uri: str, table: Any) -> None:
    """Raise `DeltaUnfit` if files do not hold what the table means."""
    metadata = table.metadata()
    check_mapping(uri, metadata.configuration)
    check_partitions(uri, pa.schema(table.schema().to_arrow()), metadata.partition_columns)
    features = table.protocol().reader_features or ()
    if "deletionVectors" in features and pa.table(table.deletion_vectors().read_all()).num_rows:
        raise _vectors(uri)


def check_mapping(uri: str, configuration: Mapping[str, Any]) -> None:
    """Raise `DeltaUnfit` if files hold columns under other names than the table."""
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        raise DeltaUnfit(
            f"{uri} has column mapping: files hold columns under other names than the table",
            hint="rewrite the table without it",
            uri=uri,
            feature="columnMapping",
        )


def check_partitions(uri: str, columns: pa.Schema, partitions: Collection[str]) -> None:
    """Raise `DeltaUnfit` if a partition column is binary: writers do not agree on how its values are written."""
    for name in partitions:
        if pa.types.is_binary(columns.field(name).type) or pa.types.is_large_binary(columns.field(name).type):
            raise DeltaUnfit(
                f"{uri} is partitioned by {name!r}, which is binary",
                hint="rewrite the table with a text column in its place",
                uri=uri,
                feature="binary partition column",
            )


def _removed(uri: str, version: int, action: Mapping[str, Any]) -> RowsRemoved:
    return RowsRemoved(
        f"version {version} of {uri} takes rows away (of {action.get('path')})",
        hint="only tables that grow can be followed; begin anew behind it: start_version="
        f'{version + 1}, restore="none" and another output',
        uri=uri,
        version=version,
    )


def _vectors(uri: str) -> DeltaUnfit:
    return DeltaUnfit(
        f"{uri} has deletion vectors: files hold rows that the table does not",
        hint="rewrite the table (REORG TABLE ... APPLY (PURGE)), then read it",
        uri=uri,
        feature="deletionVectors",
    )


def _ordered(files: Iterable[AddedFile]) -> list[AddedFile]:
    """Return files as they are read: in the order in which they were written, as far as the log tells."""
    return sorted(files, key=lambda file: (file.moment, file.path))


def _present(table: Any) -> list[str]:
    return ["path", "modification_time", *(["partition"] if table.metadata().partition_columns else [])]


def _milliseconds(row: Mapping[str, Any]) -> int:
    found: datetime | int | None = row["modification_time"]
    if isinstance(found, datetime):
        return round(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1_000)
    return found or 0


def _texts(row: Mapping[str, Any]) -> dict[str, str | None]:
    values: dict[str, Any] = row.get("partition") or {}
    return {name: None if value is None else _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case datetime() if value.tzinfo is not None:
            return str(value.astimezone(UTC).replace(tzinfo=None))
        case _:
            return str(value)


def _key(version: int) -> str:
    return f"_delta_log/{version:020d}.json"


def _sync_all(paths: Collection[Path]) -> None:
    """Force files to the disk, and their folders; what is not there (cleaned up meanwhile) is passed over."""
    for path in paths:
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    for folder in {path.parent for path in paths}:
        with suppress(FileNotFoundError):
            sync_directory(folder)
