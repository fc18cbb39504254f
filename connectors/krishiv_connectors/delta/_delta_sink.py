"""What the Delta sinks share, and which of them is meant."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa

from krishiv_checkpoint import KeyExists, Mark
from krishiv_connectors._errors import TableMismatch
from krishiv_connectors._sink import Sink
from krishiv_connectors.delta._errors import delta_errors
from krishiv_connectors.delta._table import CLIENT_LIBRARY, TableAddress, arrow_schema, check_features
from krishiv_connectors.delta._types import check_columns, new_columns, stored_schema
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_guarantees import ConfigurationError, PlanError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors._storage import S3
    from krishiv_guarantees import SinkCapabilities

__all__ = ["DeltaSink"]

Evolution = Literal["freeze", "add_columns"]


class DeltaSink(Sink):
    """Rows into a Delta table, exactly once. `DeltaSink` picks the class by `mode`.

    Parameters
    ----------
    uri : str or path
        The table: a folder, or ``s3://bucket/prefix``. Made from the rows' columns if it is missing.
    partition_by : str or sequence of str
        Partition columns: integers, text, booleans or dates. Those of a table that exists have to be the same.
    mode : "append" or "upsert"
        ``"append"``: data files are written while rows come; a checkpoint's are added in one commit of the log.
        ``"upsert"``: rows wait in the checkpoint store, and are merged by `keys` in one commit; of an epoch's rows the
        last one of a key wins.
    keys : str or sequence of str
        Columns that identify a row, for ``mode="upsert"``; never null.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says.
    schema_evolution : "freeze" or "add_columns"
        Whether columns that the table lacks are an error, or are added to it when the job starts.
    target_file_size : int
        Bytes at which a data file ends and the next begins.
    configuration : mapping of str to str
        Properties of a table that is made: ``{"delta.logRetentionDuration": "interval 7 days"}``.

    Notes
    -----
    Each commit carries an application transaction, ``krishiv/<lineage>/<sink>`` with the epoch as its version, which is
    read before and refused by the log if another commit moved it meanwhile: that makes it exactly once, and survives
    compaction, checkpoints of the log and vacuum. Other writers may append to the table at the same time.

    Data files lie in ``<table>/_staging``, before and after their commit; vacuum does not look there, so it cannot
    remove what waits for its commit.
    """

    client_libraries = (CLIENT_LIBRARY,)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Pick the class."""
        return object.__new__(_class_for(options) if cls is DeltaSink else cls)

    def __init__(
        self,
        uri: str | os.PathLike[str],
        partition_by: str | Sequence[str] = (),
        *,
        mode: Literal["append", "upsert"] = "append",
        keys: str | Sequence[str] = (),
        storage: S3 | None = None,
        schema_evolution: Evolution = "freeze",
        target_file_size: int = 128 << 20,
        configuration: Mapping[str, str] | None = None,
    ) -> None:
        self.address = TableAddress(uri, storage)
        self.mode = mode
        self.partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)
        self.target_file_size = target_file_size
        self._adding = schema_evolution == "add_columns"
        self._configuration = dict(configuration or {})
        if mode not in ("append", "upsert") or bool(self.keys) != (mode == "upsert"):
            raise ConfigurationError(
                f"mode={mode!r} with keys={list(self.keys)}",
                hint='mode="append" without keys, or mode="upsert" with the columns that identify a row',
            )
        if schema_evolution not in ("freeze", "add_columns"):
            raise ConfigurationError(f"schema_evolution={schema_evolution!r}", hint='"freeze" or "add_columns"')
        if target_file_size < 1:
            raise ConfigurationError("target_file_size is below 1", hint="give bytes: 128 << 20")

    def check(self, schema: pa.Schema) -> None:
        """Raise if rows of `schema` cannot be stored, or the table does not take them or cannot be reached."""
        stored = stored_schema(schema)
        if self.partition_by:
            HivePartitioning(stored, self.partition_by)
        missing = [name for name in self.keys if name not in stored.names]
        if missing:
            raise PlanError(
                f"keys name {missing[0]!r}, which is not a column of the output",
                hint=f"its columns are {', '.join(stored.names)}",
                column=missing[0],
            )
        table = self.address.find()
        if table is not None:
            self._fit(table, stored)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode."""
        return {"mode": self.mode}

    def optimize(self) -> dict[str, Any]:
        """Put small files of the table together, in one commit; the marks of epochs stay. Safe while jobs write.

        Returns
        -------
        dict
            delta-rs's figures.
        """
        with delta_errors(self.address.uri):
            found: dict[str, Any] = self.address.open().optimize.compact()
        self.address.sync_log()
        return found

    # ---------------------------------------------------------------- what the subclasses do

    def open(self, ctx: SinkContext) -> None:
        """Open the table."""
        raise NotImplementedError

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        raise NotImplementedError

    def flush(self) -> None:
        """Do nothing: `prepare` makes rows durable."""
        raise NotImplementedError

    def capabilities(self) -> SinkCapabilities:
        """Return what the picked class can do."""
        raise NotImplementedError

    # ---------------------------------------------------------------- what the sinks share

    def _fit(self, table: Any, stored: pa.Schema) -> None:
        """Raise if rows do not fit into a table that exists."""
        uri, partitions = self.address.uri, tuple(table.metadata().partition_columns)
        check_features(uri, table)
        if self.partition_by and self.partition_by != partitions:
            raise TableMismatch(
                f"{uri} is partitioned by {list(partitions)}, and partition_by={list(self.partition_by)}",
                hint="leave partition_by out to write as the table is",
                table=uri,
            )
        check_columns(uri, arrow_schema(table), stored, adding=self._adding, partitions=self.partition_by)

    def _prepare_table(self, schema: pa.Schema) -> Any:
        """Make the table, or add columns to it, and return it."""
        stored = stored_schema(schema)
        table = self.address.make(stored, self.partition_by, self._configuration)
        self._fit(table, stored)
        added = new_columns(arrow_schema(table), stored)
        if added:
            import deltalake

            fields = deltalake.Schema.from_arrow(pa.schema([stored.field(name) for name in added])).fields
            with delta_errors(self.address.uri):
                table.alter.add_columns(fields)
            self.address.sync_log()
        return self.address.open() if added else table

    def partitions(self) -> tuple[str, ...]:
        """Return the partition columns that the table has, or will have."""
        table = self.address.find()
        return self.partition_by if table is None else tuple(table.metadata().partition_columns)


def register(store: CheckpointStore, ctx: SinkContext) -> None:
    """Note in the table that a lineage of a job writes there, before it does: marks are found by it (P15)."""
    try:
        store.create(f"jobs/{ctx.job}/{ctx.lineage}.{ctx.sink_id}", b"")
    except KeyExists:
        return


def registered(store: CheckpointStore, job: str) -> list[tuple[str, str]]:
    """Return the (lineage, sink) pairs of a job that may have written to the table."""
    prefix = f"jobs/{job}/"
    names = (key.removeprefix(prefix).partition(".") for key in store.list(prefix))
    return [(lineage, sink) for lineage, _, sink in names]


def app_id(lineage: str, sink: str, slot: int | None = None) -> str:
    """Return the id of the application transaction that carries the epoch."""
    return f"krishiv/{lineage}/{sink}" + ("" if slot is None else f"/{slot}")


def applied(table: Any, app: str) -> int | None:
    """Return the epoch in a table's mark, as the table was loaded."""
    version: int | None = table.transaction_version(app)
    return version


def marks_of(table: Any, store: CheckpointStore, job: str, slots: Sequence[int | None]) -> list[Mark]:
    """Return the marks that a job left in a table."""
    found: list[Mark] = []
    for lineage, sink in registered(store, job):
        for slot in slots:
            epoch = applied(table, app_id(lineage, sink, slot))
            if epoch is not None:
                found.append(Mark(lineage, job, slot or 0, epoch))
    return found


def _class_for(options: Mapping[str, Any]) -> type[Any]:
    module, name = (
        ("_merge_sink", "MergeDeltaSink")
        if options.get("mode") == "upsert"
        else (
            "_append_sink",
            "AppendDeltaSink",
        )
    )
    found: type[Any] = getattr(import_module(f"krishiv_connectors.delta.{module}"), name)
    return found
