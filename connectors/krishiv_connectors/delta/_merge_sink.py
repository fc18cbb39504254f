"""Exactly-once upserts: an epoch's rows wait in the checkpoint store, and are merged in one commit with the mark."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from krishiv_checkpoint import failpoint
from krishiv_connectors._errors import MarkMoved
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors.delta._delta_log import TableLog
from krishiv_connectors.delta._delta_sink import CHANGE, DeltaSink
from krishiv_connectors.delta._errors import DeltaUnavailable, delta_errors
from krishiv_connectors.delta._marks import AppliedEpochs, app_id, marks_of, properties, register
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from krishiv_checkpoint import CheckpointStore, Mark
    from krishiv_connectors._sink import SinkContext

__all__ = ["MergeDeltaSink"]

_SLOTS = 128
"""Slots are looked for up to so many key groups."""
_TRIES = 20
"""Commits of others that one of ours gives way to before it waits a while."""


class MergeDeltaSink(StagedSink, DeltaSink):
    """What ``DeltaSink(..., mode="upsert", keys=...)`` is."""

    _store: CheckpointStore | None = None
    _lock: threading.Lock | None = None
    _epochs: AppliedEpochs | None = None
    _required: tuple[str, ...] = ()

    def open(self, ctx: SinkContext) -> None:
        """Make the table if it is missing (the committer), or nothing yet (a slot's writer)."""
        super().open(ctx)
        if ctx.slot is not None:
            self._required = self._facts().required
            return
        self._prepare_table(ctx.schema)
        self._store, self._lock, self._epochs = self._staging(), threading.Lock(), AppliedEpochs(self.address)
        register(self._store, ctx)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append `batch` to the epoch's file in the checkpoint store.

        Raises
        ------
        UnencodableRow
            If a key is null: no row equals it.
        """
        self._check_nulls(batch, self.keys, "is a key")
        if batch.num_rows and self._required:
            kept = batch if CHANGE not in batch.schema.names else batch.filter(pc.not_equal(batch.column(CHANGE), "-D"))
            self._check_nulls(kept, self._required, "may not be null in the table")
        super().write(batch)

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Merge the rows and move the mark, in one commit."""
        rows = self._last_rows(batches)
        app = app_id(self.ctx.lineage, self.ctx.sink_id, slot)
        wanted = properties(app, self.ctx.job, epoch, token)
        epochs = self._committing()
        with self._exclusive(), delta_errors(self.address.uri):
            try:
                for tried in range(_TRIES):
                    table = self._expect(epochs, app, slot, previous)
                    if not tried:
                        failpoint("commit.during")
                    if self._merge(table, rows, wanted):
                        break
                else:
                    raise DeltaUnavailable(f"others commit to {self.address.uri} all the time", uri=self.address.uri)
                failpoint("commit.during")
                before = table.version()  # a merge loads what it has written, an empty commit does not
                table.update_incremental()
                TableLog(self.address).sync(before, table.version(), files=True)
            except BaseException:
                epochs.forget()
                raise

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch that the table holds of `slot`."""
        app, epochs = app_id(lineage, self.ctx.sink_id, slot), self._committing()
        with self._exclusive(), delta_errors(self.address.uri):
            epochs.refresh()
            found = epochs.epoch(app)
            epochs.sync(app, files=True)
        return found

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left in this table."""
        epochs = self._committing()
        assert self._store is not None
        with self._exclusive(), delta_errors(self.address.uri):
            return marks_of(epochs, self._store, job, list(range(_SLOTS)))

    def capabilities(self) -> SinkCapabilities:
        """Two-phase and recoverable; also idempotent by its keys."""
        return SinkCapabilities(
            durable_flush=True, two_phase=True, recovers_prepared=True, idempotent_by=tuple(self.keys)
        )

    def close(self) -> None:
        """Let go of what was not prepared."""
        super().close()
        self._store = self._lock = self._epochs = None

    def _expect(self, epochs: AppliedEpochs, app: str, slot: int, previous: int) -> Any:
        """Return the table as it is now.

        Raises
        ------
        MarkMoved
            If it does not hold epoch `previous` of the slot.
        """
        table = epochs.refresh()
        found = epochs.epoch(app) or 0
        if found != previous:
            raise MarkMoved(
                f"{self.address.uri}, slot {slot}: it holds epoch {found}, not {previous}",
                hint="another attempt applied epochs of this sink, or the table was restored to an older version",
                found=found,
            )
        return table

    def _last_rows(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """Return the last row of each key, x the table's types, and ``_op`` if the rows have it."""
        import polars as pl

        schema = self._stored(self.ctx.schema)
        if CHANGE in self.ctx.schema.names:
            schema = schema.append(pa.field(CHANGE, pa.string()))
        rows = pa.Table.from_batches([batch.select(schema.names).cast(schema) for batch in batches], schema=schema)
        if CHANGE in schema.names:
            rows = rows.filter(pc.not_equal(rows.column(CHANGE), "-U"))  # a +U or -D of its key follows
        if not rows.num_rows:
            return rows
        keys = pl.DataFrame({name: pl.from_arrow(rows.column(name)) for name in self.keys}).with_row_index("_row")
        last = keys.group_by(list(self.keys), maintain_order=True).agg(pl.col("_row").max()).get_column("_row")
        return rows.take(pa.array(last.to_arrow()))

    def _merge(self, table: Any, rows: pa.Table, wanted: Any) -> bool:
        """Merge upon the loaded version; False if there is a newer one, and nothing was done."""
        from deltalake.exceptions import CommitFailedError

        try:
            if rows.num_rows:
                self._merger(table, rows, wanted).execute()
            else:
                partitions = list(table.metadata().partition_columns)
                table.create_write_transaction([], "append", table.schema(), partitions, commit_properties=wanted)
        except CommitFailedError:
            return False
        return True

    def _merger(self, table: Any, rows: pa.Table, wanted: Any) -> Any:
        same = " AND ".join(f"target.{_quoted(name)} = source.{_quoted(name)}" for name in self.keys)
        merger = table.merge(
            rows, predicate=same, source_alias="source", target_alias="target", commit_properties=wanted
        )
        new = {_quoted(name): f"source.{_quoted(name)}" for name in rows.column_names if name != CHANGE}
        stays = f"source.{_quoted(CHANGE)} <> '-D'" if CHANGE in rows.column_names else None
        if stays is not None:
            merger = merger.when_matched_delete(f"source.{_quoted(CHANGE)} = '-D'")
        return merger.when_matched_update(new, stays).when_not_matched_insert(new, stays)

    def _committing(self) -> AppliedEpochs:
        if self._epochs is None:
            raise ValueError("the sink is not open as a committer")
        return self._epochs

    def _exclusive(self) -> threading.Lock:
        if self._lock is None:
            raise ValueError("the sink is not open as a committer")
        return self._lock


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
