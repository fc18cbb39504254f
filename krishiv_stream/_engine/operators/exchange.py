"""The outgoing ends of a task: what puts elements into the inboxes of the tasks that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from krishiv_stream._engine.elements import Element, End, Idle, Watermark
from krishiv_stream._engine.operator import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from krishiv_stream._engine.elements import Barrier
    from krishiv_stream._engine.inbox import Inbox
    from krishiv_stream._engine.snapshots import SnapshotCollector

__all__ = ["Forward", "HashExchange", "Target"]

Target = tuple["Inbox", int]
"""An inbox, and this sender's channel in it."""


class _Sender(Operator):
    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self._targets = targets

    def watermark(self, time: int) -> None:
        """Send the watermark to every target."""
        self._broadcast(Watermark(time))

    def idle(self) -> None:
        """Send idleness to every target."""
        self._broadcast(Idle())

    def barrier(self, barrier: Barrier, snapshots: SnapshotCollector) -> None:
        """Send the barrier to every target."""
        self._broadcast(barrier)

    def end_following(self) -> None:
        """Send the end to every target."""
        self._broadcast(End())

    def _broadcast(self, element: Element) -> None:
        for inbox, channel in self._targets:
            inbox.put(channel, element)


class Forward(_Sender):
    """Sends everything to one target."""

    def __init__(self, target: Target) -> None:
        super().__init__([target])
        self._inbox, self._channel = target

    def process(self, batch: pa.RecordBatch) -> None:
        """Send `batch`."""
        self._inbox.put(self._channel, batch)


class HashExchange(_Sender):
    """Sends each row to the target that owns its key group.

    Parameters
    ----------
    targets : sequence of Target
        One per subtask of the receiver.
    group_rows : callable
        Gives the key group of each row of a batch.
    owners : numpy array
        The target of each key group.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        group_rows: Callable[[pa.RecordBatch], NDArray[np.int64]],
        owners: NDArray[np.unsignedinteger],
    ) -> None:
        super().__init__(targets)
        self._group_rows = group_rows
        self._owners = owners

    def process(self, batch: pa.RecordBatch) -> None:
        """Split `batch` by owner, rows of one owner in their order, and send the parts."""
        owners = self._owners[self._group_rows(batch)]
        counts = np.bincount(owners, minlength=len(self._targets))
        if counts.max() == batch.num_rows:
            self._send(int(counts.argmax()), batch)
            return
        ordered = batch.take(pa.array(np.argsort(owners, kind="stable")))
        offset = 0
        for target, count in enumerate(counts.tolist()):
            if count:
                self._send(target, ordered.slice(offset, count))
            offset += count

    def _send(self, target: int, batch: pa.RecordBatch) -> None:
        inbox, channel = self._targets[target]
        inbox.put(channel, batch)
