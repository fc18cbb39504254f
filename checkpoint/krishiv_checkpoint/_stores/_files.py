"""Files on their way into a store: temporary, locked while their writer lives, hashed as they grow."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import StoreFull, StoreUnwritable
from krishiv_checkpoint._records import StateFile

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["TemporaryFile", "make_directory", "remove_dead", "store_errors", "sync_directory"]

_BUFFER = 1 << 20


class TemporaryFile:
    """A file that nobody else knows yet.

    It is locked as long as it is open, so that another process can tell the leavings of a dead writer from the work of
    a living one: the kernel drops the lock when its holder dies.

    Parameters
    ----------
    directory : Path
        Where it lies; on the file system that it is to be published on.
    key : str
        What it is to become, for messages.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self._key = key
        self._hash = hashlib.sha256()
        self._size = 0
        with store_errors(key):
            self.path, descriptor = _open_locked(directory)
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER)

    def write(self, data: bytes | memoryview) -> int:
        """Append `data`; returns its size in bytes."""
        with store_errors(self._key):
            written = self._file.write(data)
        self._hash.update(data)
        self._size += written
        return written

    def sync(self) -> None:
        """Force everything written so far to the disk."""
        with store_errors(self._key):
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self, key: str) -> StateFile:
        """Close it and return what a manifest has to know of it under `key`."""
        self._file.close()
        return StateFile(key, self._hash.hexdigest(), self._size)

    def discard(self) -> None:
        """Close it, and remove its temporary name if that is still there."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk refuses the buffered rest, which is of no use any more
            self._file.close()


def _open_locked(directory: Path) -> tuple[Path, int]:
    while True:
        path = directory / f"{os.getpid()}-{uuid.uuid4().hex}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)  # `remove_dead` elsewhere came between the two calls


def remove_dead(directory: Path) -> None:
    """Remove the temporary files in `directory` whose writers are dead."""
    try:
        paths = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        with suppress(FileNotFoundError, BlockingIOError, PermissionError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def make_directory(directory: Path) -> None:
    """Make `directory` and those above it, durably; one that is there is fine."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    try:
        directory.mkdir(exist_ok=True)
    except FileExistsError as file:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from file
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Force the entries of `directory` to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def store_errors(key: str) -> Generator[None]:
    """Turn "no space left" and "not allowed" into errors that say what to do."""
    try:
        yield
    except OSError as error:
        place = error.filename or key
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                raise StoreFull(
                    f"no space left in the checkpoint store for {place}",
                    hint="free space on that file system, then run the job again: it resumes from its last checkpoint",
                    key=key,
                ) from error
            case errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOTDIR:
                raise StoreUnwritable(
                    f"the checkpoint store cannot write {place}: {error.strerror}",
                    hint="let this user write there, or choose another data_dir",
                    key=key,
                ) from error
            case _:
                raise
