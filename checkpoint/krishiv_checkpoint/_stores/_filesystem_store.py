"""A store on a local file system."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import KeyExists, KeyMissing
from krishiv_checkpoint._keys import check_key
from krishiv_checkpoint._stores._files import TemporaryFile, make_directory, remove_dead, store_errors, sync_directory
from krishiv_guarantees import FailureDomain, StoreCapabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from krishiv_checkpoint._records import StateFile
    from krishiv_checkpoint._seams import BlobWriter

__all__ = ["FilesystemStore"]

_TEMPORARY = ".tmp"
_RESERVED = frozenset({_TEMPORARY, "lock"})
# Below this a file is read: a mapping costs more system calls, and a page at least.
_MAP_FROM = 64 * 1024


class FilesystemStore:
    """Blobs as files below one directory: once a call returns, the disk has it, directory entries included.

    Every blob is written to a temporary file first, forced to the disk, and then published by a hard link (`create`,
    which fails if the name is taken) or a rename (`writer`). Temporary files live in ``<root>/.tmp``; those whose
    writers died are removed when the store is opened. Nothing is made before the first write.

    Parameters
    ----------
    root : path
        Directory of one job.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        remove_dead(self.root / _TEMPORARY)

    def capabilities(self) -> StoreCapabilities:
        """Durable on this host's disk, with conditional create."""
        return StoreCapabilities(
            durable=True, conditional_create=True, fencing=True, survives=FailureDomain.HOST_RESTART
        )

    def create(self, key: str, data: bytes) -> None:
        """Publish `data` under `key` if it is free.

        Raises
        ------
        KeyExists
            If it is taken.
        StoreFull, StoreUnwritable
            If there is no space, or no permission. Nothing was published then; after any other `OSError` it may be.
        """
        path = self._path(key)
        with self._temporary(key) as file:
            file.write(data)
            file.sync()
            try:
                self._publish(key, path, lambda: os.link(file.path, path))
            except FileExistsError as taken:
                raise KeyExists(f"{key} is taken", key=key) from taken

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Generator[BlobWriter]:
        """Open a blob for writing; `finish` renames it to its place. If there is no space, nothing remains of it."""
        self._path(key)
        with self._temporary(key) as file:
            yield _FileWriter(file, key, self._rename)

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key`, mapped if they are many; raise `KeyMissing` if there are none."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < _MAP_FROM:
                    return memoryview(file.read())
            return _map(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as missing:
            raise KeyMissing(f"{path} does not exist", key=key) from missing

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted; looks only into the directory that `prefix` names."""
        folder, _, _ = prefix.rpartition("/")
        keys = _walk(self.root / check_key(folder), f"{folder}/") if folder else _walk(self.root, "")
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove `key` if it is there, and its directory if that is empty then."""
        path = self._path(key)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        if path.parent != self.root:
            _remove_if_empty(path.parent)

    def _path(self, key: str) -> Path:
        if check_key(key).partition("/")[0] in _RESERVED:
            raise ValueError(f"{key!r} is not a key: {' and '.join(sorted(_RESERVED))} are the store's own")
        return self.root / key

    @contextmanager
    def _temporary(self, key: str) -> Generator[TemporaryFile]:
        with store_errors(key):
            make_directory(self.root / _TEMPORARY)
        file = TemporaryFile(self.root / _TEMPORARY, key)
        try:
            yield file
        finally:
            file.discard()

    def _rename(self, file: TemporaryFile, key: str) -> None:
        path = self._path(key)
        self._publish(key, path, lambda: file.path.replace(path))

    def _publish(self, key: str, path: Path, link: Callable[[], object]) -> None:
        with store_errors(key):
            while True:
                try:
                    make_directory(path.parent)
                    link()
                    break
                except FileNotFoundError:
                    if path.parent.is_dir():
                        raise
                    # A delete of the last file in it has just removed the directory: make it again.
        sync_directory(path.parent)  # its errors stay what they are: by now others may have seen the key


class _FileWriter:
    def __init__(self, file: TemporaryFile, key: str, rename: Callable[[TemporaryFile, str], None]) -> None:
        self._file = file
        self._key = key
        self._rename = rename

    def write(self, data: bytes | memoryview, /) -> int:
        return self._file.write(data)

    def finish(self, key: str | None = None) -> StateFile:
        key = self._key if key is None else key
        self._file.sync()
        self._rename(self._file, key)
        return self._file.finish(key)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
            raise


def _map(path: Path) -> memoryview:
    # pyarrow's mapping outlives its file; Python's own would keep a descriptor open for each.
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return memoryview(file.read_buffer())


def _walk(directory: Path, prefix: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        key = prefix + entry.name
        if key in _RESERVED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(directory / entry.name, f"{key}/")
        else:
            yield key
