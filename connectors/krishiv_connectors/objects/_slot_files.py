"""What one slot writes between two barriers: Parquet files, one or more a partition, uploaded while they grow."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from krishiv_connectors.files._parquet_sink import ParquetFormat
from krishiv_connectors.objects._names import FileName, Folder, SealName
from krishiv_connectors.objects._records import PreparedSlot, UploadNote
from krishiv_connectors.objects._upload import Uploader, UploadingFile

if TYPE_CHECKING:
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.files._parquet_sink import Compression
    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["FileOptions", "SlotFiles"]

_HELD = 64 << 20
"""Bytes of rows held over all partitions before all are encoded."""
_ENCODED = 96 << 20
"""Bytes of encoded rows that wait for a whole part, over all files, before the largest file is ended."""
_OPEN = 64
"""Files open at the same time."""


class FileOptions:
    """How files are made.

    Parameters
    ----------
    row_group_rows, target_file_size, part_size : int
        Rows gathered for a row group; bytes at which a file ends; bytes of a part of an upload.
    """

    def __init__(self, compression: Compression, row_group_rows: int, target_file_size: int, part_size: int) -> None:
        self.compression: Compression = compression
        self.row_group_rows = row_group_rows
        self.target_file_size = target_file_size
        self.part_size = part_size


class _Part:
    """One partition: rows that wait, and the file that is open, if one is."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.waiting: list[pa.RecordBatch] = []
        self.rows = self.size = 0
        self.open: _Open | None = None


class _Open:
    """A Parquet file that grows."""

    def __init__(self, folder: str, file: UploadingFile, schema: pa.Schema, compression: Compression) -> None:
        self.folder = folder
        self.file = file
        self.rows = 0
        self._format = ParquetFormat(cast("Any", file), schema, compression)

    def write(self, rows: pa.Table) -> None:
        self._format.write(rows)
        self.rows += rows.num_rows

    def end(self) -> None:
        self._format.finish()


class SlotFiles:
    """The files of one slot, epoch after epoch.

    Parameters
    ----------
    bucket : Bucket
        Closed by its owner.
    schema : pa.Schema
        Columns of the files: partition columns are not among them.
    """

    def __init__(self, bucket: Bucket, ctx: SinkContext, slot: int, schema: pa.Schema, options: FileOptions) -> None:
        self._uploader = Uploader(bucket)
        self._ctx, self._slot, self._schema, self._options = ctx, slot, schema, options
        self._writer = uuid.uuid4().hex[:8]
        self._number = 0
        self._prepared = 0
        self._parts: dict[str, _Part] = {}
        self._held = 0
        self._ended: list[_Open] = []

    def write(self, folder: str, batch: pa.RecordBatch) -> None:
        """Take `batch`, x the files' columns, for a partition: ``column=value/`` for each of its columns."""
        part = self._parts.get(folder)
        if part is None:
            part = self._parts[folder] = _Part(folder)
        part.waiting.append(batch)
        part.rows += batch.num_rows
        part.size += batch.nbytes
        self._held += batch.nbytes
        if part.rows >= self._options.row_group_rows:
            self._encode(part)
        elif self._held >= _HELD:
            for each in list(self._parts.values()):
                self._encode(each)

    def seal(self, epoch: int) -> PreparedSlot:
        """Have everything written since the last call uploaded, and a note that says to which epoch it belongs."""
        for part in list(self._parts.values()):
            self._encode(part)
            self._end(part)
        ended, self._ended, self._parts = self._ended, [], {}
        for each in ended:
            self._send_rest(each, epoch, after=False)
        self._prepared = epoch
        if not ended:
            return PreparedSlot()
        note = UploadNote(tuple(each.file.note() for each in ended))
        noted = self._uploader.put(self._seal_key(epoch), note.encode())  # while the last parts are on their way
        files = tuple(each.file.finish(each.rows) for each in ended)
        noted.result()
        return PreparedSlot(files)

    def close(self) -> None:
        """Stop uploading. What was not prepared stays, invisible, until a recovery or the bucket's rules remove it."""
        self._parts, self._ended = {}, []
        self._uploader.close()

    def _encode(self, part: _Part) -> None:
        if not part.waiting:
            return
        rows = pa.Table.from_batches(part.waiting)
        self._held -= part.size
        part.waiting, part.rows, part.size = [], 0, 0
        opened = part.open
        if opened is None:
            opened = part.open = self._open(part)
        opened.write(rows)
        if opened.file.size >= self._options.target_file_size:
            self._roll(part)
        elif opened.file.waiting >= self._options.part_size:
            self._begin(opened, self._prepared, after=True)
            opened.file.send_full_parts()
        self._make_room()

    def _open(self, part: _Part) -> _Open:
        self._parts[part.folder] = self._parts.pop(part.folder)  # last opened, last in line for being ended
        busy = [each for each in self._parts.values() if each.open is not None]
        if len(busy) >= _OPEN:
            self._roll(busy[0])
        file = UploadingFile(self._uploader, self._options.part_size)
        return _Open(part.folder, file, self._schema, self._options.compression)

    def _make_room(self) -> None:
        """End the largest files if too much waits for parts to be full."""
        waiting = {part.folder: part.open.file.waiting for part in self._parts.values() if part.open is not None}
        while sum(waiting.values()) > _ENCODED:
            largest = max(waiting, key=lambda folder: waiting[folder])
            del waiting[largest]
            self._roll(self._parts[largest])

    def _roll(self, part: _Part) -> None:
        """End a file before the barrier: its epoch is not known yet, its name says after which one it is."""
        self._end(part)
        self._send_rest(self._ended[-1], self._prepared, after=True)

    def _end(self, part: _Part) -> None:
        opened, part.open = part.open, None
        if opened is not None:
            opened.end()
            self._ended.append(opened)

    def _send_rest(self, opened: _Open, epoch: int, *, after: bool) -> None:
        self._begin(opened, epoch, after=after)
        opened.file.send_rest()

    def _begin(self, opened: _Open, epoch: int, *, after: bool) -> None:
        if opened.file.begun:
            return
        ctx, slot = self._ctx, self._slot
        self._number += 1
        name = FileName(epoch, after, ctx.token, slot, self._writer, self._number, ctx.lineage, ctx.sink_id)
        opened.file.begin(f"{opened.folder}{name}")

    def _seal_key(self, epoch: int) -> str:
        name = SealName(epoch, self._ctx.token, self._slot)
        return f"{Folder(self._ctx.lineage, self._ctx.sink_id).prepared}{name}"
