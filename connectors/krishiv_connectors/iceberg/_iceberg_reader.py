"""Reads one share of an Iceberg table's files, snapshot after snapshot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import FileVanished, SchemaChanged, UnreadableFile
from krishiv_connectors._source import Reader
from krishiv_connectors.files._read_ahead import ReadAhead
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_connectors.iceberg._catalog import TableAddress
    from krishiv_connectors.iceberg._snapshots import TableHistory

__all__ = ["IcebergPosition", "IcebergReader"]

IcebergPosition = dict[str, Any]
"""``{"snapshot", "whole", "file", "row"}``: whether a snapshot's whole content is read or what it adds, and the next
row of which of its files. When the snapshot has been read to its end, ``"file"`` is null."""

_LOOK = 1.0
"""Seconds between two looks for a new snapshot."""


class IcebergReader(Reader[IcebergPosition]):
    """Reads every `share`-th file.

    Parameters
    ----------
    share : (int, int)
        Of how many shares which one.
    follow : bool
        False: only the snapshot of the position.
    pinned : int or None
        The snapshot whose columns are meant; None: the table's.
    schema : pa.Schema
        The columns to return.
    """

    def __init__(
        self,
        address: TableAddress,
        history: TableHistory,
        *,
        share: tuple[int, int],
        position: IcebergPosition,
        follow: bool,
        pinned: int | None,
        schema: pa.Schema,
        batch_rows: int,
    ) -> None:
        self._address, self._history = address, history
        self._share, self._follow, self._pinned = share, follow, pinned
        self._schema, self._batch_rows = schema, batch_rows
        self._snapshot: int | None = position["snapshot"]
        self._whole: bool = position["whole"]
        self._number: int | None = position["file"]
        self._row: int = position["row"]
        self._tasks: list[Any] | None = None
        self._ahead: ReadAhead[pa.RecordBatch] | None = None
        self._next_look = 0.0

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows."""
        if self.finished or not self._open_file():
            return None
        assert self._ahead is not None
        batch = self._ahead.take()
        if batch is not None:
            self._row += batch.num_rows
            return batch
        if self._ahead.exhausted:
            self._close_file()
            self._number, self._row = (self._number or 0) + 1, 0
        return None

    def position(self) -> IcebergPosition:
        """Return where the next row is."""
        return {"snapshot": self._snapshot, "whole": self._whole, "file": self._number, "row": self._row}

    @property
    def finished(self) -> bool:
        """Whether the snapshot has been read and no other is waited for."""
        return self._number is None and not self._follow

    def close(self) -> None:
        """Stop decoding."""
        self._close_file()

    def _open_file(self) -> bool:
        """Make sure that a file of this share is open; False if there is none now."""
        if self._ahead is not None:
            return True
        if self._number is None and not self._next_snapshot():
            return False
        if self._tasks is None:
            self._tasks = self._find_tasks()
        number, count = self._share
        at = self._number or 0
        while at < len(self._tasks) and at % count != number:
            at += 1
        if at >= len(self._tasks):
            self._number, self._row, self._tasks = None, 0, None
            return False
        self._number = at
        decoded = self._decode(self._tasks[at], self._row)
        self._ahead = ReadAhead(decoded, f"read {self._tasks[at].file.file_path}")
        return True

    def _next_snapshot(self) -> bool:
        """Go on to the next snapshot; False if it is not there yet."""
        now = time.monotonic()
        following = None
        if now >= self._next_look:
            try:
                following = self._history.after(self._snapshot)
                if following is None:
                    self._history.refresh()
                    following = self._history.after(self._snapshot)
            except RetriableError:
                following = None
            if following is None:
                self._next_look = now + _LOOK
        if following is None:
            return False
        self._snapshot, self._whole, self._number, self._row = following, False, 0, 0
        return True

    def _find_tasks(self) -> list[Any]:
        if self._whole or self._snapshot is None:
            return self._history.whole(self._snapshot)
        return self._history.added(self._snapshot)

    def _close_file(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    # ---------------------------------------------------------------- on the thread that decodes

    def _decode(self, task: Any, row: int) -> Generator[pa.RecordBatch]:
        with self._address.errors():
            try:
                for batch in self._batches(task):
                    if row >= batch.num_rows:
                        row -= batch.num_rows
                        continue
                    rows, row = batch.slice(row), 0
                    for start in range(0, rows.num_rows, self._batch_rows):
                        yield self._cast(rows.slice(start, self._batch_rows), task)
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(task, error) from error

    def _batches(self, task: Any) -> Generator[pa.RecordBatch]:
        """Give a file's rows without those that delete files name, as pyiceberg reads them."""
        from pyiceberg.expressions import AlwaysTrue
        from pyiceberg.io.pyarrow import (
            ArrowScan,
            _read_all_delete_files,  # pyright: ignore[reportPrivateUsage]
        )

        table = self._history.table
        scan = ArrowScan(table.metadata, table.io, self._columns(task), AlwaysTrue())
        deletes = _read_all_delete_files(table.io, [task])
        # What is public of it holds all rows of a file in memory.
        batches = scan._record_batches_from_scan_tasks_and_deletes  # pyright: ignore[reportPrivateUsage]
        yield from batches([task], deletes)

    def _columns(self, task: Any) -> Any:
        try:
            return self._history.schema(self._pinned).select(*self._schema.names)
        except ValueError as error:
            raise self._changed(task, error) from error

    def _cast(self, batch: pa.RecordBatch, task: Any) -> pa.RecordBatch:
        try:
            return batch.select(self._schema.names).cast(self._schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise self._changed(task, error) from error

    def _changed(self, task: Any, error: Exception) -> SchemaChanged:
        return SchemaChanged(
            f"{task.file.file_path} of {self._address} has other columns: {str(error).splitlines()[0]}",
            hint="the table's columns were changed: read what came before and after by jobs of their own",
            path=task.file.file_path,
            column="",
        )

    def _unreadable(self, task: Any, error: Exception) -> Exception:
        place = f"{task.file.file_path}"
        if isinstance(error, FileNotFoundError):
            return FileVanished(
                f"{place!r} of snapshot {self._snapshot} of {self._address} is gone",
                hint="its snapshot was expired: keep snapshots longer than a job may stand still; or begin anew with "
                'restore="none" and another output',
                path=place,
            )
        return UnreadableFile(
            f"{place!r} cannot be read: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            hint="see that the storage answers, then run the job again: it goes on from its last checkpoint",
            path=place,
        )
