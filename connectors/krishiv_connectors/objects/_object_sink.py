"""Exactly-once Parquet files in a bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_checkpoint import CommitScope
from krishiv_connectors._errors import UnsupportedColumn
from krishiv_connectors._sink import StickyError, TwoPhaseSink, refuse_newer
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_connectors.objects._bucket import CLIENT_LIBRARY, BucketAddress
from krishiv_connectors.objects._committer import EpochCommitter, marks_of
from krishiv_connectors.objects._fitness import check_conditional_create, warn_of_rules
from krishiv_connectors.objects._names import Folder
from krishiv_connectors.objects._sizes import size_of
from krishiv_connectors.objects._slot_files import FileOptions, SlotFiles
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CommitOutcome, Committable, Mark, Prepared
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors._storage import S3
    from krishiv_connectors.files._parquet_sink import Compression
    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["ObjectParquetSink"]

_LEAST_PART, _MOST_PART = 5 << 20, 512 << 20
_MOST_PARTS = 10_000


class ObjectParquetSink(TwoPhaseSink):
    """Parquet files in S3, exactly once. Made by ``ParquetSink("s3://...")``.

    Parameters
    ----------
    path : str
        ``s3://bucket/prefix``.
    partition_by : str or sequence of str
        Columns that become folders ``column=value``, outermost first. Files then lack them.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says.
    target_file_size : int or str
        ``"128MiB"``: at that size a file ends and the next begins. Files also end with their epoch.
    compression : str
        Of pages.
    row_group_rows : int
        Rows gathered into a row group. One group may get up to one batch more; the last of an epoch has fewer.
    part_size : int or str
        Of a part of an upload, 5 MiB or more. A slot holds up to 8 of them in memory.

    Notes
    -----
    A slot uploads its rows as multipart uploads while they come. At a barrier all parts are there, and nothing can be
    seen. The commit completes the uploads, then creates ``_manifests/<lineage>-<sink>/<epoch>.json``, which lists the
    files and is the epoch's mark. Readers of ``<prefix>/**/*.parquet`` see the files of an epoch appear one by one;
    ``ParquetSource(url, manifest=True)`` sees whole epochs.

    An epoch makes at least one file for each slot and partition that has rows. For larger files take a longer
    checkpoint interval, a lower parallelism, or fewer partitions.
    """

    commit_scope = CommitScope.EPOCH
    client_libraries = (CLIENT_LIBRARY,)

    def __init__(
        self,
        path: str,
        partition_by: str | Sequence[str] | None = (),
        *,
        storage: S3 | None = None,
        target_file_size: int | str | None = None,
        compression: Compression = "snappy",
        row_group_rows: int = 131_072,
        part_size: int | str | None = None,
    ) -> None:
        if row_group_rows < 1:
            raise ValueError(f"row_group_rows is {row_group_rows}; it is a number of rows, 1 or more")
        self.address = BucketAddress(path, storage)
        self.partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by or ())
        part = size_of("part_size", "8MiB" if part_size is None else part_size, least=_LEAST_PART, most=_MOST_PART)
        wanted = "128MiB" if target_file_size is None else target_file_size
        target = size_of("target_file_size", wanted, least=1, most=part * _MOST_PARTS // 2)
        self._options = FileOptions(compression, row_group_rows, target, part)
        self._opened: _Opened | None = None

    def __repr__(self) -> str:
        return f"ParquetSink({self.address.url!r})"

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Connect; the committer tries out whether the bucket will do.

        Raises
        ------
        BucketUnfit, and what `check` raises
        """
        bucket = self.address.open()
        opened = self._opened = _Opened(ctx, bucket)
        try:
            if ctx.slot is None:
                check_conditional_create(bucket)
                warn_of_rules(bucket, self.address.prefix)
                opened.committer = EpochCommitter(bucket, Folder(ctx.lineage, ctx.sink_id), ctx.job)
                return
            opened.partitioning = HivePartitioning(ctx.schema, self.partition_by) if self.partition_by else None
            opened.files = SlotFiles(bucket, ctx, ctx.slot, self._file_schema(ctx.schema), self._options)
        except BaseException:
            self.close()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode `batch`, or hold it until it makes a large enough piece; what makes a part is sent on its way."""
        if batch.num_rows == 0:
            return
        opened = self._open()
        with opened.sticky.guard():
            if opened.partitioning is None:
                opened.slot_files().write("", batch)
                return
            for folder, rows in opened.partitioning.split(batch):
                opened.slot_files().write(folder, rows)

    def prepare(self, epoch: int) -> bytes:
        """Upload all that is left.

        Returns
        -------
        bytes
            JSON of `PreparedSlot`: keys, upload ids, ETags of parts, sizes, rows and SHA-256 of the files.
        """
        opened = self._open()
        with opened.sticky.guard():
            return opened.slot_files().seal(epoch).encode()

    def close(self) -> None:
        """Close connections. Uploads that were not prepared stay for the next recovery, which aborts them."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.files is not None:
            opened.files.close()
        opened.bucket.close()

    # ---------------------------------------------------------------- the committer

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Complete the listed uploads of all slots, then create the epoch's manifest."""
        return self._open().epochs().commit(epoch, committables)

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Abort the uploads of `prepared`."""
        opened = self._open()
        refuse_newer(prepared, opened.ctx.token)
        opened.epochs().leftovers.remove(prepared)

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return the uploads of `lineage` that are not published; epoch 0 stands for what was not prepared."""
        epochs = self._epochs_of(lineage)
        return epochs.leftovers.list(epochs.last_applied() or 0)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch of the newest manifest of `lineage`; the same for every slot."""
        return self._epochs_of(lineage).last_applied()

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the newest manifest of each lineage and sink that wrote here for `job`."""
        return marks_of(self._open().bucket, job)

    def rewind(self, lineage: str, epoch: int) -> bool:
        """Withdraw the epochs above `epoch`, files and all. False if that is too far back."""
        return self._epochs_of(lineage).rewind(epoch, self._open().ctx.token)

    # ---------------------------------------------------------------- before the job runs

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process; epochs appear as a whole to readers of the manifest."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True)

    def check(self, schema: pa.Schema) -> None:
        """Raise if rows of `schema` cannot be stored, or the bucket cannot be reached or will not do.

        Raises
        ------
        UnsupportedColumn, PlanError
        BucketMissing, BucketRefused, BucketElsewhere, BucketUnfit, BucketUnavailable, ClockSkew
        """
        _check_columns(self._file_schema(schema))
        bucket = self.address.open()
        try:
            check_conditional_create(bucket)
        finally:
            bucket.close()

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it partitions."""
        return {"partitioned": bool(self.partition_by)}

    # ---------------------------------------------------------------- helpers

    def _file_schema(self, schema: pa.Schema) -> pa.Schema:
        return HivePartitioning(schema, self.partition_by).schema if self.partition_by else schema

    def _epochs_of(self, lineage: str) -> EpochCommitter:
        opened = self._open()
        if lineage == opened.ctx.lineage:
            return opened.epochs()
        return EpochCommitter(opened.bucket, Folder(lineage, opened.ctx.sink_id), opened.ctx.job)

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


@dataclass
class _Opened:
    """What an open copy holds."""

    ctx: SinkContext
    bucket: Bucket
    partitioning: HivePartitioning | None = None
    files: SlotFiles | None = None
    committer: EpochCommitter | None = None
    sticky: StickyError = field(default_factory=StickyError)

    def slot_files(self) -> SlotFiles:
        if self.files is None:
            raise ValueError("a committer writes no rows")
        return self.files

    def epochs(self) -> EpochCommitter:
        if self.committer is None:
            raise ValueError("a slot's writer does not commit")
        return self.committer


def _check_columns(schema: pa.Schema) -> None:
    """Write an empty file in memory: the library itself says which types it cannot store."""
    for column in schema:
        try:
            pq.write_table(pa.schema([column]).empty_table(), pa.BufferOutputStream())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise UnsupportedColumn(
                f"column {column.name!r} of type {column.type} cannot be stored in Parquet: {error}",
                hint="cast it with with_columns before write",
                column=column.name,
            ) from error
