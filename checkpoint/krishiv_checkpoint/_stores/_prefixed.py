"""A part of a store, seen as a store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_checkpoint._records import StateFile
    from krishiv_checkpoint._seams import BlobWriter, CheckpointStore
    from krishiv_guarantees import StoreCapabilities

__all__ = ["PrefixedStore"]


class PrefixedStore:
    """What lies under `prefix` in `store`, with keys relative to it.

    Parameters
    ----------
    store : CheckpointStore
        The whole.
    prefix : str
        Ends in ``/``.
    """

    def __init__(self, store: CheckpointStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def capabilities(self) -> StoreCapabilities:
        """Those of the whole store."""
        return self._store.capabilities()

    def create(self, key: str, data: bytes) -> None:
        """Publish `data` under `key` if it is free."""
        self._store.create(self._prefix + key, data)

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Generator[BlobWriter]:
        """Open a blob for writing."""
        with self._store.writer(self._prefix + key, final=final) as writer:
            yield _PrefixedWriter(writer, self._prefix)

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key`."""
        return self._store.get(self._prefix + key)

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        return [key.removeprefix(self._prefix) for key in self._store.list(self._prefix + prefix)]

    def delete(self, key: str) -> None:
        """Remove `key` if it is there."""
        self._store.delete(self._prefix + key)


class _PrefixedWriter:
    def __init__(self, writer: BlobWriter, prefix: str) -> None:
        self._writer = writer
        self._prefix = prefix

    def write(self, data: bytes | memoryview, /) -> int:
        return self._writer.write(data)

    def finish(self, key: str | None = None) -> StateFile:
        file = self._writer.finish(None if key is None else self._prefix + key)
        return msgspec.structs.replace(file, key=file.key.removeprefix(self._prefix))
