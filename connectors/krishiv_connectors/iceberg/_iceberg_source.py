"""Rows of an Iceberg table: a snapshot, and, if it is followed, what later snapshots add."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_connectors._source import Source, Split
from krishiv_connectors.iceberg._catalog import CLIENT_LIBRARY, TableAddress
from krishiv_connectors.iceberg._iceberg_reader import IcebergReader
from krishiv_connectors.iceberg._snapshots import TableHistory
from krishiv_connectors.iceberg._types import readable_schema
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_connectors._secrets import Secret
    from krishiv_connectors._source import Reader, SourceContext
    from krishiv_connectors.iceberg._iceberg_reader import IcebergPosition

__all__ = ["IcebergSource"]


class IcebergSource(Source["IcebergPosition"]):
    """Rows of an Iceberg table.

    Parameters
    ----------
    catalog : str or mapping
        The name of a catalog that pyiceberg's configuration knows, or its properties, as `IcebergSink` takes them.
    table : str
        ``"namespace.name"``.
    snapshot_id : int, optional
        The snapshot to read. Default: the current one when the job begins.
    start_snapshot_id : int, optional
        No snapshot: only what those after this one add. Needs `follow`.
    follow : bool
        True: read what later snapshots add, for ever.
    schema : pa.Schema, optional
        Columns to read. Default: all that the table has.
    splits : int
        How many readers share the files, at most one a subtask.

    Notes
    -----
    A position is the snapshot, the number of the file among its files by path, and the row. Data files never change, so
    reading goes on exactly there. A snapshot that takes rows away (a delete, an overwrite) is an error for a job that
    follows; compaction is passed over. Files are read by path, not by time: give no `watermark` to a bounded read, or
    one whose delay covers a snapshot. Rows that position deletes name are left out; equality deletes are refused, as
    pyiceberg does not read them.
    """

    client_libraries = (CLIENT_LIBRARY,)

    def __init__(
        self,
        catalog: str | Mapping[str, Secret | str],
        table: str,
        *,
        snapshot_id: int | None = None,
        start_snapshot_id: int | None = None,
        follow: bool = False,
        schema: pa.Schema | None = None,
        splits: int = 4,
    ) -> None:
        self.address = TableAddress(catalog, table)
        self.follow = follow
        self._snapshot, self._start = snapshot_id, start_snapshot_id
        self._schema = schema
        self._count = splits
        if start_snapshot_id is not None and (snapshot_id is not None or not follow):
            raise ConfigurationError(
                "start_snapshot_id= with snapshot_id=, or without follow=True",
                hint="a snapshot, or what later ones add: give one of them",
            )
        if splits < 1:
            raise ConfigurationError("splits is below 1", hint="give the number of readers")

    def __repr__(self) -> str:
        return f"IcebergSource({self.address!r}{', follow=True' if self.follow else ''})"

    def schema(self) -> pa.Schema:
        """Return the columns given, or those of the snapshot or table."""
        if self._schema is None:
            with closing(TableHistory(self.address)) as history:
                if self._snapshot is not None:
                    history.check(self._snapshot)
                self._schema = readable_schema(history.schema(self._snapshot))
        return self._schema

    def splits(self) -> Sequence[Split]:
        """Return the shares of the table's files; where they begin is decided now, and kept in checkpoints.

        Raises
        ------
        IcebergMissing
            If there is no table, or no such snapshot.
        """
        with closing(TableHistory(self.address)) as history:
            for snapshot in (self._snapshot, self._start):
                if snapshot is not None:
                    history.check(snapshot)
            if self._start is not None:
                start: IcebergPosition = {"snapshot": self._start, "whole": False, "file": None, "row": 0}
            else:
                first = history.newest() if self._snapshot is None else self._snapshot
                start = {"snapshot": first, "whole": True, "file": 0, "row": 0}
        return [Split(f"share-{n}-of-{self._count}", {}, start) for n in range(self._count)]

    def later_splits(self) -> Sequence[Split]:
        """Return nothing: the shares never change."""
        return ()

    def open(self, split: Split, position: IcebergPosition | None, ctx: SourceContext) -> Reader[IcebergPosition]:
        """Open a share."""
        _, number, _, count = split.id.split("-")
        schema = self.schema()
        names = schema.names if ctx.columns is None else ctx.columns or schema.names[:1]
        history = ctx.shared.setdefault(f"iceberg {self.address}", TableHistory(self.address))
        assert isinstance(history, TableHistory)
        return IcebergReader(
            self.address,
            history,
            share=(int(number), int(count)),
            position=position or split.start,
            follow=self.follow,
            pinned=self._snapshot,
            schema=pa.schema([schema.field(name) for name in names]),
            batch_rows=ctx.batch_rows,
        )

    def capabilities(self) -> SourceCapabilities:
        """Replayable with exact positions; bounded unless it follows."""
        return SourceCapabilities(
            bounded=not self.follow, replayable=True, exact_positions=True, ordered_replay=True, discovers_splits=False
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it follows."""
        return {"follow": self.follow}
