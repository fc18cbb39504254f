"""Rows of a Delta table: a snapshot, and, if it is followed, what later versions add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._source import Source, Split
from krishiv_connectors.delta._delta_log import TableLog, check_readable
from krishiv_connectors.delta._delta_reader import DeltaReader
from krishiv_connectors.delta._table import CLIENT_LIBRARY, TableAddress, arrow_schema
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from krishiv_connectors._source import Reader, SourceContext
    from krishiv_connectors._storage import S3
    from krishiv_connectors.delta._delta_reader import DeltaPosition

__all__ = ["DeltaSource"]


class DeltaSource(Source["DeltaPosition"]):
    """Rows of a Delta table.

    Parameters
    ----------
    uri : str or path
        The table: a folder, or ``s3://bucket/prefix``.
    version : int, str or datetime, optional
        The snapshot to read: its number, or the one that held at a time (``"2026-01-01T00:00:00Z"``). Default: the
        newest when the job begins.
    start_version : int, optional
        No snapshot: only what this version and those after it add. Without `follow` up to the newest one when the job
        begins.
    follow : bool
        True: read what later versions add, for ever.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says.
    schema : pa.Schema, optional
        Columns to read; ones that a file lacks are null, and ones that the table gets later are passed over. Default:
        the table's; then a version that adds a column is an error.
    splits : int
        How many readers share the files, at most one a subtask.

    Notes
    -----
    A position is the version, the number of the file among its files, and the row. Data files never change, so
    reading goes on exactly there. A version that takes rows away (a delete, an update, an overwrite) is an error;
    compaction is passed over. A version's files are read in the order in which they were written, which need not be
    that of event time: give no `watermark` to a bounded read, or one whose delay covers a version.
    """

    client_libraries = (CLIENT_LIBRARY,)

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        version: int | str | datetime | None = None,
        start_version: int | None = None,
        follow: bool = False,
        storage: S3 | None = None,
        schema: pa.Schema | None = None,
        splits: int = 4,
    ) -> None:
        self.address = TableAddress(uri, storage)
        self.follow = follow
        self._version, self._start_version = version, start_version
        self._schema, self._frozen = schema, schema is None
        self._count = splits
        if version is not None and start_version is not None:
            raise ConfigurationError(
                "version= and start_version= together", hint="a snapshot, or what versions add: give one of them"
            )
        if splits < 1:
            raise ConfigurationError("splits is below 1", hint="give the number of readers")

    def __repr__(self) -> str:
        return f"DeltaSource({self.address.uri!r}{', follow=True' if self.follow else ''})"

    def schema(self) -> pa.Schema:
        """Return the columns given, or those of the table."""
        if self._schema is None:
            table = self._table()
            check_readable(self.address.uri, table)
            self._schema = pa.schema([field.with_nullable(True) for field in arrow_schema(table)])
        return self._schema

    def splits(self) -> Sequence[Split]:
        """Return the shares of the table's files; where they begin is decided now, and kept in checkpoints.

        Raises
        ------
        DeltaMissing
            If there is no table, or no such version.
        """
        table = self._table()
        check_readable(self.address.uri, table)
        newest = self.address.open().version()
        first = table.version() if self._start_version is None else self._start_version
        payload = {"last": None if self.follow else (first if self._start_version is None else newest)}
        start = {"version": first, "snapshot": self._start_version is None, "file": 0, "row": 0}
        return [Split(f"share-{n}-of-{self._count}", payload, start) for n in range(self._count)]

    def later_splits(self) -> Sequence[Split]:
        """Return nothing: the shares never change."""
        return ()

    def open(self, split: Split, position: DeltaPosition | None, ctx: SourceContext) -> Reader[DeltaPosition]:
        """Open a share."""
        _, number, _, count = split.id.split("-")
        schema = self.schema()
        names = schema.names if ctx.columns is None else ctx.columns or schema.names[:1]
        return DeltaReader(
            self.address,
            TableLog(self.address),
            share=(int(number), int(count)),
            position=position or split.start,
            last=split.payload["last"],
            schema=pa.schema([schema.field(name) for name in names]),
            known=schema if self._frozen else None,
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

    def _table(self) -> Any:
        version = self._version
        if version is None or isinstance(version, int):
            return self.address.open(version)
        table = self.address.open()
        table.load_as_version(version)
        return table
