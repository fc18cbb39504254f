"""One epoch as the coordinator sees it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from krishiv_checkpoint._events import CheckpointRequested, SavepointRequested, StopRequested, Timer, TimerKind
from krishiv_checkpoint._records import Ack, BarrierKind

if TYPE_CHECKING:
    from krishiv_checkpoint._instructions import WriteManifest
    from krishiv_checkpoint._records import Committable, OperatorSnapshot

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
    manifest : WriteManifest or None
        What was instructed to be written, the same at every try.
    """

    number: int
    kind: BarrierKind
    phase: EpochPhase = EpochPhase.ALIGNING
    requests: list[CheckpointRequested] = field(default_factory=list[CheckpointRequested])
    savepoints: list[SavepointRequest] = field(default_factory=list[SavepointRequest])
    acks: dict[str, Ack] = field(default_factory=dict[str, Ack])
    manifest: WriteManifest | None = None

    @property
    def timeout(self) -> Timer:
        """The timer that its acks race."""
        return Timer(TimerKind.TIMEOUT, self.number)

    @property
    def listed(self) -> tuple[Committable, ...]:
        """What its manifest lists."""
        return self.manifest.pending if self.manifest else ()

    @property
    def rewrites(self) -> int:
        """How often its manifest was written again."""
        return self.manifest.tries if self.manifest else 0

    @property
    def closes(self) -> bool:
        """Whether the job ends behind it."""
        return self.kind in (BarrierKind.STOP, BarrierKind.FINISH)

    def write_again(self) -> WriteManifest:
        """Return the instruction to write the same manifest once more."""
        if self.manifest is None:
            raise ValueError(f"epoch {self.number} has no manifest yet")
        self.manifest = replace(self.manifest, tries=self.manifest.tries + 1)
        return self.manifest

    def snapshots(self) -> tuple[OperatorSnapshot, ...]:
        """Return what all tasks acknowledged, in the order (operator, subtask)."""
        snapshots = [snapshot for ack in self.acks.values() for snapshot in ack.snapshots]
        return tuple(sorted(snapshots, key=lambda s: (s.operator, s.subtask, s.key_groups)))
