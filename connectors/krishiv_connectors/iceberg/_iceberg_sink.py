"""Exactly-once appends: data files at each barrier, one commit of the catalog for an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_checkpoint import CommitOutcome, CommitScope, failpoint
from krishiv_connectors._errors import TableMismatch, UnencodableRow
from krishiv_connectors._sink import StickyError, TwoPhaseSink, refuse_newer
from krishiv_connectors.iceberg._catalog import CLIENT_LIBRARY, TableAddress
from krishiv_connectors.iceberg._commit import begin_epoch, problem_of, unfit_stage
from krishiv_connectors.iceberg._creation import make_table
from krishiv_connectors.iceberg._data_files import DataFiles, FileFormat, FileName, StagedData, list_staged, staged
from krishiv_connectors.iceberg._errors import IcebergMissing
from krishiv_connectors.iceberg._marks import EpochMark, applied, mark_key, marks_of
from krishiv_connectors.iceberg._partitioning import (
    Partitioning,
    check_partitions,
    spec_terms,
    unsupported_term,
)
from krishiv_connectors.iceberg._types import check_columns, stored_schema
from krishiv_guarantees import ConfigurationError, RetriableError, SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore, Committable, Mark, Prepared
    from krishiv_connectors._secrets import Secret
    from krishiv_connectors._sink import SinkContext

__all__ = ["IcebergSink"]


class IcebergSink(TwoPhaseSink):
    """Appends rows to an Iceberg table, exactly once: each epoch is one commit.

    Parameters
    ----------
    catalog : str or mapping
        The name of a catalog that pyiceberg's configuration knows, or its properties: ``{"type": "sql", "uri":
        "sqlite:///catalog.db", "warehouse": "file:///data"}``, ``{"type": "rest", "uri": ..., "token":
        Secret.from_env("TOKEN")}``; with ``"name"`` among them if it is not ``"default"``.
    table : str
        ``"namespace.name"``.
    partition_by : str or sequence of str
        Partition fields of a table that is made: columns (integers, text, booleans, dates, timestamps), or
        ``"year(column)"``, ``month``, ``day``, ``hour`` of dates and timestamps. Those of a table that exists have to
        be the same; without `partition_by` rows are written as the table is partitioned.
    create : bool
        Whether a table that is missing is made from the rows' columns, and its namespace with it.
    target_file_size : int
        Bytes at which a data file ends and the next begins.
    properties : mapping of str to str
        Of a table that is made, such as ``{"write.parquet.compression-codec": "snappy"}``.

    Notes
    -----
    The commit adds an epoch's files and sets the table property ``krishiv.<lineage>.<sink>``, and holds only if no
    other commit came between: whoever comes too late loads the table again and finds the epoch there, or not. Others
    may write to the table, compact it and expire its snapshots meanwhile. A table that was taken back to an older
    snapshot is recognised: the mark counts as long as the current snapshot descends from the one that brought it.

    Data files lie in ``<data>/krishiv/<lineage>/<sink>``, before and after their commit, and have Iceberg's field ids.
    What removes orphan files may remove those of a job that has stood still for longer than it is told to wait.

    Each epoch makes a snapshot, one without rows too. Expire old ones (``table.maintenance.expire_snapshots()``), or
    the table's metadata, which each commit writes anew, grows with every checkpoint.
    """

    commit_scope = CommitScope.EPOCH
    client_libraries = (CLIENT_LIBRARY,)

    _opened: _Opened | None = None

    def __init__(
        self,
        catalog: str | Mapping[str, Secret | str],
        table: str,
        partition_by: str | Sequence[str] = (),
        *,
        create: bool = True,
        target_file_size: int = 128 << 20,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.address = TableAddress(catalog, table)
        self.partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        self.create = create
        self.target_file_size = target_file_size
        self._properties = dict(properties or {})
        if target_file_size < 1:
            raise ConfigurationError("target_file_size is below 1", hint="give bytes: 128 << 20")

    # ---------------------------------------------------------------- before the job runs

    def check(self, schema: pa.Schema) -> None:
        """Raise if rows of `schema` cannot be stored, or the table does not take them or cannot be reached."""
        rows = stored_schema(schema)
        check_partitions(rows, self.partition_by)
        with self.address.opened() as catalog:
            table = self.address.find(catalog)
            if table is not None:
                self._fit(table, rows)
            elif not self.create:
                raise self._missing()

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process, epochs appear as a whole."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True)

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Make the table if it is missing, and get ready to write files (a slot's writer) or to commit."""
        rows = stored_schema(ctx.schema)
        catalog = self.address.open()
        try:
            table = self._table(catalog, rows)
            store = self.address.files(table)
            if ctx.slot is None:
                self._opened = _Opened(ctx, store, catalog=catalog)
                return
            self._opened = _Opened(ctx, store, writer=self._writer(ctx, ctx.slot, table, store, rows))
        except BaseException:
            catalog.close()
            raise
        catalog.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode `batch`, or hold it until it makes a large enough piece.

        Raises
        ------
        UnencodableRow
            If a column that may not be null has nulls.
        """
        if batch.num_rows == 0:
            return
        opened = self._open()
        with opened.sticky.guard():
            opened.slot_writer().write(batch)

    def prepare(self, epoch: int) -> bytes:
        """Finish the files and make them durable.

        Returns
        -------
        bytes
            JSON of `StagedData`: keys, sizes, digests, partitions and statistics of the files.
        """
        opened = self._open()
        with opened.sticky.guard():
            return opened.slot_writer().seal(epoch).encode()

    def close(self) -> None:
        """Let go of what was not prepared, and of the catalog."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.writer is not None:
            opened.writer.files.discard()
        if opened.catalog is not None:
            opened.catalog.close()

    # ---------------------------------------------------------------- the committer

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Add the listed files of all slots in one commit, which moves the mark."""
        try:
            return self._commit(self._open(), epoch, committables)
        except RetriableError as error:  # another commit was faster, or nobody knows: the next call looks
            return CommitOutcome.retry(error.message, min(error.after, _SOON))

    def _commit(self, opened: _Opened, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        table = self._load(opened)
        place, key = self.address.place(table), mark_key(opened.ctx.lineage, opened.ctx.sink_id)
        mark = applied(str(self.address), table, key)
        found = 0 if mark is None else mark.epoch
        if found >= epoch:
            return CommitOutcome.already_done()
        # New slots of another parallelism have no epoch before theirs: the sink's is the highest that any slot names.
        expected = max(committable.previous for committable in committables)
        if found < expected:
            return CommitOutcome.failed(f"the mark in {self.address} says epoch {found}, not {expected}")
        slots = [StagedData.decode(committable.payload) for committable in committables]
        problem = unfit_stage(table, slots, place)
        files = [file for slot in slots for file in slot.files]
        failpoint("commit.during")
        with self.address.errors():
            problem = problem or next(filter(None, (problem_of(opened.store, file, place) for file in files)), None)
            if problem is not None:
                return CommitOutcome.failed(f"epoch {epoch} was prepared otherwise: {problem}")
            token = max(committable.token for committable in committables)
            transaction = begin_epoch(table, slots, key, EpochMark(epoch, found, token, opened.ctx.job, 0, 0))
        failpoint("commit.during")
        with self.address.errors():
            transaction.commit_transaction()
        failpoint("commit.during")
        return CommitOutcome.done()

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Delete the data files of `prepared`."""
        opened = self._open()
        refuse_newer(prepared, opened.ctx.token)
        wanted = {(item.token, item.epoch, item.slot) for item in prepared}
        lowest = min((item.epoch for item in prepared), default=1)
        for name in list(staged(opened.store, opened.ctx.lineage, opened.ctx.sink_id, lowest - 1)):
            if (name.token, name.epoch, name.slot) in wanted:
                opened.store.delete(str(name))

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return what is staged above the mark of `lineage`."""
        opened = self._open()
        return list_staged(opened.store, lineage, opened.ctx.sink_id, self.last_applied(lineage, 0) or 0)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the newest epoch of `lineage` whose rows are in the table; the same for every slot."""
        opened = self._open()
        mark = applied(str(self.address), self._load(opened), mark_key(lineage, opened.ctx.sink_id))
        return None if mark is None else mark.epoch

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left in this table."""
        return marks_of(str(self.address), self._load(self._open()), job)

    # ---------------------------------------------------------------- the table

    def _table(self, catalog: Any, rows: pa.Schema) -> Any:
        """Return the table, made if it is missing, that takes `rows`."""
        table = self.address.find(catalog)
        if table is None:
            if not self.create:
                raise self._missing()
            make_table(self.address, catalog, rows, self.partition_by, self._properties)
            table = self.address.load(catalog)
        self._fit(table, rows)
        return table

    def _fit(self, table: Any, rows: pa.Schema) -> None:
        """Raise if rows do not fit into a table that exists."""
        version = table.metadata.format_version
        if version != _VERSION:
            raise self.address.unfit(
                f"format-version {version}",
                f"has format version {version}, and pyiceberg writes {_VERSION} as this sink needs it",
                f"write to a table of format version {_VERSION}",
            )
        terms = spec_terms(table)
        if self.partition_by and list(self.partition_by) != terms:
            raise TableMismatch(
                f"{self.address} is partitioned by {terms}, and partition_by={list(self.partition_by)}",
                hint="leave partition_by out to write as the table is",
                table=str(self.address),
            )
        check_columns(str(self.address), table.schema(), rows)
        term = unsupported_term(terms, rows.names)
        if term is not None:
            raise self.address.unfit(
                f"partition field {term}",
                f"is partitioned by {term}, which rows cannot be split by here",
                "partition it by columns, or by year, month, day or hour",
            )
        check_partitions(rows, terms)

    def _writer(self, ctx: SinkContext, slot: int, table: Any, store: CheckpointStore, rows: pa.Schema) -> _SlotWriter:
        format = FileFormat(table)
        named = partial(_named, ctx, slot)
        return _SlotWriter(
            place=str(self.address),
            empty=StagedData(str(table.metadata.table_uuid), self.address.place(table), table.spec().spec_id),
            rows=rows,
            columns=[field.name for field in table.schema().fields],
            splitting=Partitioning(rows, spec_terms(table)),
            format=format,
            files=DataFiles(store, format, named, self.target_file_size),
        )

    def _load(self, opened: _Opened) -> Any:
        return self.address.load(opened.catalog)

    def _missing(self) -> IcebergMissing:
        return IcebergMissing(
            f"there is no table {self.address}, and create=False",
            hint="make it first, or let the sink do it: create=True",
            table=str(self.address),
        )

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


_VERSION = 2
"""Of Iceberg's format: the one that has sequence numbers and that pyiceberg writes."""
_SOON = 0.1
"""Seconds after which a commit that another one preceded is tried again."""


def _named(ctx: SinkContext, slot: int, epoch: int, number: int) -> FileName:
    return FileName(ctx.lineage, ctx.sink_id, epoch, ctx.token, slot, number)


@dataclass
class _SlotWriter:
    """Rows of one slot on their way into files."""

    place: str
    empty: StagedData
    rows: pa.Schema
    columns: Sequence[str]
    splitting: Partitioning
    format: FileFormat
    files: DataFiles

    def write(self, batch: pa.RecordBatch) -> None:
        for partition, rows in self.splitting.split(batch.cast(self.rows)):
            self.files.write(partition, self._complete(rows))

    def seal(self, epoch: int) -> StagedData:
        return StagedData(self.empty.table, self.empty.place, self.empty.spec, self.files.seal(epoch))

    def _complete(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the table's columns, those that rows lack as nulls, x the types and field ids of its files."""
        columns: list[pa.Array] = []
        for name, stored in zip(self.columns, self.format.schema, strict=True):
            if name not in rows.schema.names:
                columns.append(pa.nulls(rows.num_rows, stored.type))
                continue
            column = rows.column(name)
            if column.null_count and not stored.nullable:
                raise UnencodableRow(
                    f"a row for {self.place} has no {name!r}, which may not be null there",
                    hint="filter such rows out, or fill the column",
                    column=name,
                )
            columns.append(column.cast(stored.type))
        return pa.RecordBatch.from_arrays(columns, schema=self.format.schema)


@dataclass
class _Opened:
    """What an open copy holds."""

    ctx: SinkContext
    store: CheckpointStore
    catalog: Any = None
    writer: _SlotWriter | None = None
    sticky: StickyError = field(default_factory=StickyError)

    def slot_writer(self) -> _SlotWriter:
        if self.writer is None:
            raise ValueError("a committer writes no rows")
        return self.writer
