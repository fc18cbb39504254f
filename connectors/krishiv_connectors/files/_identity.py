"""Is a file still the one that was read? Size, time of change, and digests of what was read.

Two digests guard a position. Both cover everything before it, cost a few percent of reading, and let a file that
stopped a job be mended behind the position without reading the rows before it twice (protocol, "Files").
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.types as pat
import xxhash

from krishiv_connectors._errors import FileChanged, FileVanished, UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["GRAIN", "BytesDigest", "FileIdentity", "changed", "rows_digest", "unreadable_as"]

GRAIN = 1 << 20
"""Bytes after which a digest of bytes is chained: what a restart reads again at most."""


@dataclass(frozen=True)
class FileIdentity:
    """What tells a changed file at once: `size` in bytes and `mtime_ns`, nanoseconds since 1970 UTC.

    `inode` tells appended from replaced; it is no part of the identity, because a copy has another.
    """

    size: int
    mtime_ns: int
    inode: int = field(compare=False)

    def appended_to(self, before: FileIdentity) -> bool:
        """Whether this is the same file as `before`, not shorter."""
        return self.inode == before.inode and self.size >= before.size

    def is_at(self, position: dict[str, Any]) -> bool:
        """Whether `position` was taken in a file of this identity."""
        return (self.size, self.mtime_ns) == (position["size"], position["mtime_ns"])

    @classmethod
    def of(cls, path: str) -> FileIdentity:
        """Look at `path`.

        Raises
        ------
        FileVanished
            If it is not there.
        """
        with unreadable_as(path):
            found = os.stat(path)
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@contextmanager
def unreadable_as(path: str) -> Generator[None]:
    """Turn what the operating system and Arrow say about `path` into `FileVanished` or `UnreadableFile`."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileVanished(
            f"{path!r} is gone and was not read to its end",
            hint="put it back; or start afresh with restore='none' if its rows are not wanted",
            path=path,
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            f"{path!r} cannot be read: {_first_line(error)}",
            hint="mend or replace the file and run the job again: it goes on from its last checkpoint",
            path=path,
        ) from error


def changed(path: str, why: str) -> FileChanged:
    """Return the error for a file that is not what it was."""
    return FileChanged(
        f"{path!r} changed after it was read in part: {why}",
        hint="input files must not change: put the former content back, or start afresh with restore='none'",
        path=path,
    )


class BytesDigest:
    """A digest of the first bytes of a file that can be carried on from a checkpoint without reading them again.

    XXH3-128 over each `GRAIN` bytes, chained: ``d[k] = H(d[k-1] + bytes of grain k)``; the digest after *n* bytes is
    H over the last whole link and the bytes after it.
    """

    def __init__(self, chain: bytes = b"", length: int = 0) -> None:
        self.length = length
        self._chain = chain
        self._hash = xxhash.xxh3_128(chain)

    @classmethod
    def of_file(cls, file: BinaryIO, length: int) -> BytesDigest:
        """Return the digest of the first `length` bytes of `file`, or of all if it is shorter."""
        digest = cls()
        file.seek(0)
        digest._read(file, length)
        return digest

    @classmethod
    def resume(cls, chain: str, file: BinaryIO, length: int) -> BytesDigest:
        """Return the digest of the first `length` bytes of `file`, the whole links of which are known."""
        start = length // GRAIN * GRAIN
        digest = cls(bytes.fromhex(chain), start)
        file.seek(start)
        digest._read(file, length - start)
        return digest

    def update(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        view = memoryview(data)
        while len(view):
            room = GRAIN - self.length % GRAIN
            part = view[:room]
            self._hash.update(part)
            self.length += len(part)
            view = view[room:]
            if len(part) == room:
                self._chain = self._hash.digest()
                self._hash = xxhash.xxh3_128(self._chain)

    def copy(self) -> BytesDigest:
        """Return an independent copy."""
        twin = BytesDigest(self._chain, self.length)
        twin._hash = self._hash.copy()
        return twin

    @property
    def chain(self) -> str:
        """The last whole link, hex."""
        return self._chain.hex()

    @property
    def value(self) -> str:
        """The digest of everything so far, hex."""
        return self._hash.hexdigest()

    def _read(self, file: BinaryIO, length: int) -> None:
        while length > 0 and (data := file.read(min(length, GRAIN))):
            self.update(data)
            length -= len(data)


def rows_digest(before: str, batch: pa.RecordBatch) -> str:
    """Return the digest of all rows up to the end of `batch`, given the one `before` it.

    XXH3-128 over the digest before and the batch as an Arrow IPC stream, without copying the columns. Dictionaries are
    resolved: a file's dictionary depends on rows that come later.
    """
    columns = [column.dictionary_decode() if pat.is_dictionary(column.type) else column for column in batch.columns]
    batch = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    sink = _HashingFile(before)
    with pa.PythonFile(sink, mode="w") as file, pa.ipc.new_stream(file, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.hash.hexdigest()


class _HashingFile:
    """A file whose content is only hashed."""

    closed = False

    def __init__(self, before: str) -> None:
        self.hash = xxhash.xxh3_128(before.encode())

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
