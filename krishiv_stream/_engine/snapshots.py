"""Snapshots of a task's chain: taken at the barrier as references, written in the background, then acknowledged.

The task's thread only collects: JSON values, references to immutable batches, and committables. One background thread
per attempt writes the files, in order, and acknowledges; so a barrier stalls the data for microseconds.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from krishiv_checkpoint import Ack, failpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_checkpoint import CheckpointStore, Committable, OperatorSnapshot

    Deferred = Callable[[CheckpointStore], OperatorSnapshot]

__all__ = ["Acknowledger", "SnapshotCollector", "SnapshotWriter"]


class Acknowledger(Protocol):
    """Who hears how a task's part of an epoch went: the checkpoint driver."""

    def ack(self, ack: Ack) -> None:
        """The task's part is durable."""
        ...

    def decline(self, task: str, epoch: int, error: BaseException) -> None:
        """The task's part could not be written; the epoch fails, the task goes on."""
        ...


class SnapshotCollector:
    """What one task's chain hands in at one barrier.

    Parameters
    ----------
    epoch, token : int
        The barrier's epoch, and the attempt's fencing token.
    completed : int
        The newest epoch whose manifest is durable: what deltas are taken against (P4).
    """

    def __init__(self, epoch: int, token: int, completed: int) -> None:
        self.epoch = epoch
        self.token = token
        self.completed = completed
        self.started = time.perf_counter()
        self.deferred: list[Deferred] = []
        self.committables: list[Committable] = []
        self.declined: Exception | None = None

    @property
    def prefix(self) -> str:
        """What the names of this epoch's files begin with; no other attempt or epoch has it (P11)."""
        return f"{self.token}-{self.epoch}"

    def defer(self, write: Deferred) -> None:
        """Have `write` called in the background; it returns the operator's snapshot."""
        self.deferred.append(write)

    def decline(self, error: Exception) -> None:
        """Have the epoch fail, because of `error`; the task goes on."""
        self.declined = self.declined or error

    def add(self, snapshot: OperatorSnapshot) -> None:
        """Hand in a snapshot that needs no files."""
        self.deferred.append(lambda _: snapshot)


class SnapshotWriter:
    """Writes the collected snapshots of all tasks of an attempt, first come first written."""

    def __init__(self, store: CheckpointStore, token: int) -> None:
        self._store = store
        self._token = token
        self._acknowledger: Acknowledger | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ks-snapshots")
        self._closed = threading.Event()

    def attach(self, acknowledger: Acknowledger) -> None:
        """Say who is to hear of written snapshots; before the first barrier."""
        self._acknowledger = acknowledger

    def submit(self, task: str, snapshots: SnapshotCollector) -> None:
        """Write what `snapshots` holds, then acknowledge for `task`."""
        self._pool.submit(self._write, task, snapshots)

    def discard(self) -> None:
        """Write nothing more and answer nothing more: the attempt is over."""
        self._closed.set()

    def close(self) -> None:
        """Finish the file in hand, drop the rest."""
        self.discard()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _write(self, task: str, snapshots: SnapshotCollector) -> None:
        listener = self._acknowledger
        if listener is None or self._closed.is_set():
            return
        try:
            if snapshots.declined is not None:
                raise snapshots.declined
            written = tuple(write(self._store) for write in snapshots.deferred)
            failpoint("ack.before")
            listener.ack(Ack(task, snapshots.epoch, self._token, written, tuple(snapshots.committables)))
            failpoint("ack.after")
        except Exception as error:
            if not self._closed.is_set():  # else the state it reads has been closed
                listener.decline(task, snapshots.epoch, error)
