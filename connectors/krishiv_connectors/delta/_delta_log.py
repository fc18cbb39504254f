"""What the versions of a Delta table hold: a snapshot's files, and what each later version adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from krishiv_checkpoint import FilesystemStore, KeyMissing, ObjectStore
from krishiv_connectors.delta._errors import DeltaUnfit, RowsRemoved, VersionGone, delta_errors

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors.delta._table import TableAddress

__all__ = ["AddedFile", "TableLog"]


class AddedFile(msgspec.Struct, frozen=True):
    """A data file.

    Parameters
    ----------
    path : str
        Relative to the table.
    partition : dict of str to str or None
        As the log writes values.
    """

    path: str
    partition: dict[str, str | None]


class TableLog:
    """The log of one table, as a reader needs it.

    Parameters
    ----------
    address : TableAddress
    """

    def __init__(self, address: TableAddress) -> None:
        self._address = address
        self._store: CheckpointStore | None = None

    def snapshot(self, version: int) -> list[AddedFile]:
        """Return the files of `version`, by their paths.

        Raises
        ------
        DeltaMissing, DeltaUnfit, DeltaUnavailable
        """
        uri = self._address.uri
        table = self._address.open(version)
        with delta_errors(uri):
            check_readable(uri, table)
            rows = pa.table(table.get_add_actions()).select(_present(table)).to_pylist()
        files = [AddedFile(unquote(row["path"]), _texts(row.get("partition"))) for row in rows]
        return sorted(files, key=lambda file: file.path)

    def added(self, version: int) -> list[AddedFile] | None:
        """Return the files that `version` adds; None if there is no such version yet.

        Raises
        ------
        RowsRemoved
            If it takes rows away.
        VersionGone
            If it has been cleaned up.
        """
        lines = self._lines(version)
        if lines is None:
            return None
        files: list[AddedFile] = []
        for line in lines:
            action: dict[str, Any] = msgspec.json.decode(line)
            if (removed := action.get("remove")) and removed.get("dataChange", True):
                raise RowsRemoved(
                    f"version {version} of {self._address.uri} takes rows away (of {removed.get('path')})",
                    hint="only tables that grow can be followed; begin anew behind it: start_version="
                    f'{version + 1}, restore="none" and another output',
                    uri=self._address.uri,
                    version=version,
                )
            if (add := action.get("add")) and add.get("dataChange", True):
                if add.get("deletionVector"):
                    raise _vectors(self._address.uri)
                files.append(AddedFile(unquote(add["path"]), add.get("partitionValues") or {}))
        return sorted(files, key=lambda file: file.path)

    def _lines(self, version: int) -> list[bytes] | None:
        if self._store is None:
            self._store = self._open_store()
        try:
            data = bytes(self._store.get(_key(version)))
        except KeyMissing:
            if (newest := self._newest()) < version:
                return None
            raise VersionGone(
                f"version {version} of {self._address.uri} is no longer in its log, which goes up to {newest}",
                hint="rows are lost to this job: keep the log longer than a job may stand still "
                '(delta.logRetentionDuration); or begin anew with restore="none" and another output',
                uri=self._address.uri,
                version=version,
            ) from None
        return [line for line in data.splitlines() if line.strip()]

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
    if dict(table.metadata().configuration).get("delta.columnMapping.mode", "none") != "none":
        raise DeltaUnfit(
            f"{uri} has column mapping: files hold columns under other names than the table",
            hint="rewrite the table without it",
            uri=uri,
            feature="columnMapping",
        )
    features = table.protocol().reader_features or ()
    if "deletionVectors" in features and pa.table(table.deletion_vectors().read_all()).num_rows:
        raise _vectors(uri)


def _vectors(uri: str) -> DeltaUnfit:
    return DeltaUnfit(
        f"{uri} has deletion vectors: files hold rows that the table does not",
        hint="rewrite the table (REORG TABLE ... APPLY (PURGE)), then read it",
        uri=uri,
        feature="deletionVectors",
    )


def _present(table: Any) -> list[str]:
    return ["path", "partition"] if table.metadata().partition_columns else ["path"]


def _texts(values: dict[str, Any] | None) -> dict[str, str | None]:
    return {name: None if value is None else _text(value) for name, value in (values or {}).items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(version: int) -> str:
    return f"_delta_log/{version:020d}.json"
