"""One transaction: data files, and the mark that says which epoch they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import CorruptState, KeyMissing, StateFile, read_verified
from krishiv_connectors.iceberg._catalog import local_path, pinned
from krishiv_connectors.iceberg._marks import EpochMark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors.iceberg._data_files import DataFile, StagedData

__all__ = ["begin_epoch", "problem_of", "unfit_stage"]


def unfit_stage(table: Any, slots: Sequence[StagedData], place: str) -> str | None:
    """Return why what was prepared cannot be added to `table`, or None."""
    uuid = str(table.metadata.table_uuid)
    for staged in slots:
        if staged.table != uuid:
            return "the table was dropped and made again since"
        if staged.files and staged.place != place:
            return f"the table's data folder was {staged.place} then and is {place} now"
        if staged.files and staged.spec not in table.specs():
            return f"the table has no partition spec {staged.spec} any more"
    if len({staged.spec for staged in slots if staged.files}) > 1:
        return "its files were written for two partition specs"
    return None


def problem_of(store: CheckpointStore, file: DataFile, place: str) -> str | None:
    """Return what is wrong with a prepared file. In a bucket it is looked for; on a disk it is read, too."""
    try:
        if local_path(place) is None:
            return None if store.list(file.key) == [file.key] else f"{file.key} is gone"
        read_verified(store, StateFile(file.key, file.sha256, file.size))
    except (CorruptState, KeyMissing) as error:
        return error.message
    return None


def begin_epoch(table: Any, slots: Sequence[StagedData], key: str, mark: EpochMark) -> Any:
    """Return the transaction that adds the files and moves the mark, in one commit of the catalog.

    It holds only if the table's current snapshot is the one that was loaded. Each epoch makes a snapshot, one without
    rows too: a mark that moved without one could be moved back by a committer that had loaded the table before.

    Parameters
    ----------
    mark : EpochMark
        Its snapshot and sequence number are filled in here.
    """
    spec = next((staged.spec for staged in slots if staged.files), table.metadata.default_spec_id)
    table = pinned(table, spec)
    transaction = table.transaction()
    update = transaction.update_snapshot()
    merge = str(table.properties.get("commit.manifest-merge.enabled", "false")).lower() == "true"
    append = update.merge_append() if merge else update.fast_append()
    mark = EpochMark(
        mark.epoch, mark.previous, mark.token, mark.job, append.snapshot_id, table.metadata.next_sequence_number()
    )
    append.snapshot_properties = {key: mark.encode()}
    with append:
        for staged in slots:
            for file in staged.files:
                append.append_data_file(_entry(file, f"{staged.place}/{file.key}", spec))
    transaction.set_properties({key: mark.encode()})
    # pyiceberg deletes the manifests of a commit that the catalog refuses as too late. Where a proxy sent the request
    # twice, that is the answer to the second, and the first holds: the table would name files that are gone.
    transaction._snapshot_producers.clear()
    return transaction


def _entry(file: DataFile, path: str, spec: int) -> Any:
    """Return what a manifest says about a file."""
    import msgspec
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record

    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(*file.partition),
        file_size_in_bytes=file.size,
        sort_order_id=None,
        spec_id=spec,
        equality_ids=None,
        key_metadata=None,
        **msgspec.structs.asdict(file.statistics),
    )
