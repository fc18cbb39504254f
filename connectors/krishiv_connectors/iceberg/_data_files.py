"""What one slot writes between two barriers: Parquet files in the table's data folder, one or more a partition."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_checkpoint import Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from krishiv_checkpoint import BlobWriter, CheckpointStore, StateFile
    from krishiv_connectors.iceberg._partitioning import PartitionValues

__all__ = ["DataFile", "DataFiles", "FileFormat", "FileName", "FileStatistics", "StagedData", "list_staged", "staged"]

_ROW_GROUP = 131_072
_HELD = 64 << 20
"""Bytes of rows held over all partitions before all are written."""
_OPEN = 64
"""Files open at the same time."""
_GROUP = 1_000
"""Epochs in a folder, so that no listing goes through all of them."""
_NAME = re.compile(r"([0-9a-f]{32})/([^/]+)/\d{9}/(\d{12})-(\d+)-(\d+)-(\d+)\.parquet")


class FileName(NamedTuple):
    """Whose a data file is: its name says it, and nobody else uses that name (P11)."""

    lineage: str
    sink: str
    epoch: int
    token: int
    slot: int
    number: int

    def __str__(self) -> str:
        name = f"{self.epoch:012d}-{self.token}-{self.slot}-{self.number}.parquet"
        return f"{_group(self.lineage, self.sink, self.epoch)}{name}"

    @classmethod
    def parse(cls, key: str) -> FileName | None:
        """Return what `key` says, or None if it is no data file's."""
        match = _NAME.fullmatch(key)
        return None if match is None else cls(match[1], match[2], *(int(match[group]) for group in range(3, 7)))


def _group(lineage: str, sink: str, epoch: int) -> str:
    """Return what the keys of the epochs around `epoch` begin with."""
    return f"{lineage}/{sink}/{epoch // _GROUP:09d}/"


class FileStatistics(msgspec.Struct, frozen=True):
    """What a manifest says about a file's columns, by field id; bounds in Iceberg's binary form."""

    record_count: int
    column_sizes: dict[int, int]
    value_counts: dict[int, int]
    null_value_counts: dict[int, int]
    nan_value_counts: dict[int, int]
    lower_bounds: dict[int, bytes]
    upper_bounds: dict[int, bytes]
    split_offsets: list[int]


class DataFile(msgspec.Struct, frozen=True):
    """A file that a slot prepared.

    Parameters
    ----------
    key : str
        In the table's store of data files.
    size : int
        Bytes.
    sha256 : str
    partition : tuple
        Values of the spec's fields.
    statistics : FileStatistics
    """

    key: str
    size: int
    sha256: str
    partition: tuple[int | str | bool | None, ...]
    statistics: FileStatistics


class StagedData(msgspec.Struct, frozen=True):
    """What a slot prepared in an epoch: the payload of its committable, as JSON.

    Parameters
    ----------
    table : str
        The table's UUID: another table of the same name is another table.
    place : str
        The location that keys are relative to.
    spec : int
        Id of the partition spec that the files were written for.
    files : tuple of DataFile
        Empty for an epoch without rows.
    """

    table: str
    place: str
    spec: int
    files: tuple[DataFile, ...] = ()

    def encode(self) -> bytes:
        """Return it as a payload."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> StagedData:
        """Read a payload."""
        return msgspec.json.decode(payload, type=cls)


class FileFormat:
    """The columns of a table's data files, with Iceberg's field ids, and what a manifest says about one.

    Parameters
    ----------
    table : pyiceberg.table.Table
    """

    def __init__(self, table: Any) -> None:
        from pyiceberg.io.pyarrow import compute_statistics_plan, parquet_path_to_id_mapping, schema_to_pyarrow
        from pyiceberg.schema import sanitize_column_names

        in_files = sanitize_column_names(table.schema())
        self.schema: pa.Schema = schema_to_pyarrow(in_files)
        self._plan = compute_statistics_plan(in_files, table.properties)
        self._ids = parquet_path_to_id_mapping(in_files)
        codec = table.properties.get("write.parquet.compression-codec", "zstd").lower()
        self._compression = "none" if codec == "uncompressed" else codec

    def writer(self, file: Any, footers: list[Any]) -> Any:
        """Return pyarrow's writer into `file`; at its end it adds the footer to `footers`."""
        return pq.ParquetWriter(
            file,
            self.schema,
            compression=self._compression,
            store_decimal_as_integer=True,  # as the specification asks
            metadata_collector=footers,
        )

    def statistics(self, footer: Any) -> FileStatistics:
        """Return what a manifest says about a file."""
        from pyiceberg.io.pyarrow import data_file_statistics_from_parquet_metadata

        found = data_file_statistics_from_parquet_metadata(footer, self._plan, self._ids)
        return FileStatistics(**found.to_serialized_dict())


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


class _Growing:
    """A data file that grows."""

    def __init__(self, store: CheckpointStore, key: str, format: FileFormat) -> None:
        self.stack = ExitStack()
        self.blob = self.stack.enter_context(store.writer(key))
        self.file = _BlobFile(self.blob)
        self._footers: list[Any] = []
        self.writer = format.writer(self.file, self._footers)

    def end(self) -> Any:
        """Write the footer, and return it."""
        self.writer.close()
        return self._footers[0]


class _Part:
    """One partition: rows that wait, and the file that is open, if one is."""

    def __init__(self, partition: PartitionValues) -> None:
        self.partition = partition
        self.waiting: list[pa.RecordBatch] = []
        self.rows = self.size = 0
        self.open: _Growing | None = None


class DataFiles:
    """The data files of one slot, epoch after epoch.

    Parameters
    ----------
    store : CheckpointStore
        The table's store of data files.
    format : FileFormat
    named : callable
        Gives the name from epoch and number.
    target : int
        Bytes at which the next file is begun.
    """

    def __init__(
        self, store: CheckpointStore, format: FileFormat, named: Callable[[int, int], FileName], target: int
    ) -> None:
        self._store, self._format, self._named, self._target = store, format, named, target
        self._parts: dict[PartitionValues, _Part] = {}
        self._held = 0
        self._ended: list[tuple[_Part, _Growing, Any]] = []

    def write(self, partition: PartitionValues, batch: pa.RecordBatch) -> None:
        """Take `batch`, x the files' columns, for a partition."""
        part = self._parts.get(partition)
        if part is None:
            part = self._parts[partition] = _Part(partition)
        part.waiting.append(batch)
        part.rows += batch.num_rows
        part.size += batch.nbytes
        self._held += batch.nbytes
        if part.rows >= _ROW_GROUP:
            self._flush(part)
        elif self._held >= _HELD:
            for each in list(self._parts.values()):
                self._flush(each)

    def seal(self, epoch: int) -> tuple[DataFile, ...]:
        """Make what was written since the last call durable, under names of `epoch`."""
        for part in list(self._parts.values()):
            self._flush(part)
            self._end(part)
        ended, self._ended, self._parts = self._ended, [], {}
        with ExitStack() as stack:
            for _, growing, _ in ended:
                stack.push(growing.stack)
            return tuple(
                self._file(growing.blob.finish(str(self._named(epoch, number))), part, footer)
                for number, (part, growing, footer) in enumerate(ended)
            )

    def discard(self) -> None:
        """Let go of what was not sealed."""
        for part in self._parts.values():
            if part.open is not None:
                part.open.stack.close()
        for _, growing, _ in self._ended:
            growing.stack.close()
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

    def _begin(self) -> _Growing:
        busy = [part for part in self._parts.values() if part.open is not None]
        if len(busy) >= _OPEN:
            self._end(busy[0])
        return _Growing(self._store, str(self._named(0, 0)), self._format)

    def _end(self, part: _Part) -> None:
        growing, part.open = part.open, None
        if growing is not None:
            self._ended.append((part, growing, growing.end()))

    def _file(self, blob: StateFile, part: _Part, footer: Any) -> DataFile:
        return DataFile(blob.key, blob.size, blob.sha256, part.partition, self._format.statistics(footer))


def staged(store: CheckpointStore, lineage: str, sink: str, applied: int) -> Iterator[FileName]:
    """Give the data files of epochs above `applied`."""
    epoch = applied + 1
    while True:
        names = [FileName.parse(key) for key in store.list(_group(lineage, sink, epoch))]
        yield from (name for name in names if name is not None and name.epoch > applied)
        if not names and epoch > applied + 1:
            return
        epoch += _GROUP


def list_staged(store: CheckpointStore, lineage: str, sink: str, applied: int) -> list[Prepared]:
    """Return what was prepared above `applied`, by its names."""
    found = {(name.token, name.epoch, name.slot) for name in staged(store, lineage, sink, applied)}
    return [Prepared(token, epoch, slot, b"") for token, epoch, slot in sorted(found)]
