"""Where blocks of rows are kept between arrival and use: the one seam between operators and state backends.

A block is an immutable Arrow batch. `MemoryBlocks` keeps them as they are; `RocksBlocks` keeps the newest in memory up
to a budget and the others in RocksDB as Arrow IPC. Snapshots are made of the rows, so they are the same for both.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter, OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from krishiv_checkpoint import StoreFull
from krishiv_stream._engine.elements import size_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

__all__ = ["BlockStore", "HeldBlocks", "MemoryBlocks", "RocksBlocks"]

_LEAST_BUFFER, _MOST_BUFFER = 64 << 10, 64 << 20


class BlockStore(Protocol):
    """Keeps batches by number, for one task's thread. What `hold` returns may be used by another."""

    def put(self, batch: pa.RecordBatch) -> int:
        """Keep `batch`; returns its number."""
        ...

    def get(self, block: int) -> pa.RecordBatch:
        """Return the batch kept under `block`."""
        ...

    def drop(self, block: int) -> None:
        """Forget `block`; one that is held only once it is released."""
        ...

    def hold(self, blocks: Sequence[int]) -> HeldBlocks:
        """Keep `blocks` for a snapshot, even if they are dropped meanwhile."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes of the batches that are in memory."""
        ...

    def close(self) -> None:
        """Forget everything, held or not. Idempotent."""
        ...


class HeldBlocks(Protocol):
    """Blocks as they were when a snapshot was taken. Any one thread."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield them one after the other, each read when it is asked for."""
        ...

    def release(self) -> None:
        """Say that they are needed no longer; once."""
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

    def hold(self, blocks: Sequence[int]) -> HeldBlocks:
        """Refer to the batches themselves."""
        return _Referred([self._blocks[block] for block in blocks])

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
        self._held: Counter[int] = Counter()
        self._dropped: set[int] = set()
        self._next = 0
        self._bytes = 0
        self._db: Any = None
        self._lock = threading.RLock()
        # Apart from the other: putting rows does not wait until a snapshot has read a block from the disk.
        self._reading = threading.Lock()

    def put(self, batch: pa.RecordBatch) -> int:
        """Keep `batch`; the oldest blocks go to disk once the budget is exceeded."""
        with self._lock:
            self._next += 1
            self._hot[self._next] = batch
            size = self._sizes[self._next] = size_of(batch)
            self._bytes += size
            while self._bytes > self._budget and self._hot:
                self._spill()
            return self._next

    def get(self, block: int) -> pa.RecordBatch:
        """Return the batch kept under `block`."""
        with self._lock:
            batch = self._hot.get(block)
        if batch is not None:
            return batch
        with self._reading:
            if block not in self._sizes:
                raise KeyError(block)
            with _disk_errors(self._directory):
                return _decode(self._db[_key(block)])

    def drop(self, block: int) -> None:
        """Forget `block`; one that is held only once it is released."""
        with self._lock:
            if self._held[block]:
                self._dropped.add(block)
            else:
                self._forget(block)

    def hold(self, blocks: Sequence[int]) -> HeldBlocks:
        """Keep `blocks`; they move to disk like any other, and are read from there."""
        with self._lock:
            self._held.update(blocks)
        return _Numbered(self, blocks)

    def release(self, blocks: Sequence[int]) -> None:
        """Hold `blocks` no longer."""
        with self._lock:
            self._held.subtract(blocks)
            for block in blocks:
                if not self._held[block]:
                    del self._held[block]
                    if block in self._dropped and block in self._sizes:
                        self._dropped.remove(block)
                        self._forget(block)

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
        with self._reading, self._lock:
            self._hot.clear()
            self._sizes.clear()
            if self._db is not None:
                self._db.close()
                self._db = None
                shutil.rmtree(self._directory, ignore_errors=True)

    def _forget(self, block: int) -> None:
        size = self._sizes.pop(block)
        if self._hot.pop(block, None) is None:
            with _disk_errors(self._directory):
                del self._db[_key(block)]
        else:
            self._bytes -= size

    def _spill(self) -> None:
        block = next(iter(self._hot))
        batch = self._hot[block]
        with _disk_errors(self._directory):
            if self._db is None:
                self._db = _open(self._directory, self._budget)
            self._db[_key(block)] = _encode(batch)  # before it leaves memory: the snapshot thread may be reading
        del self._hot[block]
        self._bytes -= self._sizes[block]


class _Referred:
    """Held blocks that are in memory anyway."""

    def __init__(self, batches: list[pa.RecordBatch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self._batches)

    def release(self) -> None:
        self._batches = []


class _Numbered:
    """Held blocks that are read one by one: a snapshot takes no more memory than one of them."""

    def __init__(self, store: RocksBlocks, blocks: Sequence[int]) -> None:
        self._store = store
        self._blocks = blocks

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return map(self._store.get, self._blocks)

    def release(self) -> None:
        self._store.release(self._blocks)


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
