"""A store in the memory of this process."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import KeyExists, KeyMissing
from krishiv_checkpoint._keys import check_key
from krishiv_checkpoint._records import StateFile
from krishiv_guarantees import FailureDomain, StoreCapabilities

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_checkpoint._seams import BlobWriter

__all__ = ["MemoryStore"]


class MemoryStore:
    """Blobs in a dict: outlives tasks and attempts of one process, not the process.

    Thread-safe. Creates are conditional, so attempts within the process fence each other as they do on a disk.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def capabilities(self) -> StoreCapabilities:
        """Ephemeral, with conditional create."""
        return StoreCapabilities(durable=False, conditional_create=True, fencing=True, survives=FailureDomain.TASK)

    def create(self, key: str, data: bytes) -> None:
        """Put `data` under `key` if it is free; raise `KeyExists` if not."""
        check_key(key)
        with self._lock:
            if key in self._blobs:
                raise KeyExists(f"{key} is taken", key=key)
            self._blobs[key] = bytes(data)

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Generator[BlobWriter]:
        """Open a blob for writing; it appears under `key` at `finish`."""
        yield _MemoryWriter(self, check_key(key))

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key`; raise `KeyMissing` if there are none."""
        with self._lock:
            blob = self._blobs.get(check_key(key))
        if blob is None:
            raise KeyMissing(f"{key} is not in the store", key=key)
        return memoryview(blob)

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        with self._lock:
            return sorted(key for key in self._blobs if key.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove `key` if it is there."""
        with self._lock:
            self._blobs.pop(check_key(key), None)

    def replace(self, key: str, data: bytes) -> None:
        """Put `data` under `key`, whatever is there."""
        with self._lock:
            self._blobs[key] = data


class _MemoryWriter:
    def __init__(self, store: MemoryStore, key: str) -> None:
        self._store = store
        self._key = key
        self._data: bytearray | None = bytearray()

    def write(self, data: bytes | memoryview, /) -> int:
        if self._data is None:
            raise ValueError(f"{self._key} is finished")
        size = len(self._data)
        self._data += data
        return len(self._data) - size

    def finish(self, key: str | None = None) -> StateFile:
        if self._data is None:
            raise ValueError(f"{self._key} is finished")
        self._key = check_key(key or self._key)
        blob, self._data = bytes(self._data), None
        self._store.replace(self._key, blob)
        return StateFile(self._key, hashlib.sha256(blob).hexdigest(), len(blob))
