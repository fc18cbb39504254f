"""What these tests share: a sink's outside world, ready-made entries, and stores that misbehave on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import (
    Attempt,
    BarrierKind,
    BlobWriter,
    CheckpointStore,
    CommitOutcome,
    CommitScope,
    Committable,
    Committer,
    Fingerprint,
    Finish,
    JobLog,
    KeyExists,
    Manifest,
    Mark,
    OperatorIdentity,
    OperatorSnapshot,
    Prepared,
    RetryPolicy,
    Takeover,
    begin_attempt,
    create_savepoint,
    read_verified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from krishiv_guarantees import StoreCapabilities

LINEAGE = "a" * 32
OTHER = "b" * 32
DONE = {"out": {"0": 2}}
PLAN = Fingerprint(
    (
        OperatorIdentity("bids", "source", True),
        OperatorIdentity("totals", "window", True, "sum: int64", ("bids",)),
        OperatorIdentity("out", "sink", True, "", ("totals",)),
    )
)


def takeover(token: int = 1, writer: str = "", lineage: str = LINEAGE, highest: int = 0) -> Takeover:
    return Takeover(1, "job", lineage, token, writer or f"w{token}", highest)


def manifest(
    epoch: int,
    *,
    token: int = 1,
    writer: str = "",
    lineage: str = LINEAGE,
    job: str = "job",
    operators: tuple[OperatorSnapshot, ...] = (),
    committed: Mapping[str, Mapping[str, int]] | None = None,
    pending: tuple[Committable, ...] = (),
    plan: Fingerprint = PLAN,
    highest: int | None = None,
    left: tuple[tuple[int, int], ...] = (),
) -> Manifest:
    return Manifest(
        format=1,
        job=job,
        lineage=lineage,
        token=token,
        writer=writer or f"w{token}",
        epoch=epoch,
        highest_epoch=epoch if highest is None else highest,
        kind=BarrierKind.CHECKPOINT,
        fingerprint=plan,
        operators=operators,
        committed_through={sink: dict(slots) for sink, slots in (committed or {}).items()},
        pending=pending,
        created="2026-01-01T00:00:00.000+00:00",
        left=left,
    )


def finish(epoch: int, token: int = 1) -> Finish:
    return Finish(1, token, f"w{token}", epoch, "finished")


def committable(epoch: int, slot: int = 0, *, sink: str = "out", token: int = 1, previous: int = -1) -> Committable:
    before = epoch - 1 if previous < 0 else previous
    return Committable(sink, slot, epoch, token, before, f"rows of {sink} {slot} {epoch}".encode())


@dataclass
class World:
    """What a sink's target holds: it outlives every attempt.

    Epochs applied are kept in the order in which they were, so that a test sees doubles and gaps.
    """

    scope: CommitScope = CommitScope.SLOT
    can_rewind: bool = False
    applied: dict[tuple[str, int], list[int]] = field(default_factory=dict[tuple[str, int], list[int]])
    prepared: dict[str, list[Prepared]] = field(default_factory=dict[str, list[Prepared]])
    jobs: dict[str, str] = field(default_factory=dict[str, str])
    script: list[CommitOutcome | Exception | Callable[[], CommitOutcome]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list[str])
    aborted: list[Prepared] = field(default_factory=list[Prepared])

    def apply(self, epoch: int, slot: int = 0, *, lineage: str = LINEAGE, job: str = "job") -> None:
        self.applied.setdefault((lineage, slot), []).append(epoch)
        self.jobs[lineage] = job

    def prepare(self, epoch: int, slot: int = 0, *, token: int = 1, lineage: str = LINEAGE) -> None:
        self.prepared.setdefault(lineage, []).append(Prepared(token, epoch, slot, b""))

    def epochs(self, slot: int = 0, lineage: str = LINEAGE) -> list[int]:
        return self.applied.get((lineage, slot), [])

    def newest(self, lineage: str, slot: int) -> int | None:
        slots = [s for (ln, s) in self.applied if ln == lineage] if self.scope is CommitScope.EPOCH else [slot]
        return max((e for s in slots for e in self.epochs(s, lineage)), default=None)


class FakeCommitter:
    """The committer of a sink over a `World`, opened under one lineage and token."""

    def __init__(self, world: World, lineage: str, token: int, job: str = "job") -> None:
        self.world = world
        self.lineage = lineage
        self.token = token
        self.job = job

    @property
    def commit_scope(self) -> CommitScope:
        return self.world.scope

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        slots = [c.slot for c in committables]
        self.world.calls.append(f"commit {epoch} {slots}")
        if self.world.script:
            step = self.world.script.pop(0)
            if isinstance(step, Exception):
                raise step
            if callable(step):
                return step()
            return step
        self._apply(epoch, slots)
        return CommitOutcome.done()

    def _apply(self, epoch: int, slots: Sequence[int]) -> None:
        for slot in slots:
            self.world.apply(epoch, slot, lineage=self.lineage, job=self.job)
        left = [
            p for p in self.world.prepared.get(self.lineage, []) if (p.epoch, p.slot) not in {(epoch, s) for s in slots}
        ]
        self.world.prepared[self.lineage] = left

    def abort(self, prepared: Sequence[Prepared]) -> None:
        self.world.aborted.extend(prepared)
        for lineage, listed in self.world.prepared.items():
            self.world.prepared[lineage] = [p for p in listed if p not in prepared]

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        return list(self.world.prepared.get(lineage, []))

    def last_applied(self, lineage: str, slot: int) -> int | None:
        self.world.calls.append(f"last_applied {slot}")
        return self.world.newest(lineage, slot)

    def marks(self, job: str) -> Sequence[Mark]:
        keys = [(ln, slot) for ln, slot in self.world.applied if self.world.jobs.get(ln) == job]
        return [
            Mark(ln, job, slot, max(self.world.applied[ln, slot])) for ln, slot in keys if self.world.applied[ln, slot]
        ]

    def rewind(self, lineage: str, epoch: int) -> bool:
        if not self.world.can_rewind:
            return False
        for key, epochs in self.world.applied.items():
            if key[0] == lineage:
                self.world.applied[key] = [e for e in epochs if e <= epoch]
        return True


@dataclass
class Sinks:
    """Opens committers over worlds, and remembers under what."""

    worlds: dict[str, World]
    job: str = "job"
    opened: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def __call__(self, lineage: str, token: int) -> Mapping[str, Committer]:
        self.opened.append((lineage, token))
        return {sink: FakeCommitter(world, lineage, token, self.job) for sink, world in self.worlds.items()}


class Wrapped:
    """A store that lets a test step in before and after `create`, and after `list`."""

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self.before_create: Iterator[Callable[[], object]] = iter(())
        self.after_create: Iterator[Callable[[], object]] = iter(())
        self.after_list: Iterator[Callable[[], object]] = iter(())
        self.lists = 0

    def capabilities(self) -> StoreCapabilities:
        return self.store.capabilities()

    def create(self, key: str, data: bytes) -> None:
        next(self.before_create, _nothing)()
        self.store.create(key, data)
        next(self.after_create, _nothing)()

    def writer(self, key: str, *, final: bool = False) -> AbstractContextManager[BlobWriter]:
        return self.store.writer(key, final=final)

    def get(self, key: str) -> memoryview:
        return self.store.get(key)

    def list(self, prefix: str) -> list[str]:
        self.lists += 1
        keys = self.store.list(prefix)
        next(self.after_list, _nothing)()
        return keys

    def delete(self, key: str) -> None:
        self.store.delete(key)


def _nothing() -> None:
    pass


def reply_lost() -> None:
    """What an object store's client says when it repeated a create whose first reply was lost."""
    raise KeyExists("taken")


def overwrite(store: CheckpointStore, key: str, data: bytes) -> None:
    """Damage a blob, as no code of ours does."""
    store.delete(key)
    store.create(key, data)


def put(store: CheckpointStore, key: str, data: bytes) -> OperatorSnapshot:
    """Write a state file, and return a snapshot of the window that refers to it."""
    with store.writer(key) as writer:
        writer.write(data)
        file = writer.finish()
    return OperatorSnapshot("totals", 0, (0, 128), {}, (file,))


class StubClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def begin(store: CheckpointStore, sinks: Sinks, clock: StubClock | None = None, **options: Any) -> Attempt:
    """Begin an attempt of "job" on `PLAN`, without real time."""
    clock = clock or StubClock()
    policy = RetryPolicy(
        sleep=clock.sleep,
        clock=clock,
        give_up_after=options.pop("give_up_after", 100.0),
        max_errors=options.pop("max_errors", 3),
    )
    options.setdefault("fingerprint", PLAN)
    options.setdefault("job", "job")
    return begin_attempt(store, open_committers=sinks, retry=policy, now=lambda: "now", **options)


def run_epoch(
    attempt: Attempt, epoch: int, world: World, slots: Sequence[int] = (0,), *, commit: bool = True
) -> Manifest:
    """Do what a coordinator and a sink do in one epoch, from prepare to commit."""
    view = attempt.log.read()
    through = view.manifest.committed_through if view.manifest and view.manifest.token == attempt.token else None
    through = through or attempt.committed_through
    done = {slot: world.newest(attempt.lineage, slot) or 0 for slot in slots}
    before = {int(s): e for s, e in through.get("out", {}).items()}
    pending = tuple(
        committable(epoch, slot, token=attempt.token, previous=max(done[slot], before.get(slot, 0))) for slot in slots
    )
    for slot in slots:
        world.prepare(epoch, slot, token=attempt.token, lineage=attempt.lineage)
    written = manifest(
        epoch,
        token=attempt.token,
        writer=attempt.writer,
        lineage=attempt.lineage,
        committed={"out": {str(s): e for s, e in {**before, **done}.items() if e}},
        pending=pending,
        left=attempt.manifest.left if attempt.manifest else (),
    )
    attempt.log.append(written)
    if commit:
        attempt.committers["out"].commit(epoch, pending)
    return written


def job_with_savepoint(store: CheckpointStore, location: str = "before-upgrade") -> Manifest:
    """Epoch 2 of a job with one state file, saved; the job's log ends there."""
    log = JobLog(store)
    log.append(takeover(1))
    written = manifest(
        2,
        operators=(put(store, "state/1-2/totals-0-0.arrow", b"state of epoch 2"), OperatorSnapshot("bids", 0)),
        committed={"out": {"0": 1}},
        pending=(committable(2),),
    )
    log.append(written)
    create_savepoint(log, written, location, DONE)
    return written


def applied_through(epoch: int, **options: bool) -> World:
    world = World(**options)
    for number in range(1, epoch + 1):
        world.apply(number)
    return world


def state_of(store: CheckpointStore, operators: tuple[OperatorSnapshot, ...]) -> list[bytes]:
    return [bytes(read_verified(store, file)) for snapshot in operators for file in snapshot.files]


def go_on(store: CheckpointStore, *epochs: int) -> None:
    log = JobLog(store)
    for epoch in epochs:
        log.append(manifest(epoch, committed={"out": {"0": epoch - 1}}, pending=(committable(epoch),)))


def logged(store: CheckpointStore, *entries: object) -> JobLog:
    log = JobLog(store)
    log.append(takeover(1))
    for entry in entries:
        log.append(entry)
    return log


def two_sinks() -> Fingerprint:
    source, window, sink = PLAN.operators
    return Fingerprint(
        (source, window, *(type(sink)(name, "sink", True, "", ("totals",)) for name in ("left", "right")))
    )
