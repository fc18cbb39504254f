"""Two model sinks, each with a writer per slot and a committer: files (EPOCH scope), a staged table (SLOT scope)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_checkpoint import (
    CommitOutcome,
    CommitScope,
    Committable,
    Mark,
    Prepared,
    StateFile,
    parse_staged_key,
    read_verified,
    staged_key,
)
from krishiv_checkpoint._errors import CorruptState
from tests.simulate.outside import Applied, FileTarget, MarkIsNot, Outside, Row, StagedName, TableTarget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulate.kernel import Kernel
    from tests.simulate.store import Faults, SimulatedStore

__all__ = ["FileSink", "Identity", "TableSink"]


@dataclass(frozen=True)
class Identity:
    """Who a sink's copy is."""

    job: str
    lineage: str
    token: int


class _Sink:
    def __init__(self, kernel: Kernel, outside: Outside, store: SimulatedStore, faults: Faults, who: Identity) -> None:
        self.kernel = kernel
        self.store = store
        self.faults = faults
        self.who = who
        self.files: FileTarget = outside.files
        self.table: TableTarget = outside.table

    def point(self, label: str) -> None:
        self.kernel.point(f"{type(self).__name__} {label}")

    def trouble(self) -> CommitOutcome | None:
        """Before a commit does anything: all is well, or it has to wait, or the target is out of reach."""
        chance = self.kernel.random.random()
        if chance < self.faults.unreachable:
            raise OSError("the target is out of reach")
        return CommitOutcome.retry("busy", after=0.1) if chance > 1 - self.faults.busy else None

    def reply(self) -> None:
        if self.kernel.random.random() < self.faults.reply_lost:
            raise OSError("the target's reply was lost")


class FileSink(_Sink):
    """Files with their final names, staged; a commit publishes exactly those it lists by one rename."""

    commit_scope = CommitScope.EPOCH

    def prepare(self, epoch: int, slot: int, rows: Sequence[Row]) -> bytes:
        name = self.name(self.who.token, epoch, slot)
        self.point(f"prepares {epoch}/{slot}")
        self.files.staged[name] = tuple(rows)
        self.point(f"prepared {epoch}/{slot}")
        return _digest(rows).encode()

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        self.point(f"commits {epoch}")
        if (wait := self.trouble()) is not None:
            return wait
        listed = {self.name(c.token, c.epoch, c.slot): c.payload.decode() for c in committables}
        if (self.who.lineage, epoch) in self.files.published:
            return self._compare(epoch, listed)
        content = {name: self.files.staged.get(name) for name in self.collect(epoch, listed)}
        if any(rows is None or _digest(rows) != listed.get(name, _digest(rows)) for name, rows in content.items()):
            if (self.who.lineage, epoch) in self.files.published:
                return self._compare(epoch, listed)
            return CommitOutcome.failed(f"the staged files of epoch {epoch} are not what was prepared")
        self.point(f"renames {epoch}")
        if any(name not in self.files.staged for name in content):
            # The directory to rename is made of these very files: without them the rename itself fails.
            return CommitOutcome.retry("the directory is gone", after=0.1)
        files = {name.slot: rows or () for name, rows in content.items()}
        if not self.files.rename(self.who.job, self.who.lineage, epoch, files):
            return self._compare(epoch, listed)
        self.point(f"renamed {epoch}")
        self.reply()
        for name in content:
            self.files.staged.pop(name, None)
            self.point(f"cleans {epoch}")
        return CommitOutcome.done()

    def name(self, token: int, epoch: int, slot: int) -> StagedName:
        """Return the name of a staged file: whoever made it, and for what (P11)."""
        return StagedName(self.who.lineage, token, epoch, slot)

    def collect(self, epoch: int, listed: dict[StagedName, str]) -> list[StagedName]:
        """Return the names to publish: what the committables list, whatever else a directory may hold (P11)."""
        return list(listed)

    def _compare(self, epoch: int, listed: dict[StagedName, str]) -> CommitOutcome:
        there = {slot: _digest(rows) for slot, rows in self.files.published[self.who.lineage, epoch].items()}
        if there == {name.slot: digest for name, digest in listed.items()}:
            return CommitOutcome.already_done()
        return CommitOutcome.failed(f"epoch {epoch} is there with other content")

    def abort(self, prepared: Sequence[Prepared]) -> None:
        for item in prepared:
            self.point(f"aborts {item.token}-{item.epoch}-{item.slot}")
            name = StagedName(item.payload.decode(), item.token, item.epoch, item.slot)
            self.files.staged.pop(name, None)

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        self.point("lists what is prepared")
        names = sorted(name for name in self.files.staged if name.lineage == lineage)
        return [Prepared(name.token, name.epoch, name.slot, name.lineage.encode()) for name in names]

    def last_applied(self, lineage: str, slot: int) -> int | None:
        self.point("reads its newest epoch")
        return self.files.newest(lineage)

    def marks(self, job: str) -> Sequence[Mark]:
        self.point("reads its marks")
        lineages = [lineage for lineage, owner in self.files.jobs.items() if owner == job]
        return [Mark(lineage, job, 0, newest) for lineage in lineages if (newest := self.files.newest(lineage))]

    def rewind(self, lineage: str, epoch: int) -> bool:
        for place in [place for place in self.files.published if place[0] == lineage and place[1] > epoch]:
            self.point(f"takes back {place[1]}")
            del self.files.published[place]
        return True


class TableSink(_Sink):
    """Rows staged in the checkpoint store, applied with their mark in one transaction (P14)."""

    commit_scope = CommitScope.SLOT

    def prepare(self, epoch: int, slot: int, rows: Sequence[Row]) -> bytes:
        key = staged_key("table", self.who.token, epoch, slot)
        with self.store.writer(key) as blob:
            blob.write(json.dumps(rows).encode())
            file = blob.finish()
        return json.dumps([file.key, file.sha256, file.size]).encode()

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        (committable,) = committables
        slot, lineage = committable.slot, self.who.lineage
        self.point(f"commits {epoch}/{slot}")
        if (wait := self.trouble()) is not None:
            return wait
        if (self.last_applied(lineage, slot) or 0) >= epoch:
            return CommitOutcome.already_done()
        try:
            staged = read_verified(self.store, StateFile(*json.loads(committable.payload)))
        except CorruptState as gone:
            if (self.last_applied(lineage, slot) or 0) >= epoch:
                return CommitOutcome.already_done()
            return CommitOutcome.failed(str(gone))
        applied = Applied(lineage, slot, epoch, tuple(Row(*row) for row in json.loads(bytes(staged))))
        self.point(f"applies {epoch}/{slot}")
        try:
            self.table.apply(self.who.job, applied, committable.previous)
        except MarkIsNot as moved:
            if moved.found >= epoch:  # a newer attempt went past it
                return CommitOutcome.already_done()
            return CommitOutcome.failed(f"slot {slot} cannot go to epoch {epoch}: {moved}")
        self.point(f"applied {epoch}/{slot}")
        self.reply()
        return CommitOutcome.done()

    def abort(self, prepared: Sequence[Prepared]) -> None:
        for item in prepared:
            self.store.delete(staged_key("table", item.token, item.epoch, item.slot))

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        keys = map(parse_staged_key, self.store.list("staged/table/"))
        found = [Prepared(key.token, key.epoch, key.slot, b"") for key in keys if key is not None]
        return [item for item in found if item.epoch > self.table.marks.get((lineage, item.slot), 0)]

    def last_applied(self, lineage: str, slot: int) -> int | None:
        self.point(f"reads the mark of {slot}")
        return self.table.marks.get((lineage, slot))

    def marks(self, job: str) -> Sequence[Mark]:
        self.point("reads its marks")
        found = sorted(self.table.marks.items())
        return [Mark(lineage, job, slot, epoch) for (lineage, slot), epoch in found if self.table.jobs[lineage] == job]

    def rewind(self, lineage: str, epoch: int) -> bool:
        self.point(f"goes back to {epoch}")
        self.table.rewind(lineage, epoch)
        return True


def _digest(rows: Sequence[Row]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
