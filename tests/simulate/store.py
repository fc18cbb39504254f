"""A process's way to the checkpoint store: every call is a point, and calls fail in every way that a store may."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_checkpoint import BlobWriter, KeyExists, MemoryStore, StateFile, StoreFull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_guarantees import StoreCapabilities
    from tests.simulate.kernel import Kernel

__all__ = ["Faults", "SimulatedStore"]


@dataclass
class Faults:
    """How often, per call, what goes wrong."""

    unreachable: float = 0.0
    """The call has no effect and raises."""
    reply_lost: float = 0.0
    """The call has its effect and raises."""
    retried: float = 0.0
    """A create has its effect, its reply is lost, and the client's own retry is told that the key is taken (412)."""
    full: float = 0.0
    """A write finds no space."""
    busy: float = 0.0
    """A sink asks for more time."""

    def calm(self) -> None:
        """Stop all trouble."""
        self.unreachable = self.reply_lost = self.retried = self.full = self.busy = 0.0


class SimulatedStore:
    """One process's client of the blobs.

    Parameters
    ----------
    blobs : MemoryStore
        What is really there.
    """

    def __init__(self, kernel: Kernel, blobs: MemoryStore, faults: Faults) -> None:
        self._kernel = kernel
        self._blobs = blobs
        self._faults = faults

    def capabilities(self) -> StoreCapabilities:
        return self._blobs.capabilities()

    def create(self, key: str, data: bytes) -> None:
        self._kernel.point(f"create {key}")
        self._may_fail(write=True)
        self._blobs.create(key, data)
        if self._kernel.random.random() < self._faults.retried:
            self._kernel.point(f"create {key} again")
            raise KeyExists(f"{key} is taken", key=key)
        self._replied(f"created {key}")

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Iterator[BlobWriter]:
        with self._blobs.writer(key, final=final) as blob:
            yield _Writer(self, blob, key)

    def get(self, key: str) -> memoryview:
        self._kernel.point(f"get {key}")
        self._may_fail()
        return self._blobs.get(key)

    def list(self, prefix: str) -> list[str]:
        self._kernel.point(f"list {prefix}")
        self._may_fail()
        return self._blobs.list(prefix)

    def delete(self, key: str) -> None:
        self._kernel.point(f"delete {key}")
        self._may_fail()
        self._blobs.delete(key)
        self._replied(f"deleted {key}")

    def finish(self, blob: BlobWriter, key: str) -> StateFile:
        """Finish a blob, or fail to."""
        self._kernel.point(f"write {key}")
        self._may_fail(write=True)
        file = blob.finish(key)
        self._replied(f"wrote {key}")
        return file

    def _may_fail(self, *, write: bool = False) -> None:
        chance = self._kernel.random.random()
        if chance < self._faults.unreachable:
            raise OSError("the store is out of reach")
        if write and chance > 1 - self._faults.full:
            raise StoreFull("the store is full")

    def _replied(self, label: str) -> None:
        self._kernel.point(label)
        if self._kernel.random.random() < self._faults.reply_lost:
            raise OSError("the store's reply was lost")


class _Writer:
    def __init__(self, store: SimulatedStore, blob: BlobWriter, key: str) -> None:
        self._store = store
        self._blob = blob
        self._key = key

    def write(self, data: bytes | memoryview, /) -> int:
        return self._blob.write(data)

    def finish(self, key: str | None = None) -> StateFile:
        return self._store.finish(self._blob, key or self._key)
