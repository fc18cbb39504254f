"""A two-phase sink that keeps its contract, and sinks that each break one rule of it.

Rows wait in ``staged``, and are published by one rename into ``published``, whose file names are the marks.
"""

from __future__ import annotations

import json
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from krishiv_checkpoint import CommitOutcome, Mark, Prepared, failpoint
from krishiv_conformance import SinkHarness
from krishiv_conformance._shipped import SqliteSinkHarness
from krishiv_connectors import SqliteSink, TwoPhaseSink
from krishiv_connectors._sink import refuse_newer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from krishiv_checkpoint import Committable
    from krishiv_connectors import SinkContext
    from krishiv_guarantees import SinkCapabilities

__all__ = ["MUTANTS", "HonestHarness", "HonestSink"]


@dataclass(frozen=True)
class Name:
    """Whose epoch a file is."""

    lineage: str
    sink: str
    job: str
    token: int
    epoch: int
    slot: int

    def __str__(self) -> str:
        return f"{self.lineage}~{self.sink}~{self.job}~{self.token}~{self.epoch}~{self.slot}"

    @classmethod
    def parse(cls, text: str) -> Name:
        lineage, sink, job, token, epoch, slot = text.split("~")[:6]
        return cls(lineage, sink, job, int(token), int(epoch), int(slot))


class HonestSink(TwoPhaseSink):
    """Keeps every rule."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staged, self.published = root / "staged", root / "published"
        self.rows: list[dict[str, Any]] = []

    def open(self, ctx: SinkContext) -> None:
        self.ctx = ctx
        self.rows = []
        self.staged.mkdir(parents=True, exist_ok=True)
        self.published.mkdir(parents=True, exist_ok=True)

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.to_pylist()

    def prepare(self, epoch: int) -> bytes:
        name = self.name(epoch)
        rows, self.rows = self.rows, []
        whole = self.root / f"whole-{uuid.uuid4().hex}"
        whole.write_text(dump(rows))
        whole.rename(self.staged / str(name))
        return str(name).encode()

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        (committable,) = committables
        if (self.last_applied(self.ctx.lineage, committable.slot) or 0) >= epoch:
            return CommitOutcome.already_done()
        return self.publish(committable.payload.decode())

    def publish(self, name: str) -> CommitOutcome:
        failpoint("commit.during")
        try:
            (self.staged / name).rename(self.published / name)
        except FileNotFoundError:
            if (self.published / name).exists():  # a racing committer was faster
                return CommitOutcome.already_done()
            return CommitOutcome.failed(f"{name} is not staged")
        failpoint("commit.during")
        return CommitOutcome.done()

    def abort(self, prepared: Sequence[Prepared]) -> None:
        refuse_newer(prepared, self.ctx.token)
        for item in prepared:
            (self.staged / item.payload.decode()).unlink(missing_ok=True)

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        return [
            Prepared(name.token, name.epoch, name.slot, str(name).encode())
            for name in names(self.staged)
            if (name.lineage, name.sink) == (lineage, self.ctx.sink_id)
        ]

    def last_applied(self, lineage: str, slot: int) -> int | None:
        mine = (lineage, self.ctx.sink_id, slot)
        epochs = (name.epoch for name in names(self.published) if (name.lineage, name.sink, name.slot) == mine)
        return max(epochs, default=None)

    def marks(self, job: str) -> Sequence[Mark]:
        newest: dict[tuple[str, int], int] = {}
        for name in names(self.published):
            if name.job == job:
                newest[name.lineage, name.slot] = max(name.epoch, newest.get((name.lineage, name.slot), 0))
        return [Mark(lineage, job, slot, epoch) for (lineage, slot), epoch in newest.items()]

    def rewind(self, lineage: str, epoch: int) -> bool:
        for name in list(names(self.published)):
            if name.lineage == lineage and name.epoch > epoch:
                (self.published / str(name)).unlink()
        return True

    def name(self, epoch: int) -> Name:
        ctx = self.ctx
        return Name(ctx.lineage, ctx.sink_id, ctx.job, ctx.token, epoch, ctx.slot or 0)


def names(folder: Path) -> Iterator[Name]:
    return (Name.parse(path.name) for path in sorted(folder.iterdir()))


def dump(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, default=str) + "\n" for row in rows)


class HonestHarness(SinkHarness):
    """Reads every file of a folder that a sink has published."""

    connector: ClassVar[type] = HonestSink

    def make(self, workdir: Path) -> Any:
        return self.connector(workdir)

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        lines: list[str] = []
        for path in sorted((workdir / "published").glob("*")):
            with suppress(FileNotFoundError):  # rewound meanwhile
                lines += path.read_text().splitlines()
        rows = [
            {**row, "at": pa.scalar(row["at"]).cast(schema.field("at").type).as_py()} for row in map(json.loads, lines)
        ]
        return pa.Table.from_pylist(rows, schema=schema)


# ---------------------------------------------------------------- what is wrong with each


class PublishesAtWrite(HonestSink):
    def write(self, batch: pa.RecordBatch) -> None:
        (self.published / f"{self.name(0)}~{uuid.uuid4().hex}").write_text(dump(batch.to_pylist()))


class PublishesAtPrepare(HonestSink):
    def prepare(self, epoch: int) -> bytes:
        payload = super().prepare(epoch)
        self.publish(payload.decode())
        return payload


class KnowsOnlyWhatItPrepared(HonestSink):
    """After a restart it reports success without committing."""

    prepared: ClassVar[set[bytes]] = set()

    def prepare(self, epoch: int) -> bytes:
        payload = super().prepare(epoch)
        self.prepared.add(payload)
        return payload

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        (committable,) = committables
        if committable.payload not in self.prepared or committable.token != self.ctx.token:
            return CommitOutcome.done()
        return super().commit(epoch, committables)


class CommitsAgain(HonestSink):
    """Publishes a copy each time it is asked."""

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        (committable,) = committables
        name = committable.payload.decode()
        staged = self.staged / name
        kept = self.staged.parent / f"kept-{name}"
        if staged.exists():
            staged.rename(kept)
        (self.published / f"{name}~{uuid.uuid4().hex}").write_text(kept.read_text())
        return CommitOutcome.done()


class PublishesTheFolder(HonestSink):
    """Publishes whatever is staged for the epoch."""

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        for name in list(names(self.staged)):
            if name.epoch == epoch:
                self.publish(str(name))
        return CommitOutcome.done()


class ListsNothing(HonestSink):
    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        return []


class AbortsByEpoch(HonestSink):
    def abort(self, prepared: Sequence[Prepared]) -> None:
        epochs = {item.epoch for item in prepared}
        for name in list(names(self.staged)):
            if name.epoch in epochs:
                (self.staged / str(name)).unlink()


class AbortsForZombies(HonestSink):
    def abort(self, prepared: Sequence[Prepared]) -> None:
        for item in prepared:
            (self.staged / item.payload.decode()).unlink(missing_ok=True)


class AbortsNothing(HonestSink):
    def abort(self, prepared: Sequence[Prepared]) -> None:
        pass


class AppliedIsWhatWasPrepared(HonestSink):
    """`last_applied` lies: it counts staged epochs."""

    def last_applied(self, lineage: str, slot: int) -> int | None:
        epochs = [name.epoch for folder in (self.staged, self.published) for name in names(folder)]
        return max(epochs, default=None)


class MarksOfAnyJob(HonestSink):
    def marks(self, job: str) -> Sequence[Mark]:
        return [Mark(name.lineage, job, name.slot, name.epoch) for name in names(self.published)]


class SkipsEmptyEpochs(HonestSink):
    """Leaves no mark of an epoch without rows."""

    def publish(self, name: str) -> CommitOutcome:
        if not (self.staged / name).stat().st_size:
            (self.staged / name).unlink()
            return CommitOutcome.done()
        return super().publish(name)


class OneStagePerSlot(HonestSink):
    """A later epoch overwrites the one that waits."""

    def prepare(self, epoch: int) -> bytes:
        rows, self.rows = self.rows, []
        (self.staged / str(self.name(1))).write_text(dump(rows))
        return str(self.name(epoch)).encode()

    def publish(self, name: str) -> CommitOutcome:
        with suppress(FileNotFoundError):
            (self.staged / str(self.name(1))).rename(self.published / name)
        return CommitOutcome.done()

    def name(self, epoch: int) -> Name:
        whole = super().name(epoch)
        return Name(whole.lineage, whole.sink, whole.job, 1, epoch, whole.slot)


class IgnoresSlots(HonestSink):
    """Both slots stage under one name."""

    def name(self, epoch: int) -> Name:
        whole = super().name(epoch)
        return Name(whole.lineage, whole.sink, whole.job, whole.token, epoch, 0)


class AppendsWhatIsLeft(HonestSink):
    """Unprepared rows of a dead writer end up in the next epoch."""

    def write(self, batch: pa.RecordBatch) -> None:
        with (self.root / "open").open("a") as file:
            file.write(dump(batch.to_pylist()))

    def prepare(self, epoch: int) -> bytes:
        name = self.name(epoch)
        open_file = self.root / "open"
        open_file.touch()
        open_file.rename(self.staged / str(name))
        return str(name).encode()


class MissingIsDone(HonestSink):
    """Takes an epoch that is gone for one that was applied."""

    def publish(self, name: str) -> CommitOutcome:
        outcome = super().publish(name)
        return outcome if (self.published / name).exists() else CommitOutcome.already_done()


class DataThenMark(HonestSink):
    """Appends the rows, and notes the mark in a second step; between them lies a moment."""

    race: ClassVar[threading.Event] = threading.Event()

    def publish(self, name: str) -> CommitOutcome:
        staged = self.staged / name
        (self.published / f"{name}~{uuid.uuid4().hex}").write_text(staged.read_text())
        for _ in range(4):
            failpoint("commit.during")
        self.race.wait(0.02)
        (self.root / f"mark-{name}").touch()
        return CommitOutcome.done()

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        applied = self.last_applied(lineage, 0) or 0
        return [item for item in super().list_prepared(lineage) if item.epoch > applied]

    def last_applied(self, lineage: str, slot: int) -> int | None:
        marks = (Name.parse(path.name.removeprefix("mark-")) for path in self.root.glob("mark-*"))
        return max((name.epoch for name in marks if (name.lineage, name.slot) == (lineage, slot)), default=None)


class MarksLate(DataThenMark):
    """The mark of an epoch is written with the next one."""

    def last_applied(self, lineage: str, slot: int) -> int | None:
        applied = super().last_applied(lineage, slot)
        return None if applied is None or applied < 2 else applied - 1


class IgnoresLineage(HonestSink):
    def last_applied(self, lineage: str, slot: int) -> int | None:
        return max((name.epoch for name in names(self.published)), default=None)


class RewindsTooFar(HonestSink):
    def rewind(self, lineage: str, epoch: int) -> bool:
        return super().rewind(lineage, epoch - 1)


class CommitsAtClose(HonestSink):
    """Reports what it has only noted down: the rows appear when the committer is closed."""

    def open(self, ctx: SinkContext) -> None:
        super().open(ctx)
        self.noted: list[str] = []

    def publish(self, name: str) -> CommitOutcome:
        kept = self.root / f"kept-{name}"
        if (self.staged / name).exists():
            (self.staged / name).rename(kept)
        self.noted.append(name)
        return CommitOutcome.done()

    def last_applied(self, lineage: str, slot: int) -> int | None:
        noted = [Name.parse(name).epoch for name in self.noted]
        return max([*noted, super().last_applied(lineage, slot) or 0]) or None

    def close(self) -> None:
        for name in self.noted:
            (self.published / f"{name}~{uuid.uuid4().hex}").write_text((self.root / f"kept-{name}").read_text())
        self.noted = []


class ClearsAtCheck(HonestSink):
    """Empties its target whenever a pipeline is submitted."""

    def check(self, schema: pa.Schema) -> None:
        for path in self.published.glob("*"):
            path.unlink()


class AppliesFromAnywhere(SqliteSink):
    """Moves the mark whatever it says."""

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        super().apply(slot, epoch, self.last_applied(self.ctx.lineage, slot) or 0, token, batches)


class AppliesFromAnywhereHarness(SqliteSinkHarness):
    connector = AppliesFromAnywhere

    def make(self, workdir: Path) -> AppliesFromAnywhere:
        return AppliesFromAnywhere(workdir / "output.sqlite", "rows")


class AtomicSink(HonestSink):
    """Claims that epochs appear as a whole, and keeps it: with one slot an epoch is a file."""

    def capabilities(self) -> SinkCapabilities:
        return replace(super().capabilities(), atomic_epochs=True)


class AtomicHarness(HonestHarness):
    connector = AtomicSink


class TornHarness(AtomicHarness):
    """To readers that take epochs as a whole, a row is missing."""

    def read_whole(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        return self.read(workdir, schema).slice(1)


MUTANTS: tuple[type[HonestSink], ...] = (
    PublishesAtWrite,
    PublishesAtPrepare,
    KnowsOnlyWhatItPrepared,
    CommitsAgain,
    PublishesTheFolder,
    ListsNothing,
    AbortsByEpoch,
    AbortsForZombies,
    AbortsNothing,
    AppliedIsWhatWasPrepared,
    MarksOfAnyJob,
    SkipsEmptyEpochs,
    OneStagePerSlot,
    IgnoresSlots,
    AppendsWhatIsLeft,
    MissingIsDone,
    DataThenMark,
    MarksLate,
    IgnoresLineage,
    RewindsTooFar,
    CommitsAtClose,
    ClearsAtCheck,
)
"""Every broken sink but the staging one. Each has a harness of its name with ``Harness`` behind it, for children."""

for _mutant in MUTANTS:
    _name = f"{_mutant.__name__}Harness"
    globals()[_name] = type(_name, (HonestHarness,), {"connector": _mutant, "__module__": __name__})
