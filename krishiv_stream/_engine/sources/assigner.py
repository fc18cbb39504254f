"""Which subtask reads which split: one assigner per source, shared by its subtasks.

A split is *known* once it was discovered, *open* while a subtask reads it and *finished* for good after. Sequential
sources hand out one split at a time, in the order that the source gives; others spread all of them at once.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from krishiv_connectors import Split
from krishiv_stream._engine.errors import NewInput, SplitVanished

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from krishiv_checkpoint import OperatorSnapshot
    from krishiv_connectors import Source

__all__ = ["Assigned", "SplitAssigner", "new_splits"]


@dataclass
class Assigned:
    """A split handed to a subtask, with what a checkpoint knew of it.

    Parameters
    ----------
    position : JSON value or None
        Where to go on; None: at the beginning.
    watermark : int or None
        How far its event time has come, microseconds.
    idle : bool
        Whether it had given nothing for longer than the idle timeout.
    """

    split: Split
    position: Any = None
    watermark: int | None = None
    idle: bool = False

    def snapshot(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        return {
            "id": self.split.id,
            "payload": dict(self.split.payload),
            "position": self.position,
            "watermark": self.watermark,
            "idle": self.idle,
        }


class SplitAssigner:
    """Hands out the splits of one source; all methods may be called from any subtask's thread.

    Attributes
    ----------
    drained : bool
        Whether the sources had been ended for good at the restored barrier: nothing more is to be read (P7).
    restored_time : int or None
        How far the source's event time had come at the restored barrier, microseconds.
    """

    def __init__(self, source: Source[Any], event_time: str | None, parallelism: int) -> None:
        self._source = source
        self._event_time = event_time
        self._parallelism = parallelism
        self._lock = threading.Lock()
        self._known: dict[str, Split] = {}
        self._unread: deque[Assigned] = deque()
        self._minimum: dict[str, int | None] = {}
        self._least_unread: deque[int | None] = deque()
        self._live = 0
        self.drained = False
        self.restored_time: int | None = None
        self._starts: list[dict[str, Any]] = []
        self.discovers = source.capabilities().discovers_splits

    def restore(self, snapshots: Iterable[OperatorSnapshot]) -> frozenset[str]:
        """Take over what a checkpoint knew, find what is new, and return the ids that were finished.

        Raises
        ------
        SplitVanished
            If a split that was known and not read to its end is gone.
        NewInput
            If the source had ended, and has splits now that it did not have then (P7).
        """
        snapshots = list(snapshots)
        opened: dict[str, Assigned] = {}
        waiting: dict[str, Assigned] = {}
        finished: set[str] = set()
        known: set[str] = set()
        for snapshot in snapshots:
            finished.update(snapshot.inline["finished"])
            known.update(snapshot.inline.get("known", ()))
            opened.update(_assigned(snapshot.inline["open"]))
            waiting.update(_assigned(snapshot.inline.get("waiting", ())))
        # One that no subtask had open or finished at its barrier was still where the restore before put it.
        opened = {id: at for id, at in {**waiting, **opened}.items() if id not in finished}
        self._starts = [at.snapshot() for at in opened.values()]
        current = self._source.later_splits() if snapshots else self._source.splits()
        self._check_vanished(known - finished - opened.keys(), {split.id for split in current})
        self._known.update((id, Split(id)) for id in finished)
        order = {split.id: place for place, split in enumerate(current)}
        for id, assigned in sorted(opened.items(), key=lambda item: order.get(item[0], -1)):
            self._known[id] = assigned.split
            self._unread.append(assigned)
        self._restore_end(snapshots, current)
        self._add(current)
        self._live = len(self._known) - len(finished)
        return frozenset(finished)

    def discover(self) -> None:
        """Ask the source for splits again and queue the new ones."""
        current = self._source.later_splits()
        with self._lock:
            waiting = {a.split.id for a in self._unread if a.position is None}
            self._check_vanished(waiting, {split.id for split in current})
            before = len(self._known)
            self._add(current)
            self._live += len(self._known) - before

    def take(self, open_splits: int) -> Assigned | None:
        """Return the next split for a subtask that reads `open_splits` now, or None."""
        with self._lock:
            most = 1 if self._source.sequential else -(-self._live // self._parallelism)
            if not self._unread or open_splits >= most:
                return None
            self._least_unread.popleft()
            return self._unread.popleft()

    @property
    def empty(self) -> bool:
        """Whether no split waits to be read."""
        return not self._unread

    def snapshot(self) -> dict[str, Any]:
        """Return what the checkpoint keeps beside the subtasks' own splits: what is known, and where splits with a
        position were before this attempt read of them. A subtask that has taken one by its barrier says where it is by
        then."""
        with self._lock:
            return {"known": sorted(self._known), "waiting": list(self._starts)}

    def unread_minimum(self) -> int | None:
        """Return the event time at which the waiting splits hold the watermark, microseconds; None: they do not."""
        with self._lock:
            return self._least_unread[0] if self._least_unread else None

    def _bound(self, assigned: Assigned) -> int | None:
        if assigned.watermark is not None or self._event_time is None:
            return assigned.watermark
        id = assigned.split.id
        if id not in self._minimum:
            self._minimum[id] = self._source.event_time_minimum(assigned.split, self._event_time)
        return self._minimum[id]

    def _add(self, splits: Sequence[Split]) -> None:
        for split in splits:
            if split.id not in self._known:
                self._known[split.id] = split
                self._unread.append(assigned := Assigned(split, split.start))
                if split.start is not None:
                    self._starts.append(assigned.snapshot())
        bounds = map(self._bound, reversed(self._unread))
        self._least_unread = deque(reversed([*accumulate(bounds, _lesser)]))

    def _restore_end(self, snapshots: Sequence[OperatorSnapshot], current: Sequence[Split]) -> None:
        going_on = [snapshot.inline for snapshot in snapshots if not snapshot.inline.get("ended", False)]
        times = [inline.get("time") for inline in going_on]
        self.restored_time = min((t for t in times if t is not None), default=None) if None not in times else None
        self.drained = any(snapshot.inline.get("drained", False) for snapshot in snapshots)
        if snapshots and not going_on and not self.drained:
            self._check_ended(current)

    def _check_ended(self, current: Sequence[Split]) -> None:
        new = [split.id for split in current if split.id not in self._known]
        if new:
            more = f" and {len(new) - 1} more" if len(new) > 1 else ""
            raise NewInput(
                f"a source of this job had ended, and has input now that it did not have then: {new[0]!r}{more}",
                hint="its windows have closed: give the new input a job of its own, and read what keeps coming with "
                'follow=True from the start; or read everything again with restore="none" and another output',
                splits=new,
            )

    def _check_vanished(self, expected: set[str], found: set[str]) -> None:
        missing = sorted(expected - found)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise SplitVanished(
                f"{missing[0]!r}{more} was there when the job started and is gone before it was read",
                hint="put it back; or start afresh with restore='none' if its rows are not wanted",
                splits=missing,
            )


def new_splits(source: Source[Any], snapshots: Iterable[OperatorSnapshot]) -> list[str]:
    """Return the ids of the splits that `source` has now and that a checkpoint did not know, in reading order."""
    known = _known(snapshots)
    return [split.id for split in source.splits() if split.id not in known]


def _lesser(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _known(snapshots: Iterable[OperatorSnapshot]) -> set[str]:
    return {id for snapshot in snapshots for id in snapshot.inline.get("known", ())}


def _assigned(entries: Iterable[dict[str, Any]]) -> dict[str, Assigned]:
    return {
        e["id"]: Assigned(Split(e["id"], e["payload"]), e["position"], e["watermark"], e.get("idle", False))
        for e in entries
    }
