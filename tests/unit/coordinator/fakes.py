"""Parts for a driver under test: tasks that answer barriers when told to, and a sink that applies into a list."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from krishiv_checkpoint import (
    Ack,
    Attempt,
    BarrierKind,
    CheckpointDriver,
    CheckpointEvent,
    CheckpointSettings,
    CommitOutcome,
    CommitScope,
    Committable,
    Fingerprint,
    Mark,
    MemoryStore,
    OperatorIdentity,
    Prepared,
    begin_attempt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""

FINGERPRINT = Fingerprint(
    (OperatorIdentity("a", "source", True), OperatorIdentity("sink", "sink", True, inputs=("a",)))
)


@dataclass
class FakeSink:
    """A committer whose target is a list of applied epochs."""

    commit_scope: CommitScope = CommitScope.SLOT
    applied: list[int] = field(default_factory=list)
    before_commit: Callable[[int], CommitOutcome | None] = lambda epoch: None
    looked: int = 0
    threads: set[str] = field(default_factory=set)

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        self.threads.add(threading.current_thread().name)
        outcome = self.before_commit(epoch)
        if outcome is None:
            self.applied.append(epoch)
            outcome = CommitOutcome.done()
        return outcome

    def abort(self, prepared: Sequence[Prepared]) -> None:
        raise AssertionError("nothing is left to abort in these tests")

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        return ()

    def last_applied(self, lineage: str, slot: int) -> int | None:
        self.looked += 1
        return self.applied[-1] if self.applied else None

    def marks(self, job: str) -> Sequence[Mark]:
        return ()

    def rewind(self, lineage: str, epoch: int) -> bool:
        return False


class Plane:
    """Keeps what the driver tells the tasks; a test takes it out in order."""

    def __init__(self) -> None:
        self.told: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self.kinds: dict[int, BarrierKind] = {}
        self.on_trigger: Callable[[int], None] = lambda epoch: None

    def trigger(self, epoch: int, kind: BarrierKind) -> None:
        self.kinds[epoch] = kind
        self.on_trigger(epoch)
        self.told.put(("trigger", epoch))

    def completed(self, epoch: int) -> None:
        self.told.put(("completed", epoch))

    def committed(self, epoch: int) -> None:
        self.told.put(("committed", epoch))

    def next(self) -> tuple[str, int]:
        return self.told.get(timeout=PATIENCE)


class Rig:
    """A driver over a real log in memory, with one task and one sink; use as a context manager."""

    def __init__(self, store: MemoryStore | None = None, **settings: object) -> None:
        self.store = store or MemoryStore()
        self.sink = FakeSink()
        self.plane = Plane()
        self.outcome: SimpleQueue[str | BaseException] = SimpleQueue()
        self.events: list[CheckpointEvent] = []
        self._settings = CheckpointSettings(**{"checkpoint_interval": None, **settings})  # type: ignore[arg-type]
        self.attempt = self.begin()
        self.driver = CheckpointDriver(
            attempt=self.attempt,
            store=self.store,
            committers=self.attempt.committers,
            plane=self.plane,
            tasks=["task"],
            fingerprint=FINGERPRINT,
            settings=self._settings,
            on_failure=self.outcome.put,
            on_finished=self.outcome.put,
            listeners=[self.events.append],
        )
        self._previous = 0

    def begin(self) -> Attempt:
        return begin_attempt(
            self.store, job="rig", fingerprint=FINGERPRINT, open_committers=lambda lineage, token: {"sink": self.sink}
        )

    def __enter__(self) -> Rig:
        self.driver.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.driver.close()

    def answer(self, epoch: int, *carried: Committable) -> None:
        """Let the task prepare `epoch` and acknowledge it."""
        token = self.attempt.token
        prepared = Committable("sink", 0, epoch, token, self._previous, b"")
        self._previous = epoch
        self.driver.ack(Ack("task", epoch, token, (), (*carried, prepared)))

    def ended(self) -> str | BaseException:
        """Wait for the end of the attempt."""
        return self.outcome.get(timeout=PATIENCE)
