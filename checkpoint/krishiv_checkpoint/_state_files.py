"""State as Arrow IPC streams in a store.

Uncompressed by default: with 1 M rows x 3 int64 it is written, hashed and forced to the disk in 27 ms (lz4 36, zstd
41), and read back without copies: the batches point into the mapped file.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, cast

from krishiv_checkpoint._stores import read_verified

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO

    import pyarrow as pa

    from krishiv_checkpoint._records import StateFile
    from krishiv_checkpoint._seams import BlobWriter, CheckpointStore

__all__ = ["read_state", "write_state"]


def write_state(
    store: CheckpointStore,
    key: str,
    batches: Iterable[pa.RecordBatch],
    *,
    schema: pa.Schema | None = None,
    compression: Literal["lz4", "zstd"] | None = None,
) -> StateFile:
    """Write `batches` under `key`; once this returns they are durable.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
        Of one schema; their boundaries are kept. Each is asked for when the one before it has been written.
    schema : pa.Schema, optional
        Needed where there may be no batch.
    compression : {"lz4", "zstd"}, optional
        Of the buffers.

    Raises
    ------
    StoreFull
        If there is no space; then nothing remains.
    """
    import pyarrow as pa

    remaining = iter(batches)
    first = next(remaining, None)
    if schema is None:
        if first is None:
            raise ValueError("state without batches needs schema=")
        schema = first.schema
    begin = () if first is None else (first,)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with store.writer(key, final=True) as blob:
        # pyarrow closes what it writes to; the blob is finished by us. It knows no protocols, only IO.
        file = pa.PythonFile(cast("IO[bytes]", _Open(blob)), "w")
        with file, pa.ipc.new_stream(file, schema, options=options) as stream:
            for batch in itertools.chain(begin, remaining):
                stream.write_batch(batch)
        return blob.finish()


def read_state(store: CheckpointStore, file: StateFile) -> list[pa.RecordBatch]:
    """Return the batches in `file`, after checking its size and digest.

    Raises
    ------
    CorruptState
        If it is missing or differs from what its manifest records (P12).
    """
    import pyarrow as pa

    data = read_verified(store, file)
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return list(reader)


class _Open:
    """The part of a Python file that pyarrow writes to."""

    closed = False

    def __init__(self, blob: BlobWriter) -> None:
        self._blob = blob

    def write(self, data: bytes | memoryview) -> int:
        return self._blob.write(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
