"""A two-phase sink under direct test: writers and committers as the engine would make them, without an engine."""

from __future__ import annotations

import copy
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Self

import msgspec
import pyarrow as pa

from krishiv_checkpoint import CommitScope, CommitStatus, Committable, StateFile, read_verified
from krishiv_conformance._case import expect
from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._job import JOB, SINK, STORE
from krishiv_conformance._rows import SCHEMA, expect_rows, make_rows, rows_of, settled
from krishiv_connectors import SinkContext, StagedSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from krishiv_checkpoint import CommitOutcome, Prepared
    from krishiv_conformance._case import Ground
    from krishiv_conformance._rows import Row
    from krishiv_connectors import TwoPhaseSink

__all__ = ["SinkBench", "Slot", "identities"]

_PATIENCE = 30.0


@dataclass
class Slot:
    """One writer: a slot of a sink in one attempt."""

    sink: TwoPhaseSink
    context: SinkContext
    previous: int

    def write(self, rows: pa.Table) -> None:
        """Write `rows` in two batches."""
        for part in (rows.slice(0, rows.num_rows // 2), rows.slice(rows.num_rows // 2)):
            for batch in part.to_batches():
                self.sink.write(batch)

    def prepare(self, epoch: int) -> Committable:
        """Prepare `epoch`, and say so as the engine would."""
        payload = self.sink.prepare(epoch)
        slot, context = self.context.slot, self.context
        if slot is None:
            raise AssertionError("a writer has a slot")
        committable = Committable(context.sink_id, slot, epoch, context.token, self.previous, payload)
        self.previous = epoch
        return committable


@dataclass
class SinkBench:
    """What a contract case works with.

    Parameters
    ----------
    ground : Ground
    job, lineage : str
        Whose output it is.
    """

    ground: Ground
    job: str = JOB
    lineage: str = ""
    _made: int = 0
    _committed: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.lineage = self.lineage or self.new_lineage()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def new_lineage(self) -> str:
        """Mint a lineage."""
        return f"{self.ground.random.getrandbits(128):032x}"

    def rows(self, count: int = 10) -> pa.Table:
        """Return `count` new rows x `SCHEMA`."""
        self._made += count
        return make_rows(self.ground.seed, count, first=self._made - count)

    # ---------------------------------------------------------------- copies of the sink

    def slot(self, number: int = 0, *, token: int = 1, lineage: str = "", sink_id: str = SINK) -> Slot:
        """Open a writer. Its chain of epochs begins at what was committed (P14)."""
        context = self._context(number, token, lineage, sink_id)
        sink = self._open(context)
        return Slot(sink, context, self._committed.get((context.lineage, sink_id, number), 0))

    def committer(self, *, token: int = 1, lineage: str = "", sink_id: str = SINK) -> TwoPhaseSink:
        """Open a committer: a fresh object, as in a fresh process."""
        return self._open(self._context(None, token, lineage, sink_id))

    def staged_committer(self, *, token: int) -> StagedSink:
        """Open a committer of a staging sink."""
        committer = self.committer(token=token)
        if not isinstance(committer, StagedSink):
            raise TypeError(f"{type(committer).__name__} is no StagedSink")
        return committer

    def _open(self, context: SinkContext) -> TwoPhaseSink:
        sink = copy.copy(self.ground.sink.make(self.ground.workdir / SINK))
        sink.open(context)
        self._stack.callback(sink.close)
        return sink

    def _context(self, slot: int | None, token: int, lineage: str, sink_id: str) -> SinkContext:
        return SinkContext(
            job=self.job,
            lineage=lineage or self.lineage,
            sink_id=sink_id,
            slot=slot,
            token=token,
            schema=SCHEMA,
            store=self.ground.store.make(self.ground.workdir / STORE, self.job),
        )

    # ---------------------------------------------------------------- steps

    def stage(self, slot: Slot, epoch: int, rows: pa.Table | None = None) -> Committable:
        """Write `rows` and prepare `epoch`."""
        if rows is not None:
            slot.write(rows)
        return slot.prepare(epoch)

    def staged(self, slot: Slot, epoch: int, rows: pa.Table) -> list[pa.RecordBatch]:
        """Prepare `rows` as `epoch` of a staging sink, and return what it staged: that is what `apply` gets."""
        file = msgspec.json.decode(self.stage(slot, epoch, rows).payload, type=StateFile)
        data = read_verified(self.ground.store.make(self.ground.workdir / STORE, self.job), file)
        return list(pa.ipc.open_stream(pa.py_buffer(data)))

    def commit(self, committer: TwoPhaseSink, committables: Sequence[Committable]) -> list[CommitStatus]:
        """Commit `committables`, oldest first, as `commit_scope` says; each has to end well."""
        ordered = sorted(committables, key=lambda c: (c.epoch, c.slot))
        statuses: list[CommitStatus] = []
        for epoch, group in groupby(ordered, key=lambda c: c.epoch):
            together = list(group)
            calls = [together] if committer.commit_scope is CommitScope.EPOCH else [[c] for c in together]
            for call in calls:
                outcome = self.try_commit(committer, epoch, call)
                ended = outcome.status in (CommitStatus.DONE, CommitStatus.ALREADY_DONE)
                expect(ended, f"commit of epoch {epoch} ended as {outcome.status.value}: {outcome.reason}")
                statuses.append(outcome.status)
        return statuses

    def try_commit(self, committer: TwoPhaseSink, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Call `commit` until it asks for no more time."""
        deadline = time.monotonic() + _PATIENCE
        while (outcome := committer.commit(epoch, committables)).status is CommitStatus.RETRY_LATER:
            if time.monotonic() > deadline:
                raise CaseFailed(f"commit of epoch {epoch} asked to wait for {_PATIENCE:g} s: {outcome.reason}")
            time.sleep(min(outcome.after, 0.5))
        for committable in committables:
            if outcome.status in (CommitStatus.DONE, CommitStatus.ALREADY_DONE):
                self._committed[self.lineage, committable.sink, committable.slot] = epoch
        return outcome

    # ---------------------------------------------------------------- what is seen

    def expect_visible(self, tables: Iterable[pa.Table], where: str) -> None:
        """Expect readers to see exactly the rows of `tables`."""
        wanted = [row for table in tables for row in rows_of(table)]
        expect_rows(wanted, settled(self.visible, len(wanted), self.ground.sink.lag), where)

    def visible(self) -> list[Row]:
        """Return what readers see now."""
        return rows_of(self.ground.sink.read(self.ground.workdir / SINK, SCHEMA))


def identities(prepared: Iterable[Prepared]) -> list[tuple[int, int, int]]:
    """Return token, epoch and slot of each artefact whose epoch is known, sorted."""
    return sorted((item.token, item.epoch, item.slot) for item in prepared if item.epoch)
