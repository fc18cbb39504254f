"""Where blocks of rows are kept between arrival and use: the one seam between operators and state backends.

A block is an immutable Arrow batch. `MemoryBlocks` keeps them as they are; `RocksBlocks` keeps the newest in memory up
to a budget and the others in RocksDB as Arrow IPC. Snapshots are made of the rows, so they are the same for both.
"""

from __future__ import annotations

import shutil
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from krishiv_checkpoint import StoreFull

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["BlockStore", "MemoryBlocks", "RocksBlocks"]

_LEAST_BUFFER, _MOST_BUFFER = 64 << 10, 64 << 20


class BlockStore(Protocol):
    """Keeps batches by number. Used by one task's thread; `get` also by the snapshot thread."""

    def put(self, batch: pa.RecordBatch) -> int:
        """Keep `batch`; returns its number."""
        ...

    def get(self, block: int) -> pa.RecordBatch:
        """Return the batch kept under `block`."""
        ...

    def drop(self, block: int) -> None:
        """Forget `block`."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes of the batches that are in memory."""
        ...

    def close(self) -> None:
        """Forget everything."""
        ...


class MemoryBlocks:
    """Every block in memory."""

    def __init__(self) -> None:
        self._blocks: dict[int, pa.RecordBatch] = {}
        self._next = 0
        self._bytes = 0

    def put(self, batch: pa.RecordBatch) -> int:
        """Keep `batch`; returns its number."""
        self._next += 1
        self._blocks[self._next] = batch
        self._bytes += batch.nbytes
        return self._next

    def get(self, block: int) -> pa.RecordBatch:
        """Return the batch kept under `block`."""
        return self._blocks[block]

    def drop(self, block: int) -> None:
        """Forget `block`."""
        self._bytes -= self._blocks.pop(block).nbytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of all blocks."""
        return self._bytes

    def close(self) -> None:
        """Forget everything."""
        self._blocks.clear()


class RocksBlocks:
    """The newest blocks in memory, the others in RocksDB, which is opened when the first one moves there.

    Parameters
    ----------
    directory : Path
        Where RocksDB writes; emptied first, because a restart restores from the checkpoint. Nobody else's: two
        attempts that are alive at once would remove each other's files.
    budget : int
        Bytes that may stay in memory.

    Raises
    ------
    StoreFull
        By any method but `close`, if `directory` is on a full disk.
    """

    def __init__(self, directory: Path, budget: int) -> None:
        self._directory = directory
        self._budget = budget
        self._hot: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._next = 0
        self._bytes = 0
        self._db: Any = None

    def put(self, batch: pa.RecordBatch) -> int:
        """Keep `batch`; the oldest blocks go to disk once the budget is exceeded."""
        self._next += 1
        self._hot[self._next] = batch
        self._sizes[self._next] = batch.nbytes
        self._bytes += batch.nbytes
        while self._bytes > self._budget and self._hot:
            self._spill()
        return self._next

    def get(self, block: int) -> pa.RecordBatch:
        """Return the batch kept under `block`."""
        batch = self._hot.get(block)
        if batch is not None:
            return batch
        if block not in self._sizes:
            raise KeyError(block)
        with _disk_errors(self._directory):
            return _decode(self._db[_key(block)])

    def drop(self, block: int) -> None:
        """Forget `block`."""
        size = self._sizes.pop(block)
        if self._hot.pop(block, None) is None:
            with _disk_errors(self._directory):
                del self._db[_key(block)]
        else:
            self._bytes -= size

    @property
    def memory_bytes(self) -> int:
        """Bytes of the blocks in memory."""
        return self._bytes

    @property
    def spilled_blocks(self) -> int:
        """How many blocks are on disk."""
        return len(self._sizes) - len(self._hot)

    def close(self) -> None:
        """Close RocksDB and remove its files."""
        self._hot.clear()
        if self._db is not None:
            self._db.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _spill(self) -> None:
        block = next(iter(self._hot))
        batch = self._hot[block]
        with _disk_errors(self._directory):
            if self._db is None:
                self._db = _open(self._directory, self._budget)
            self._db[_key(block)] = _encode(batch)  # before it leaves memory: the snapshot thread may be reading
        del self._hot[block]
        self._bytes -= self._sizes[block]


def _open(directory: Path, budget: int) -> Any:  # rocksdict's stub knows Rdict only with pickled values
    from rocksdict import Options, Rdict, WriteOptions

    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # What RocksDB itself holds back from the disk stays small beside what the budget allows.
    options.set_write_buffer_size(min(max(budget // 4, _LEAST_BUFFER), _MOST_BUFFER))
    database = Rdict(str(directory), options)
    write = WriteOptions()
    # The checkpoint is the log: after a crash this directory is emptied. (An attribute, whatever the stub says.)
    setattr(write, "disable_wal", True)  # noqa: B010
    database.set_write_options(write)
    return database


@contextmanager
def _disk_errors(directory: Path) -> Generator[None]:
    """Turn "no space left" into the error that says what to do. RocksDB's errors are bare exceptions with a text."""
    try:
        yield
    except Exception as error:
        if "No space left" not in str(error):
            raise
        raise StoreFull(
            f"no space left in {directory} for state beyond memory_budget",
            hint="free space on that file system or raise memory_budget, then run the job again: it resumes from its "
            "last checkpoint",
            key=str(directory),
        ) from error


def _key(block: int) -> bytes:
    return block.to_bytes(8, "big")


def _encode(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _decode(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()
