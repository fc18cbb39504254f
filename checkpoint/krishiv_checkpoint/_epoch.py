"""One epoch as the coordinator sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from krishiv_checkpoint._events import CheckpointRequested, SavepointRequested, StopRequested, Timer, TimerKind
from krishiv_checkpoint._records import Ack, BarrierKind, Committable

if TYPE_CHECKING:
    from krishiv_checkpoint._records import OperatorSnapshot

__all__ = ["Epoch", "EpochPhase", "SavepointRequest"]

SavepointRequest = SavepointRequested | StopRequested
"""What can ask for a savepoint."""


class EpochPhase(StrEnum):
    """How far an epoch has come."""

    ALIGNING = "aligning"
    WRITING = "writing"
    COMPLETED = "completed"
    COMMITTED = "committed"
    FAILED = "failed"


@dataclass
class Epoch:
    """An epoch since its trigger.

    Parameters
    ----------
    requests, savepoints : list
        Who is answered when its manifest is durable, and who when its savepoint is written.
    acks : dict of task to Ack
        The first ack of each task.
    listed : tuple of Committable
        What its manifest lists.
    """

    number: int
    kind: BarrierKind
    phase: EpochPhase = EpochPhase.ALIGNING
    requests: list[CheckpointRequested] = field(default_factory=list[CheckpointRequested])
    savepoints: list[SavepointRequest] = field(default_factory=list[SavepointRequest])
    acks: dict[str, Ack] = field(default_factory=dict[str, Ack])
    listed: tuple[Committable, ...] = ()

    @property
    def timeout(self) -> Timer:
        """The timer that its acks race."""
        return Timer(TimerKind.TIMEOUT, self.number)

    @property
    def closes(self) -> bool:
        """Whether the job ends behind it."""
        return self.kind in (BarrierKind.STOP, BarrierKind.FINISH)

    def snapshots(self) -> tuple[OperatorSnapshot, ...]:
        """Return what all tasks acknowledged, in the order (operator, subtask)."""
        snapshots = [snapshot for ack in self.acks.values() for snapshot in ack.snapshots]
        return tuple(sorted(snapshots, key=lambda s: (s.operator, s.subtask, s.key_groups)))
