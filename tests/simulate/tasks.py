"""A model of the data plane: sources with positions, a keyed count with incremental snapshots, two sinks per slot.

Subtask i of the sources reads the splits whose number is i modulo the parallelism; subtask j of the counts owns a range
of key groups and slot j of both sinks. Channels keep their order; a count aligns barriers over all its inputs (P6).
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from krishiv_checkpoint import BarrierKind, Committable, OperatorSnapshot, StateFile, read_verified, state_key
from tests.simulate.outside import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.simulate.sinks import FileSink, TableSink
    from tests.simulate.store import SimulatedStore

__all__ = ["KEY_GROUPS", "CountTask", "Input", "SnapshotJob", "SourceTask", "Split"]

KEY_GROUPS = 8
MOST_FILES = 3
"""So many files of state, then a full snapshot follows instead of one more delta."""


class Input(NamedTuple):
    """One row of input."""

    id: str
    key: str


@dataclass
class Split:
    """A part of the source; it can be seen only once `appears` steps of the world are over."""

    number: int
    rows: tuple[Input, ...]
    appears: int = 0

    @property
    def id(self) -> str:
        return f"split-{self.number}"


class Barrier(NamedTuple):
    epoch: int
    kind: BarrierKind


class End(NamedTuple):
    """No more rows on this channel; barriers go on."""


Element = Input | Barrier | End


@dataclass
class SnapshotJob:
    """What a task snapshotted at a barrier: to be written in the background, then acknowledged."""

    task: str
    epoch: int
    write: Callable[[SimulatedStore], OperatorSnapshot]
    committables: tuple[Committable, ...] = ()


class SourceTask:
    """One subtask of the source."""

    def __init__(self, subtask: int, parallelism: int, splits: Sequence[Split], positions: dict[str, int]) -> None:
        self.name = f"source-{subtask}"
        self.barriers: deque[Barrier] = deque()
        self.ended = False
        self._subtask = subtask
        self._all = splits
        self._mine = [split for split in splits if split.number % parallelism == subtask]
        self._positions = {split.id: positions[split.id] for split in self._mine if split.id in positions}
        self._sealed = False

    @property
    def can_read(self) -> bool:
        """Whether it is not stopped and not at its end."""
        return not self._sealed and not self.ended

    def read(self, now: int, choose: Callable[[list[Split]], Split]) -> list[Element]:
        """Read a row, or end; new splits are found on the way."""
        for split in self._mine:
            if split.appears <= now:
                self._positions.setdefault(split.id, 0)
        unread = [s for s in self._mine if self._positions.get(s.id, len(s.rows)) < len(s.rows)]
        if unread:
            split = choose(unread)
            row = split.rows[self._positions[split.id]]
            self._positions[split.id] += 1
            return [row]
        if all(split.appears <= now for split in self._all):
            self.ended = True
            return [End()]
        return []

    def pass_barrier(self) -> tuple[Barrier, SnapshotJob]:
        """Put the oldest waiting barrier into the stream; what is read from now on is behind it."""
        barrier = self.barriers.popleft()
        self._sealed |= barrier.kind in (BarrierKind.STOP, BarrierKind.FINISH)
        snapshot = OperatorSnapshot("in", self._subtask, inline={"positions": dict(self._positions)})
        return barrier, SnapshotJob(self.name, barrier.epoch, lambda store: snapshot)


@dataclass
class _Channel:
    elements: deque[Element] = field(default_factory=deque)
    at: Barrier | None = None
    ended: bool = False

    @property
    def can_move(self) -> bool:
        return bool(self.elements) and self.at is None


class CountTask:
    """One subtask of the keyed count, with slot `subtask` of both sinks behind it.

    Parameters
    ----------
    previous : mapping of sink id to epoch
        What the slot of each sink applied last (P14).
    """

    operator = "count"

    def __init__(
        self, subtask: int, parallelism: int, token: int, files: FileSink, table: TableSink, previous: dict[str, int]
    ) -> None:
        self.name = f"count-{subtask}"
        self.inputs = [_Channel() for _ in range(parallelism)]
        self.ended = False
        self.busy = False
        self.groups = (KEY_GROUPS * subtask // parallelism, KEY_GROUPS * (subtask + 1) // parallelism)
        self.counts: dict[str, int] = {}
        self._subtask = subtask
        self._token = token
        self._sinks: dict[str, FileSink | TableSink] = {"files": files, "table": table}
        self._previous = {sink: previous.get(sink, 0) for sink in self._sinks}
        self._buffer: list[Row] = []
        self._carried: list[Committable] = []
        self._changed: dict[str, int] = {}
        self._snapshots = 0
        self._done: tuple[int, tuple[StateFile, ...]] = (0, ())
        self._written: dict[int, tuple[int, tuple[StateFile, ...]]] = {}

    # ---------------------------------------------------------------- rows

    def movable(self) -> list[int]:
        """Return the inputs that have something to take."""
        if self.busy:
            return []
        return [number for number, channel in enumerate(self.inputs) if channel.can_move]

    def step(self, number: int) -> Barrier | None:
        """Take one element of an input; return a barrier once it is aligned."""
        channel = self.inputs[number]
        match channel.elements.popleft():
            case Input(id=id, key=key):
                self.counts[key] = self.counts.get(key, 0) + 1
                self._changed[key] = self._snapshots
                self._buffer.append(Row(id, key, self.counts[key]))
            case End():
                channel.ended = True
                self.ended = all(channel.ended for channel in self.inputs)
            case Barrier() as barrier:
                channel.at = barrier
        if any(channel.at is None for channel in self.inputs):
            return None
        (barrier,) = {channel.at for channel in self.inputs}
        for channel in self.inputs:
            channel.at = None
        return barrier

    # ---------------------------------------------------------------- barriers

    def prepare(self, barrier: Barrier) -> SnapshotJob:
        """Prepare both sinks, then take the snapshot. Blocks: runs in a fiber while nothing else of the task moves."""
        rows, self._buffer = self._buffer, []
        for id, sink in self._sinks.items():
            payload = sink.prepare(barrier.epoch, self._subtask, rows)
            self._carried.append(
                Committable(id, self._subtask, barrier.epoch, self._token, self._previous[id], payload)
            )
            self._previous[id] = barrier.epoch
        self._snapshots += 1
        completed, files = self._done
        full = len(files) >= MOST_FILES or not files
        changed = {key: n for key, n in self.counts.items() if full or self._changed.get(key, -1) >= completed}
        self.snapshot_taken()
        base = () if full else files
        snapshot_number = self._snapshots
        epoch = barrier.epoch

        def write(store: SimulatedStore) -> OperatorSnapshot:
            with store.writer(state_key(self._token, epoch, self.operator, self._subtask, 0)) as blob:
                blob.write(json.dumps(changed).encode())
                files = (*base, blob.finish())
            self._written[epoch] = (snapshot_number, files)
            return OperatorSnapshot(self.operator, self._subtask, self.groups, {}, files)

        return SnapshotJob(self.name, epoch, write, tuple(self._carried))

    def snapshot_taken(self) -> None:
        """Nothing is clean yet: dirty sets clear only when a manifest is durable (P4)."""

    def completed(self, epoch: int) -> None:
        """The manifest of `epoch` is durable."""
        self._carried = [c for c in self._carried if c.epoch > epoch]
        self._done = self._written[epoch]
        self._written = {other: files for other, files in self._written.items() if other > epoch}

    # ---------------------------------------------------------------- restore

    def restore(self, store: SimulatedStore, snapshots: Iterable[OperatorSnapshot]) -> None:
        """Load the counts of the own key groups, whoever wrote them."""
        for snapshot in snapshots:
            for file in snapshot.files:
                for key, count in json.loads(bytes(read_verified(store, file))).items():
                    if self.groups[0] <= group_of(key) < self.groups[1]:
                        self.counts[key] = count


def group_of(key: str) -> int:
    """Return the key group of `key`."""
    return zlib.crc32(key.encode()) % KEY_GROUPS


def owner_of(key: str, parallelism: int) -> int:
    """Return the subtask that owns `key`."""
    group = group_of(key)
    return next(j for j in range(parallelism) if group < KEY_GROUPS * (j + 1) // parallelism)
