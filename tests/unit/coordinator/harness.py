"""A coordinator under test: sends events with running stimulus ids and sorts the instructions that come back."""

from __future__ import annotations

from typing import Any, TypeVar

from krishiv_checkpoint import Ack, CommitOutcome, CommitScope, Committable, OperatorSnapshot
from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._coordinator import Coordinator
from krishiv_checkpoint._settings import CheckpointSettings

TOKEN = 7
INTERVAL = ev.Timer(ev.TimerKind.INTERVAL)
BACKOFF = ev.Timer(ev.TimerKind.BACKOFF)
PAUSE = ev.Timer(ev.TimerKind.PAUSE)

I = TypeVar("I", bound=do.Instruction)  # noqa: E741  stands for the kind of instruction looked for


def of(kind: type[I], instructions: list[do.Instruction]) -> list[I]:
    """Return the instructions of one kind."""
    return [instruction for instruction in instructions if isinstance(instruction, kind)]


def committable(epoch: int, previous: int, *, slot: int = 0, sink: str = "files", token: int = TOKEN) -> Committable:
    return Committable(sink, slot, epoch, token, previous, f"{sink}/{slot}/{epoch}".encode())


class Desk:
    """A started coordinator with the tasks a and b; only b has a sink, called files."""

    def __init__(
        self,
        tasks: tuple[str, ...] = ("a", "b"),
        scopes: dict[str, CommitScope] | None = None,
        highest_epoch: int = 0,
        committed_through: dict[str, dict[int, int]] | None = None,
        **settings: Any,
    ) -> None:
        self.tasks = tasks
        self.coordinator = Coordinator(
            token=TOKEN,
            tasks=tasks,
            scopes={"files": CommitScope.EPOCH} if scopes is None else scopes,
            highest_epoch=highest_epoch,
            committed_through=committed_through or {},
            settings=CheckpointSettings(**settings),
        )
        self._stimuli = 0
        self._requests = 0
        self.prepared = committed_through["files"][0] if committed_through else 0
        self.carried: list[Committable] = []
        self.started = self.send(ev.Started)

    def send(self, kind: type[ev.Event], **fields: Any) -> list[do.Instruction]:
        self._stimuli += 1
        return self.coordinator.handle(kind(stimulus_id=f"test-{self._stimuli}", **fields))

    def fire(self, timer: ev.Timer) -> list[do.Instruction]:
        return self.send(ev.TimerFired, timer=timer)

    def request(self, kind: type[ev.Request] = ev.CheckpointRequested, **fields: Any) -> list[do.Instruction]:
        self._requests += 1
        return self.send(kind, request=self._requests, **fields)

    def trigger(self) -> int:
        """Let the interval pass and return the epoch that this triggers."""
        (barrier,) = of(do.TriggerBarrier, self.fire(INTERVAL))
        return barrier.epoch

    def ack(self, task: str, epoch: int, *committables: Committable, token: int = TOKEN) -> list[do.Instruction]:
        snapshot = OperatorSnapshot(task, 0, inline={"epoch": epoch})
        return self.send(ev.AckReceived, ack=Ack(task, epoch, token, (snapshot,), committables))

    def prepare(self, epoch: int) -> None:
        """Let b's sink prepare `epoch`; b's next ack carries it."""
        self.carried.append(committable(epoch, self.prepared))
        self.prepared = epoch

    def ack_all(self, epoch: int) -> list[do.Instruction]:
        """Let every task answer `epoch`, b with everything that it carries."""
        self.prepare(epoch)
        before = [i for task in self.tasks if task != "b" for i in self.ack(task, epoch)]
        return [*before, *self.ack("b", epoch, *self.carried)]

    def written(self, epoch: int) -> list[do.Instruction]:
        self.carried.clear()
        return self.send(ev.ManifestWritten, epoch=epoch)

    def complete(self, epoch: int) -> list[do.Instruction]:
        self.ack_all(epoch)
        return self.written(epoch)

    def end_commit(
        self, epoch: int, outcome: CommitOutcome | None = None, sink: str = "files", slot: int | None = None
    ) -> list[do.Instruction]:
        return self.send(ev.CommitEnded, sink=sink, slot=slot, epoch=epoch, outcome=outcome or CommitOutcome.done())

    def checkpoint(self) -> int:
        """Take a whole checkpoint: triggered, complete, committed."""
        epoch = self.trigger()
        self.complete(epoch)
        self.end_commit(epoch)
        return epoch
