"""Exactly-once appends: data files at each barrier, one commit of the log for an epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import CommitOutcome, CommitScope, CorruptState, KeyMissing, StateFile, failpoint, read_verified
from krishiv_connectors._sink import StickyError, TwoPhaseSink, refuse_newer
from krishiv_connectors.delta._data_files import DataFiles, FileName, StagedData, list_staged, staged_keys
from krishiv_connectors.delta._delta_sink import DeltaSink, app_id, applied, marks_of, register
from krishiv_connectors.delta._errors import delta_errors
from krishiv_connectors.delta._table import STAGING
from krishiv_connectors.delta._types import stored_schema
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_guarantees import RetriableError, SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore, Committable, Mark, Prepared
    from krishiv_connectors._sink import SinkContext

__all__ = ["AppendDeltaSink"]


class AppendDeltaSink(TwoPhaseSink, DeltaSink):
    """What ``DeltaSink(...)`` is by default."""

    commit_scope = CommitScope.EPOCH

    _opened: _Opened | None = None

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Make the table if it is missing (the committer), or get ready to write files (a slot's writer)."""
        store = self.address.files()
        if ctx.slot is None:
            table = self._prepare_table(ctx.schema)
            register(store, ctx)
            self._opened = _Opened(ctx, store, stored_schema(ctx.schema), table=table)
            return
        schema = stored_schema(ctx.schema)
        partitions = self.partitions()
        splitting = HivePartitioning(schema, partitions) if partitions else None
        named = partial(_named, ctx, ctx.slot)
        files = DataFiles(store, schema if splitting is None else splitting.schema, named, self.target_file_size)
        self._opened = _Opened(ctx, store, schema, splitting=splitting, files=files)

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode `batch`, or hold it until it makes a large enough piece."""
        if batch.num_rows == 0:
            return
        opened = self._open()
        with opened.sticky.guard():
            batch = batch.cast(opened.schema)
            if opened.splitting is None:
                opened.data_files().write("", batch)
                return
            for folder, rows in opened.splitting.split(batch):
                opened.data_files().write(folder, rows)

    def prepare(self, epoch: int) -> bytes:
        """Finish the files and make them durable.

        Returns
        -------
        bytes
            JSON of `StagedData`: keys, sizes, digests, partitions and statistics of the files.
        """
        opened = self._open()
        with opened.sticky.guard():
            return opened.data_files().seal(epoch).encode()

    def close(self) -> None:
        """Let go of what was not prepared."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.files is not None:
            opened.files.discard()

    # ---------------------------------------------------------------- the committer

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Add the listed files of all slots in one commit, which moves the mark."""
        opened = self._open()
        try:
            with delta_errors(self.address.uri):
                return self._commit(opened, epoch, committables)
        except RetriableError as error:
            opened.table = None  # what has become of the commit only the log can say
            return CommitOutcome.retry(error.message, error.after)
        except BaseException:
            opened.table = None
            raise

    def _commit(self, opened: _Opened, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        table = self._table(opened)
        app = app_id(opened.ctx.lineage, opened.ctx.sink_id)
        found = applied(table, app) or 0
        if found >= epoch:
            self.address.sync_log()  # whoever wrote it may have died before this
            return CommitOutcome.already_done()
        expected = max(committable.previous for committable in committables)
        if found < expected:
            return CommitOutcome.failed(f"the mark in {self.address.uri} says epoch {found}, not {expected}")
        files = [file for committable in committables for file in StagedData.decode(committable.payload).files]
        failpoint("commit.during")
        problem = next(filter(None, (self._problem(opened.store, file) for file in files)), None)
        if problem is not None:
            return CommitOutcome.failed(f"epoch {epoch} was prepared otherwise: {problem}")
        self._add(table, files, app, epoch)
        failpoint("commit.during")
        self.address.sync_log()
        return CommitOutcome.done()

    def _problem(self, store: CheckpointStore, file: Any) -> str | None:
        """Return what is wrong with a staged file. In a bucket it is looked for; on a disk it is read, too."""
        try:
            if self.address.local is None:
                return None if store.list(file.key) == [file.key] else f"{file.key} is gone"
            read_verified(store, StateFile(file.key, file.sha256, file.size))
        except (CorruptState, KeyMissing) as error:
            return error.message
        return None

    def _add(self, table: Any, files: Sequence[Any], app: str, epoch: int) -> None:
        from deltalake import CommitProperties, Transaction
        from deltalake.transaction import AddAction

        now = int(time.time() * 1_000)
        actions = [
            AddAction(f"{STAGING}/{file.key}", file.size, file.partition, now, True, file.stats) for file in files
        ]
        # Read and written through one handle: if another commit moves the mark meanwhile, the log refuses this one.
        properties = CommitProperties(app_transactions=[Transaction(app, epoch)])
        partitions = list(table.metadata().partition_columns)
        table.create_write_transaction(actions, "append", table.schema(), partitions, commit_properties=properties)

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Delete the data files of `prepared`."""
        opened = self._open()
        refuse_newer(prepared, opened.ctx.token)
        wanted = {(item.token, item.epoch, item.slot) for item in prepared}
        lowest = min((item.epoch for item in prepared), default=0)
        for name in list(staged_keys(opened.store, opened.ctx.lineage, opened.ctx.sink_id, lowest - 1)):
            if (name.token, name.epoch, name.slot) in wanted:
                opened.store.delete(str(name))

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return what is staged above the mark of `lineage`."""
        opened = self._open()
        return list_staged(opened.store, lineage, opened.ctx.sink_id, self.last_applied(lineage, 0) or 0)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch in the mark of `lineage`; the same for every slot."""
        opened = self._open()
        with delta_errors(self.address.uri):
            found = applied(self._table(opened), app_id(lineage, opened.ctx.sink_id))
        self.address.sync_log()
        return found

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left in this table."""
        opened = self._open()
        with delta_errors(self.address.uri):
            return marks_of(self._table(opened), opened.store, job, [None])

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process, epochs appear as a whole."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True)

    def _table(self, opened: _Opened) -> Any:
        """Return the table as it is now."""
        if opened.table is None:
            opened.table = self.address.open()
        else:
            opened.table.update_incremental()
        return opened.table

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


def _named(ctx: SinkContext, slot: int, folder: str, epoch: int, number: int) -> FileName:
    return FileName(ctx.lineage, ctx.sink_id, folder, epoch, ctx.token, slot, number)


@dataclass
class _Opened:
    """What an open copy holds."""

    ctx: SinkContext
    store: CheckpointStore
    schema: pa.Schema
    table: Any = None
    splitting: HivePartitioning | None = None
    files: DataFiles | None = None
    sticky: StickyError = field(default_factory=StickyError)

    def data_files(self) -> DataFiles:
        if self.files is None:
            raise ValueError("a committer writes no rows")
        return self.files
