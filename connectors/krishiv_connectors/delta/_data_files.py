"""What one slot writes between two barriers: Parquet files in the table's staging folder, one or more a partition."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_checkpoint import Prepared
from krishiv_connectors.delta._stats import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from krishiv_checkpoint import BlobWriter, CheckpointStore, StateFile

__all__ = ["DataFile", "DataFiles", "FileName", "StagedData", "list_staged", "staged_keys"]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_ROW_GROUP = 131_072
_HELD = 64 << 20
"""Bytes of rows held over all partitions before all are written."""
_OPEN = 64
"""Files open at the same time."""
_GROUP = 1_000
"""Epochs in a folder, so that no listing goes through all of them."""
_NAME = re.compile(r"([0-9a-f]{32})/([^/]+)/\d{9}/(.*/|)(\d{12})-(\d+)-(\d+)-(\d+)\.parquet")
_EMPTY = re.compile("=(?=/)")


class FileName(NamedTuple):
    """Whose a data file is: its name says it, and nobody else uses that name (P11).

    `folder` holds the values of partition columns, ``column=value/`` for each: some readers look there for them, and
    not in the log.
    """

    lineage: str
    sink: str
    folder: str
    epoch: int
    token: int
    slot: int
    number: int

    def __str__(self) -> str:
        name = f"{self.epoch:012d}-{self.token}-{self.slot}-{self.number}.parquet"
        return f"{group_prefix(self.lineage, self.sink, self.epoch)}{self.folder}{name}"

    @classmethod
    def parse(cls, key: str) -> FileName | None:
        """Return what `key` says, or None if it is no data file's."""
        match = _NAME.fullmatch(key)
        return (
            None if match is None else cls(match[1], match[2], match[3], *(int(match[group]) for group in range(4, 8)))
        )


def group_prefix(lineage: str, sink: str, epoch: int) -> str:
    """Return what the keys of the epochs around `epoch` begin with."""
    return f"{lineage}/{sink}/{epoch // _GROUP:09d}/"


class DataFile(msgspec.Struct, frozen=True):
    """A file that a slot prepared.

    Parameters
    ----------
    key : str
        In the table's staging folder.
    size : int
        Bytes.
    sha256 : str
    partition : dict of str to str or None
        Values of the partition columns, as the log writes them.
    stats : str
        JSON.
    """

    key: str
    size: int
    sha256: str
    partition: dict[str, str | None]
    stats: str


class StagedData(msgspec.Struct, frozen=True):
    """What a slot prepared in an epoch: the payload of its committable, as JSON.

    Parameters
    ----------
    columns : str
        Of the rows, partition columns included: a schema as Delta writes it.
    """

    files: tuple[DataFile, ...] = ()
    columns: str = ""

    def encode(self) -> bytes:
        """Return it as a payload."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> StagedData:
        """Read a payload."""
        return msgspec.json.decode(payload, type=cls)


class _BlobFile(io.RawIOBase):
    """A blob of the store in the shape that pyarrow writes to."""

    def __init__(self, blob: BlobWriter) -> None:
        super().__init__()
        self._blob = blob
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        with memoryview(data).cast("B") as view:
            self._blob.write(view)
            self.size += view.nbytes
            return view.nbytes


class _Open:
    """A data file that grows."""

    def __init__(self, store: CheckpointStore, key: str, schema: pa.Schema) -> None:
        self.stack = ExitStack()
        self.blob = self.stack.enter_context(store.writer(key))
        self.file = _BlobFile(self.blob)
        self._footers: list[Any] = []
        self.writer = pq.ParquetWriter(self.file, schema, compression="snappy", metadata_collector=self._footers)

    def end(self) -> str:
        """Write the footer; return its statistics."""
        self.writer.close()
        return statistics(self._footers[0])


class _Part:
    """One partition: rows that wait, and the file that is open, if one is."""

    def __init__(self, folder: str) -> None:
        self.folder = _EMPTY.sub(f"={_NULL}", folder)  # an empty text is null to Delta
        self.partition = _values(self.folder)
        self.waiting: list[pa.RecordBatch] = []
        self.rows = self.size = 0
        self.open: _Open | None = None


class DataFiles:
    """The data files of one slot, epoch after epoch.

    Parameters
    ----------
    store : CheckpointStore
        The table's staging folder.
    schema : pa.Schema
        Columns of the files: the partition columns are not among them.
    named : callable
        Gives the name from folder, epoch and number.
    target : int
        Bytes at which the next file is begun.
    columns : str
        What `StagedData` says of the rows.
    """

    def __init__(
        self,
        store: CheckpointStore,
        schema: pa.Schema,
        named: Callable[[str, int, int], FileName],
        target: int,
        columns: str = "",
    ) -> None:
        self._store, self._schema, self._named, self._target, self._columns = store, schema, named, target, columns
        self._parts: dict[str, _Part] = {}
        self._held = 0
        self._ended: list[tuple[_Part, _Open, str]] = []

    def write(self, folder: str, batch: pa.RecordBatch) -> None:
        """Take `batch`, x the files' columns, for a partition: ``column=value/`` for each of its columns."""
        part = self._parts.get(folder)
        if part is None:
            part = self._parts[folder] = _Part(folder)
        part.waiting.append(batch)
        part.rows += batch.num_rows
        part.size += batch.nbytes
        self._held += batch.nbytes
        if part.rows >= _ROW_GROUP:
            self._flush(part)
        elif self._held >= _HELD:
            for each in list(self._parts.values()):
                self._flush(each)

    def seal(self, epoch: int) -> StagedData:
        """Make what was written since the last call durable, under names of `epoch`."""
        for part in list(self._parts.values()):
            self._flush(part)
            self._end(part)
        ended, self._ended, self._parts = self._ended, [], {}
        with ExitStack() as stack:
            for _, opened, _ in ended:
                stack.push(opened.stack)
            files = [
                _file(opened.blob.finish(str(self._named(part.folder, epoch, number))), part, stats)
                for number, (part, opened, stats) in enumerate(ended)
            ]
        return StagedData(tuple(files), self._columns)

    def discard(self) -> None:
        """Let go of what was not sealed."""
        for part in self._parts.values():
            if part.open is not None:
                part.open.stack.close()
        for _, opened, _ in self._ended:
            opened.stack.close()
        self._parts, self._ended = {}, []

    def _flush(self, part: _Part) -> None:
        if not part.waiting:
            return
        rows = pa.Table.from_batches(part.waiting)
        self._held -= part.size
        part.waiting, part.rows, part.size = [], 0, 0
        if part.open is None:
            part.open = self._begin()
        part.open.writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        if part.open.file.size >= self._target:
            self._end(part)

    def _begin(self) -> _Open:
        busy = [part for part in self._parts.values() if part.open is not None]
        if len(busy) >= _OPEN:
            self._end(busy[0])
        return _Open(self._store, str(self._named("", 0, 0)), self._schema)

    def _end(self, part: _Part) -> None:
        opened, part.open = part.open, None
        if opened is not None:
            self._ended.append((part, opened, opened.end()))


def _file(blob: StateFile, part: _Part, stats: str) -> DataFile:
    return DataFile(blob.key, blob.size, blob.sha256, part.partition, stats)


def _values(folder: str) -> dict[str, str | None]:
    """Return the values of a partition from its folder."""
    pairs = (piece.partition("=") for piece in folder.split("/") if piece)
    return {unquote(name): None if value == _NULL else unquote(value) for name, _, value in pairs}


def staged_keys(store: CheckpointStore, lineage: str, sink: str, applied: int) -> Iterator[FileName]:
    """Give the data files of epochs above `applied`."""
    epoch = applied + 1
    while True:
        names = [FileName.parse(key) for key in store.list(group_prefix(lineage, sink, epoch))]
        yield from (name for name in names if name is not None and name.epoch > applied)
        if not names and epoch > applied + 1:
            return
        epoch += _GROUP


def list_staged(store: CheckpointStore, lineage: str, sink: str, applied: int) -> list[Prepared]:
    """Return what was prepared above `applied`, by its names."""
    found = {(name.token, name.epoch, name.slot) for name in staged_keys(store, lineage, sink, applied)}
    return [Prepared(token, epoch, slot, b"") for token, epoch, slot in sorted(found)]
