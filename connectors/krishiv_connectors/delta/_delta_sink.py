"""What the Delta sinks share, and which of them is meant."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from krishiv_connectors._errors import TableMismatch, UnencodableRow
from krishiv_connectors._sink_family import SinkFamily
from krishiv_connectors.delta._delta_log import TableLog
from krishiv_connectors.delta._errors import DeltaUnavailable, delta_errors
from krishiv_connectors.delta._leftovers import removable
from krishiv_connectors.delta._table import CLIENT_LIBRARY, STAGING, TableAddress, arrow_schema, check_features
from krishiv_connectors.delta._types import check_columns, new_columns, stored_schema
from krishiv_connectors.files._partitions import HivePartitioning
from krishiv_guarantees import ConfigurationError, PlanError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors._storage import S3

__all__ = ["CHANGE", "DeltaSink", "TableFacts"]

Evolution = Literal["freeze", "add_columns"]
_TRIES = 5
CHANGE = "_op"
"""What a row does to its key: ``+I``, ``+U`` write it, ``-D`` deletes it, ``-U`` says what a ``+U`` replaces."""


class TableFacts(NamedTuple):
    """What a writer has to know of its table."""

    partitions: tuple[str, ...]
    required: tuple[str, ...]
    """Columns that may not be null."""


class DeltaSink(SinkFamily):
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
        last one of a key wins. A column ``_op`` is obeyed and not stored: ``-D`` deletes the row of its key.
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

    @classmethod
    def pick(cls, options: Mapping[str, Any]) -> type[Any]:
        """Return the class for `mode`."""
        return _class_for(options) if cls is DeltaSink else cls

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
        stored = self._stored(schema)
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
        for _ in range(_TRIES - 1):
            try:
                return self._compact()
            except DeltaUnavailable:
                continue  # somebody took away what was to be put together
        return self._compact()

    def vacuum(self, *, dry_run: bool = False) -> list[str]:
        """Delete data files of sinks that the table no longer has, once its retention is over. Safe while jobs write.

        Other vacuums do not look into the folder where these files lie: what `optimize`, a merge or a delete replaced
        stays there else. The retention is the table's ``delta.deletedFileRetentionDuration`` (a week by default), so
        that older versions can be read for as long.

        Parameters
        ----------
        dry_run : bool
            Only return what would go.

        Returns
        -------
        list of str
            Their paths in the table.
        """
        found = removable(self.address)
        store = self.address.files()
        for key in [] if dry_run else found:
            store.delete(key)
        return [f"{STAGING}/{key}" for key in found]

    # ---------------------------------------------------------------- what the sinks share

    def _compact(self) -> dict[str, Any]:
        table = self.address.open()
        before = table.version()
        with delta_errors(self.address.uri):
            found: dict[str, Any] = table.optimize.compact(target_size=self.target_file_size)
            table.update_incremental()
        TableLog(self.address).sync(before + 1, table.version(), files=True)
        return found

    def _stored(self, schema: pa.Schema) -> pa.Schema:
        """Return the table's columns for rows of `schema`: all but the one that says what a row does."""
        kept = [field for field in schema if self.mode != "upsert" or field.name != CHANGE]
        return stored_schema(pa.schema(kept))

    def _fit(self, table: Any, stored: pa.Schema) -> None:
        """Raise if rows do not fit into a table that exists."""
        uri, partitions = self.address.uri, tuple(table.metadata().partition_columns)
        check_features(uri, table, rewriting=self.mode == "upsert")
        if self.partition_by and self.partition_by != partitions:
            raise TableMismatch(
                f"{uri} is partitioned by {list(partitions)}, and partition_by={list(self.partition_by)}",
                hint="leave partition_by out to write as the table is",
                table=uri,
            )
        check_columns(uri, arrow_schema(table), stored, adding=self._adding, partitions=self.partition_by)

    def _prepare_table(self, schema: pa.Schema) -> Any:
        """Make the table, or add columns to it, and return it."""
        stored = self._stored(schema)
        table = self.address.make(stored, self.partition_by, self._configuration)
        self._fit(table, stored)
        added = new_columns(arrow_schema(table), stored)
        if added:
            import deltalake

            fields = deltalake.Schema.from_arrow(pa.schema([stored.field(name) for name in added])).fields
            with delta_errors(self.address.uri):
                table.alter.add_columns(fields)
            table = self.address.open()
        TableLog(self.address).sync(table.version(), table.version())
        return table

    def _staging(self) -> CheckpointStore:
        """Return the committer's store of data files and notes in the table."""
        store = self.address.files()
        self.address.check_storage(store)
        return store

    def _facts(self) -> TableFacts:
        """Return what a writer has to know of the table that is there, or will be."""
        table = self.address.find()
        if table is None:
            return TableFacts(self.partition_by, ())
        required = tuple(field.name for field in arrow_schema(table) if not field.nullable)
        return TableFacts(tuple(table.metadata().partition_columns), required)

    def _check_nulls(self, batch: pa.RecordBatch, names: Sequence[str], why: str) -> None:
        """Raise if a column of `names` has nulls: delta-rs would not."""
        for name in names:
            if batch.column(name).null_count:
                raise UnencodableRow(
                    f"a row for {self.address.uri} has no {name!r}, which {why}",
                    hint="filter such rows out, or fill the column",
                    column=name,
                )


def _class_for(options: Mapping[str, Any]) -> type[Any]:
    module, name = ("_append_sink", "AppendDeltaSink")
    if options.get("mode") == "upsert":
        module, name = ("_merge_sink", "MergeDeltaSink")
    found: type[Any] = getattr(import_module(f"krishiv_connectors.delta.{module}"), name)
    return found
