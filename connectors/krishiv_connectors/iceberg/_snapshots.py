"""What the snapshots of a table hold: one's files, and what each later one adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_connectors.iceberg._errors import IcebergMissing, SnapshotGone, SnapshotTakesRows

if TYPE_CHECKING:
    from krishiv_connectors.iceberg._catalog import TableAddress

__all__ = ["TableHistory"]

_TAKEN = (
    "deleted-data-files",
    "added-delete-files",
    "added-position-delete-files",
    "added-equality-delete-files",
    "added-dvs",
)
"""What a summary counts where rows go away."""


class TableHistory:
    """A table as a reader needs it. Holds a connection to its catalog.

    Parameters
    ----------
    address : TableAddress
    """

    def __init__(self, address: TableAddress) -> None:
        self._address = address
        self._catalog: Any = None
        self.table: Any = None
        """As it was when `refresh` was last called."""

    def refresh(self) -> Any:
        """Return the table as it is now."""
        if self._catalog is None:
            self._catalog = self._address.open()
        self.table = self._address.load(self._catalog)
        return self.table

    def close(self) -> None:
        """Close the connection."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def schema(self, snapshot: int | None) -> Any:
        """Return pyiceberg's schema of `snapshot`; None: the table's."""
        table = self._known()
        if snapshot is None:
            return table.schema()
        found = self._snapshot(snapshot)
        return table.schema() if found.schema_id is None else table.schemas()[found.schema_id]

    def newest(self) -> int | None:
        """Return the id of the current snapshot; None: there is none."""
        current: int | None = self._known().metadata.current_snapshot_id
        return current

    def check(self, snapshot: int) -> None:
        """Raise `IcebergMissing` if there is no such snapshot."""
        if self._known().snapshot_by_id(snapshot) is None:
            raise IcebergMissing(
                f"{self._address} has no snapshot {snapshot}",
                hint="it was never there, or has been expired; table.snapshots() lists those that are",
                table=str(self._address),
            )

    def whole(self, snapshot: int | None) -> list[Any]:
        """Return the scan tasks of all of a snapshot's files, by their paths."""
        if snapshot is None:
            return []
        self._snapshot(snapshot)
        with self._address.errors():
            tasks = list(self._known().scan(snapshot_id=snapshot).plan_files())
        return sorted(tasks, key=_path)

    def added(self, snapshot: int) -> list[Any]:
        """Return the scan tasks of what `snapshot` adds, by their paths.

        Raises
        ------
        SnapshotTakesRows
            If it takes rows away.
        """
        from pyiceberg.manifest import ManifestContent, ManifestEntryStatus
        from pyiceberg.table import FileScanTask

        found = self._snapshot(snapshot)
        if self._only_moves(found):
            return []
        table = self._known()
        with self._address.errors():
            files = [
                entry.data_file
                for manifest in found.manifests(table.io)
                if manifest.added_snapshot_id == snapshot and manifest.content == ManifestContent.DATA
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot
            ]
        return sorted((FileScanTask(file) for file in files), key=_path)

    def after(self, snapshot: int | None) -> int | None:
        """Return the snapshot that follows `snapshot` (None: the first one); None if there is none yet.

        Raises
        ------
        SnapshotGone
            If the current snapshot does not descend from it, as far as the table's history goes back.
        """
        metadata = self._known().metadata
        if metadata.current_snapshot_id == snapshot:
            return None
        known = {each.snapshot_id: each for each in metadata.snapshots}
        found = known.get(metadata.current_snapshot_id)
        while found is not None:
            # One without a parent is the first, or its parent was expired: then rows came before it.
            if found.parent_snapshot_id == snapshot and (snapshot is not None or (found.sequence_number or 0) <= 1):
                following: int = found.snapshot_id
                return following
            found = known.get(found.parent_snapshot_id)
        raise self._gone(snapshot or 0)

    def _only_moves(self, snapshot: Any) -> bool:
        """Whether rows stay what they are (compaction); raise if some go away."""
        summary = snapshot.summary
        operation = "append" if summary is None else str(summary.operation.value)
        if operation == "replace":
            return True
        counts = {} if summary is None else summary.additional_properties
        taken = [name for name in _TAKEN if int(counts.get(name) or 0)]
        if operation != "append" and taken:
            raise SnapshotTakesRows(
                f"snapshot {snapshot.snapshot_id} of {self._address} takes rows away ({operation}: {taken[0]} "
                f"{counts[taken[0]]})",
                hint="only tables that grow can be followed; begin anew behind it: start_snapshot_id="
                f'{snapshot.snapshot_id}, restore="none" and another output',
                table=str(self._address),
                snapshot=snapshot.snapshot_id,
            )
        return False

    def _snapshot(self, snapshot: int) -> Any:
        found = self._known().snapshot_by_id(snapshot)
        if found is None:
            raise self._gone(snapshot)
        return found

    def _gone(self, snapshot: int) -> SnapshotGone:
        return SnapshotGone(
            f"snapshot {snapshot} of {self._address}, up to which it was read, is not in its history any more: it was "
            "expired, or the table was taken back to one before it",
            hint="rows are lost to this job: keep snapshots longer than a job may stand still; or begin anew with "
            'restore="none" and another output',
            table=str(self._address),
            snapshot=snapshot,
        )

    def _known(self) -> Any:
        return self.refresh() if self.table is None else self.table


def _path(task: Any) -> str:
    path: str = task.file.file_path
    return path
