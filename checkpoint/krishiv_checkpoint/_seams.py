"""The seams of the checkpoint floor: what it needs from a store, from a sink's commit side and from the data plane.

Everything above hands in an object that fits; nothing above is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from krishiv_checkpoint._records import (
        BarrierKind,
        CommitOutcome,
        CommitScope,
        Committable,
        Mark,
        Prepared,
        StateFile,
    )
    from krishiv_guarantees import StoreCapabilities

__all__ = ["BlobWriter", "CheckpointStore", "Committer", "DataPlane"]


class BlobWriter(Protocol):
    """A file being written into a store; it hashes what passes through."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Append bytes. Accepts anything with the buffer protocol; returns how many bytes were taken."""
        ...

    def finish(self, key: str | None = None) -> StateFile:
        """Make the file durable and visible; nothing may be written after.

        It appears under `key` if that is given (a sink knows its epoch only now), else under the key it was opened
        with. After a `RetriableError` it is as before, and `finish` may be called again; not so where it was opened as
        final.
        """
        ...


class CheckpointStore(Protocol):
    """Blobs by key, for one job. Keys are relative, with ``/`` between parts. Thread-safe."""

    def capabilities(self) -> StoreCapabilities:
        """What this store can do, as it is configured."""
        ...

    def create(self, key: str, data: bytes) -> None:
        """Publish `data` under `key`, atomically and durably, only if the key is free.

        Raises
        ------
        KeyExists
            If it is taken. Of several racing creates exactly one succeeds.
        """
        ...

    def writer(self, key: str, *, final: bool = False) -> AbstractContextManager[BlobWriter]:
        """Open a blob for writing; leaving the block without `finish` discards it.

        Parameters
        ----------
        final : bool
            Whether `finish` will give no other key, and is called once: then the blob may be sent while it is written,
            and is lost if the store fails meanwhile.
        """
        ...

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key` (mapped where the store is local). Raises `KeyMissing`."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return all keys that begin with `prefix`, sorted."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; a missing key is fine."""
        ...


class Committer(Protocol):
    """A two-phase sink seen from the coordinator: all slots of one sink, after the commit point."""

    @property
    def commit_scope(self) -> CommitScope:
        """Whether `commit` is called per slot or once per epoch."""
        ...

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Apply what was prepared; idempotent. May block on I/O; never called twice at once for one sink and slot."""
        ...

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Discard artefacts of lower tokens that no manifest lists (P11)."""
        ...

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Everything prepared under `lineage` that is neither committed nor aborted."""
        ...

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """The newest epoch applied for `slot` (EPOCH scope: for the sink), or None."""
        ...

    def marks(self, job: str) -> Sequence[Mark]:
        """Every mark, of whatever lineage, that a job called `job` left in this sink's target (P15)."""
        ...

    def rewind(self, lineage: str, epoch: int) -> bool:
        """Take back every epoch above `epoch`; False where the sink cannot."""
        ...


class DataPlane(Protocol):
    """What the driver tells the running tasks. Called from the driver's thread; must return at once."""

    def trigger(self, epoch: int, kind: BarrierKind) -> None:
        """Put a barrier into every source subtask."""
        ...

    def completed(self, epoch: int) -> None:
        """The manifest of `epoch` is durable: dirty sets and carried committables up to it may be cleared."""
        ...

    def committed(self, epoch: int) -> None:
        """Every sink applied `epoch`: its positions may be published outside."""
        ...
