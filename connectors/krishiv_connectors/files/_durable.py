"""Files and directories that are on the disk when a call returns, and hashed as they are written."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_connectors._errors import OutputFailed, OutputFull, StagingElsewhere

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import Buffer

__all__ = [
    "HashedFile",
    "digest_of",
    "make_directories",
    "output_errors",
    "staging_elsewhere",
    "sync_directory",
    "sync_tree",
]


class HashedFile(io.RawIOBase):
    """A new file that knows its own SHA-256 without being read again.

    Parameters
    ----------
    path : Path
        Must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._abandoned = False
        self.size = 0

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Append all of `data`, n bytes; returns n."""
        with memoryview(data).cast("B") as view:
            if self._abandoned:
                return view.nbytes
            rest = view
            while rest.nbytes:  # a disk that fills up takes a part first
                rest = rest[self._file.write(rest) :]
            self._hash.update(view)
            self.size += view.nbytes
            return view.nbytes

    def sync(self) -> None:
        """Force everything written so far to the disk."""
        os.fsync(self._file.fileno())

    def sha256(self) -> str:
        """Return the hex digest of everything written so far."""
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Close it, and take whatever its writer still has to say without keeping it."""
        self.close()
        self._abandoned = True

    def close(self) -> None:
        """Close it. Does not force it to the disk."""
        self._file.close()
        super().close()


def digest_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    """Force the entries of `directory` to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Force the entries of `directory` and of all below it to the disk, the deepest first."""
    for folder, _, _ in os.walk(directory, topdown=False):
        sync_directory(Path(folder))


_TRIES = 100


def make_directories(directory: Path) -> None:
    """Make `directory` and those above it that are missing, and force their names to the disk.

    Another committer may remove those that it finds empty meanwhile: they are made again.
    """
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return _make_directories(directory)
    return _make_directories(directory)


def _make_directories(directory: Path) -> None:
    if directory.is_dir():
        return
    _make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def staging_elsewhere(staging: Path, root: Path) -> StagingElsewhere:
    """Return the error for a staging directory whose files cannot be renamed into the output."""
    return StagingElsewhere(
        f"staged files in {staging} cannot be published in {root}: the two are on different file systems",
        hint="pass staging= a directory on the output's file system, outside the output; "
        "where the output is itself a mount point, write to a folder inside it",
        staging=str(staging),
        output=str(root),
    )


@contextmanager
def output_errors(path: Path) -> Generator[None]:
    """Turn what the operating system reports about `path` into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputFull(
                f"no space left for the output {path}",
                hint="free space on that file system, then run the job again: it resumes from its last checkpoint",
                path=str(path),
            ) from error
        raise OutputFailed(
            f"the output {path} cannot be written: {error.strerror or error}",
            hint="see that the directory exists and this user may write there, then run the job again: "
            "it resumes from its last checkpoint",
            path=str(path),
        ) from error
