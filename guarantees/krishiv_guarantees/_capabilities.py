"""What a source, a sink and a checkpoint store say they can do. Per instance: configuration decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["FailureDomain", "SinkCapabilities", "SourceCapabilities", "StoreCapabilities"]


class FailureDomain(IntEnum):
    """What a stored checkpoint outlives, from least to most."""

    TASK = 0
    PROCESS = 1
    HOST_RESTART = 2
    HOST_LOSS = 3

    @property
    def label(self) -> str:
        """The name in reports: ``"host_restart"``."""
        return self.name.lower()

    @property
    def description(self) -> str:
        """What is survived, as a phrase."""
        match self:
            case FailureDomain.TASK:
                return "failure of a task; nothing worse"
            case FailureDomain.PROCESS:
                return "crash of the process; not a restart of the host"
            case FailureDomain.HOST_RESTART:
                return "process crash and host restart, on that host's disk"
            case FailureDomain.HOST_LOSS:
                return "loss of any host"


@dataclass(frozen=True, kw_only=True)
class SourceCapabilities:
    """What a source can do.

    Parameters
    ----------
    bounded : bool
        It ends by itself.
    replayable : bool
        Rows already read can be read again after a failure.
    exact_positions : bool
        A position names one row: reading from it gives exactly the rows after it.
    ordered_replay : bool
        A replay gives the rows of a split in the same order.
    discovers_splits : bool
        New splits may appear while it runs.
    """

    bounded: bool
    replayable: bool
    exact_positions: bool
    ordered_replay: bool
    discovers_splits: bool = False


@dataclass(frozen=True, kw_only=True)
class SinkCapabilities:
    """What a sink can do.

    Parameters
    ----------
    durable_flush : bool
        After `flush` returns, the rows written before outlive the process.
    idempotent_by : tuple of str
        Key columns by which writing a row twice has the effect of once; empty: not idempotent.
    two_phase : bool
        It prepares an epoch and commits it later.
    recovers_prepared : bool
        A fresh process can finish or abort what a dead one prepared.
    atomic_epochs : bool
        Readers see all rows of an epoch or none.
    """

    durable_flush: bool
    idempotent_by: tuple[str, ...] = ()
    two_phase: bool = False
    recovers_prepared: bool = False
    atomic_epochs: bool = False


@dataclass(frozen=True, kw_only=True)
class StoreCapabilities:
    """What a checkpoint store can do.

    Parameters
    ----------
    durable : bool
        What was written outlives the process.
    conditional_create : bool
        Of several writers that create one key, exactly one succeeds, atomically.
    fencing : bool
        A writer with an old token cannot change the job's log.
    survives : FailureDomain
        The worst failure after which the checkpoints are still there.
    """

    durable: bool
    conditional_create: bool
    fencing: bool
    survives: FailureDomain
