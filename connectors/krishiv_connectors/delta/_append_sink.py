"""Exactly-once appends: data files at each barrier, one commit of the log for an epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import CommitOutcome, CommitScope, CorruptState, KeyMissing, StateFile, failpoint, read_verified
from krishiv_connectors._errors import TableMismatch
from krishiv_connectors._sink import StickyError, TwoPhaseSink, refuse_newer
from krishiv_connectors.delta._data_files import DataFiles, FileName, StagedData, list_staged, staged_keys
from krishiv_connectors.delta._delta_log import TableLog
from krishiv_connectors.delta._delta_sink import DeltaSink
from krishiv_connectors.delta._errors import DeltaUnfit, delta_errors
from krishiv_connectors.delta._marks import AppliedEpochs, app_id, marks_of, properties, register
from krishiv_connectors.delta._table import STAGING, arrow_schema, check_features
from krishiv_connectors.delta._types import check_columns, columns_of, delta_json, stored_schema
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_guarantees import RetriableError, SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore, Committable, Mark, Prepared
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.delta._data_files import DataFile

__all__ = ["AppendDeltaSink"]

_TRIES = 20
"""Commits of others that one of ours gives way to before it waits a while."""


class AppendDeltaSink(TwoPhaseSink, DeltaSink):
    """What ``DeltaSink(...)`` is by default."""

    commit_scope = CommitScope.EPOCH

    _opened: _Opened | None = None

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Make the table if it is missing (the committer), or get ready to write files (a slot's writer)."""
        schema = stored_schema(ctx.schema)
        if ctx.slot is None:
            store = self._staging()
            self._prepare_table(ctx.schema)
            register(store, ctx)
            self._opened = _Opened(ctx, store, schema, epochs=AppliedEpochs(self.address))
            return
        store, facts = self.address.files(), self._facts()
        splitting = HivePartitioning(schema, facts.partitions) if facts.partitions else None
        files = DataFiles(
            store,
            schema if splitting is None else splitting.schema,
            partial(_named, ctx, ctx.slot),
            self.target_file_size,
            delta_json(schema),
        )
        self._opened = _Opened(ctx, store, schema, splitting=splitting, files=files, required=facts.required)

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode `batch`, or hold it until it makes a large enough piece."""
        if batch.num_rows == 0:
            return
        opened = self._open()
        with opened.sticky.guard():
            batch = batch.cast(opened.schema)
            self._check_nulls(batch, opened.required, "may not be null in the table")
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
        epochs = opened.committing()
        try:
            with delta_errors(self.address.uri):
                return self._commit(opened, epochs, epoch, committables)
        except RetriableError as error:
            epochs.forget()  # what has become of the commit only the log can say
            return CommitOutcome.retry(error.message, error.after)
        except BaseException:
            epochs.forget()
            raise

    def _commit(
        self, opened: _Opened, epochs: AppliedEpochs, epoch: int, committables: Sequence[Committable]
    ) -> CommitOutcome:
        app = app_id(opened.ctx.lineage, opened.ctx.sink_id)
        # Slots that ended earlier than others are not in it any more: the chain of the longest is the sink's.
        expected = max(committable.previous for committable in committables)
        staged = [StagedData.decode(committable.payload) for committable in committables]
        wanted = properties(app, opened.ctx.job, epoch, opened.ctx.token)
        checked = False
        for _ in range(_TRIES):
            table = epochs.refresh()
            found = epochs.epoch(app) or 0
            if found >= epoch:
                epochs.sync(app)  # whoever wrote it may have died before this
                return CommitOutcome.already_done()
            if found < expected:
                return CommitOutcome.failed(f"{self.address.uri} holds epoch {found}, not {expected}")
            if not checked:
                failpoint("commit.during")
            problem = self._problem(opened.store, table, staged, whole=not checked)
            if problem is not None:
                return CommitOutcome.failed(f"epoch {epoch} cannot be added as it was prepared: {problem}")
            checked = True
            if _add(table, [file for data in staged for file in data.files], wanted):
                failpoint("commit.during")
                TableLog(self.address).sync(table.version() + 1, table.version() + 1)
                return CommitOutcome.done()
        return CommitOutcome.retry(f"others commit to {self.address.uri} all the time")

    def _problem(self, store: CheckpointStore, table: Any, staged: Sequence[StagedData], *, whole: bool) -> str | None:
        """Return why staged data does not fit into the table as it is now: delta-rs looks at nothing of that.

        Parameters
        ----------
        whole : bool
            Look at the files, too: on a disk they are read, in a bucket their size is asked for.
        """
        columns, partitions = arrow_schema(table), list(table.metadata().partition_columns)
        try:
            check_features(self.address.uri, table)
            for text in {data.columns for data in staged if data.columns}:
                check_columns(self.address.uri, columns, columns_of(text), adding=False, partitions=partitions)
        except (DeltaUnfit, TableMismatch) as error:
            return error.message
        for file in (file for data in staged for file in data.files):
            if list(file.partition) != partitions:
                return f"{file.key} is of partition {file.partition}, and the table is partitioned by {partitions}"
            problem = self._file_problem(store, file) if whole else None
            if problem is not None:
                return problem
        return None

    def _file_problem(self, store: CheckpointStore, file: DataFile) -> str | None:
        if self.address.local is None:
            size = self.address.size_of(f"{STAGING}/{file.key}")
            return None if size == file.size else f"{file.key} has {size} bytes, not {file.size}"
        try:
            read_verified(store, StateFile(file.key, file.sha256, file.size))
        except (CorruptState, KeyMissing) as error:
            return error.message
        return None

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
        """Return what is staged and was never committed: what a RESTORE took away is part of older versions."""
        opened = self._open()
        epochs = opened.committing()
        with delta_errors(self.address.uri):
            epochs.refresh()
            committed = epochs.ever(app_id(lineage, opened.ctx.sink_id))
        return list_staged(opened.store, lineage, opened.ctx.sink_id, committed)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch that the table holds of `lineage`; the same for every slot."""
        opened = self._open()
        epochs, app = opened.committing(), app_id(lineage, opened.ctx.sink_id)
        with delta_errors(self.address.uri):
            epochs.refresh()
            found = epochs.epoch(app)
            epochs.sync(app)
        return found

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left in this table."""
        opened = self._open()
        with delta_errors(self.address.uri):
            return marks_of(opened.committing(), opened.store, job, [None])

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process, epochs appear as a whole."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True)

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


def _named(ctx: SinkContext, slot: int, folder: str, epoch: int, number: int) -> FileName:
    return FileName(ctx.lineage, ctx.sink_id, folder, epoch, ctx.token, slot, number)


def _add(table: Any, files: Sequence[DataFile], wanted: Any) -> bool:
    """Add `files` upon the loaded version; False if there is a newer one, and nothing was done."""
    from deltalake.exceptions import CommitFailedError
    from deltalake.transaction import AddAction

    now = int(time.time() * 1_000)
    actions = [AddAction(f"{STAGING}/{file.key}", file.size, file.partition, now, True, file.stats) for file in files]
    partitions = list(table.metadata().partition_columns)
    try:
        table.create_write_transaction(actions, "append", table.schema(), partitions, commit_properties=wanted)
    except CommitFailedError:
        return False
    return True


@dataclass
class _Opened:
    """What an open copy holds."""

    ctx: SinkContext
    store: CheckpointStore
    schema: pa.Schema
    epochs: AppliedEpochs | None = None
    splitting: HivePartitioning | None = None
    files: DataFiles | None = None
    required: tuple[str, ...] = ()
    sticky: StickyError = field(default_factory=StickyError)

    def data_files(self) -> DataFiles:
        if self.files is None:
            raise ValueError("a committer writes no rows")
        return self.files

    def committing(self) -> AppliedEpochs:
        if self.epochs is None:
            raise ValueError("a writer commits nothing")
        return self.epochs
