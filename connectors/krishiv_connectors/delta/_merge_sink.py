"""Exactly-once upserts: an epoch's rows wait in the checkpoint store, and are merged in one commit with the mark."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_checkpoint import failpoint
from krishiv_connectors._errors import MarkMoved, UnencodableRow
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors.delta._delta_sink import DeltaSink, app_id, applied, marks_of, register
from krishiv_connectors.delta._errors import delta_errors
from krishiv_connectors.delta._types import stored_schema
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from krishiv_checkpoint import CheckpointStore, Mark
    from krishiv_connectors._sink import SinkContext

__all__ = ["MergeDeltaSink"]

_SLOTS = 128
"""Slots are looked for up to so many key groups."""


class MergeDeltaSink(StagedSink, DeltaSink):
    """What ``DeltaSink(..., mode="upsert", keys=...)`` is."""

    _store: CheckpointStore | None = None
    _lock: threading.Lock | None = None

    def open(self, ctx: SinkContext) -> None:
        """Make the table if it is missing (the committer), or nothing yet (a slot's writer)."""
        super().open(ctx)
        if ctx.slot is None:
            self._prepare_table(ctx.schema)
            self._store, self._lock = self.address.files(), threading.Lock()
            register(self._store, ctx)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append `batch` to the epoch's file in the checkpoint store.

        Raises
        ------
        UnencodableRow
            If a key is null: no row equals it.
        """
        for name in self.keys:
            if batch.column(name).null_count:
                raise UnencodableRow(
                    f"a row for {self.address.uri} has no {name!r}, which is a key",
                    hint="filter such rows out, or fill the column",
                    column=name,
                )
        super().write(batch)

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Merge the rows and move the mark, in one commit."""
        rows = self._last_rows(batches)
        with self._exclusive(), delta_errors(self.address.uri):
            table = self.address.open()
            app = app_id(self.ctx.lineage, self.ctx.sink_id, slot)
            found = applied(table, app) or 0
            if found != previous:
                raise MarkMoved(
                    f"{self.address.uri}, slot {slot}: the mark says epoch {found}, not {previous}",
                    hint="another attempt applied epochs of this sink, or the table was restored to an older version",
                    found=found,
                )
            failpoint("commit.during")
            self._merge(table, rows, app, epoch)
            failpoint("commit.during")
            self.address.sync_log()

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch in the mark of `slot`."""
        with self._exclusive(), delta_errors(self.address.uri):
            found = applied(self.address.open(), app_id(lineage, self.ctx.sink_id, slot))
        self.address.sync_log()
        return found

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left in this table."""
        if self._store is None:
            raise ValueError("the sink is not open as a committer")
        with self._exclusive(), delta_errors(self.address.uri):
            return marks_of(self.address.open(), self._store, job, list(range(_SLOTS)))

    def capabilities(self) -> SinkCapabilities:
        """Two-phase and recoverable; also idempotent by its keys."""
        return SinkCapabilities(
            durable_flush=True, two_phase=True, recovers_prepared=True, idempotent_by=tuple(self.keys)
        )

    def close(self) -> None:
        """Let go of what was not prepared."""
        super().close()
        self._store = self._lock = None

    def _last_rows(self, batches: Iterator[pa.RecordBatch]) -> pa.Table:
        """Return the last row of each key, x the table's types."""
        import polars as pl

        schema = stored_schema(self.ctx.schema)
        rows = pa.Table.from_batches([batch.cast(schema) for batch in batches], schema=schema)
        if not rows.num_rows:
            return rows
        keys = pl.DataFrame({name: pl.from_arrow(rows.column(name)) for name in self.keys}).with_row_index("_row")
        last = keys.group_by(list(self.keys), maintain_order=True).agg(pl.col("_row").max()).get_column("_row")
        return rows.take(pa.array(last.to_arrow()))

    def _merge(self, table: Any, rows: pa.Table, app: str, epoch: int) -> None:
        from deltalake import CommitProperties, Transaction

        properties = CommitProperties(app_transactions=[Transaction(app, epoch)], max_commit_retries=0)
        if not rows.num_rows:
            partitions = list(table.metadata().partition_columns)
            table.create_write_transaction([], "append", table.schema(), partitions, commit_properties=properties)
            return
        same = " AND ".join(f"target.{_quoted(name)} = source.{_quoted(name)}" for name in self.keys)
        merger = table.merge(
            rows, predicate=same, source_alias="source", target_alias="target", commit_properties=properties
        )
        merger.when_matched_update_all().when_not_matched_insert_all().execute()

    def _exclusive(self) -> threading.Lock:
        if self._lock is None:
            raise ValueError("the sink is not open as a committer")
        return self._lock


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
