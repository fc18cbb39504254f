"""The entries of a job's log: takeovers, manifests, savepoints and the finish. Tagged JSON, each with its format."""

from __future__ import annotations

import msgspec

from krishiv_checkpoint._records import BarrierKind, Committable, OperatorSnapshot

__all__ = ["FORMAT", "Fingerprint", "Finish", "LogEntry", "Manifest", "OperatorIdentity", "SavepointRecord", "Takeover"]

FORMAT = 1
"""The format that this version writes, and the newest that it reads."""


class OperatorIdentity(msgspec.Struct, frozen=True):
    """What of one operator a checkpoint is bound to (P3).

    Parameters
    ----------
    id : str
        Stable id: the user's name, or one derived from the topology.
    kind : str
        ``"source"``, ``"window"``, ``"sink"`` and so on.
    named : bool
        Whether the user named it; unnamed ones restore only into an equal topology.
    state : str
        Its state's schema in words that compare; empty if it has none.
    inputs : tuple of str
        Ids of the operators that feed it.
    """

    id: str
    kind: str
    named: bool
    state: str = ""
    inputs: tuple[str, ...] = ()


class Fingerprint(msgspec.Struct, frozen=True):
    """Operators with state, sources and sinks of a plan, in topological order. Expressions are not part of it."""

    operators: tuple[OperatorIdentity, ...]
    max_key_groups: int = 128


class Takeover(msgspec.Struct, frozen=True, tag="takeover"):
    """A new attempt holds the job from here on (P9). It only fences: the state to continue from stays as it is.

    Parameters
    ----------
    lineage : str
        The job's lineage, unchanged; minted here if the log was empty (P1).
    base : str
        What it found: ``"tip"``, ``"empty"``, or ``"damaged"`` where the entries before it could not be read.
    highest_epoch : int
        The largest epoch id known to have been triggered when this was written (P2).
    """

    format: int
    job: str
    lineage: str
    token: int
    writer: str
    highest_epoch: int
    base: str = "tip"


class Manifest(msgspec.Struct, frozen=True, tag="manifest"):
    """One completed epoch: publishing it is the commit point.

    Also how an attempt puts another state in place of the tip's, in one step: a savepoint, nothing at all, a new
    lineage, state under other operator ids. Such a manifest repeats an older epoch id under its own token.

    Parameters
    ----------
    operators : tuple of OperatorSnapshot
        The whole state: every subtask of every operator that has any.
    committed_through : dict of sink id to dict of slot to epoch
        What is known to be applied outside (P5). Slots are decimal strings.
    pending : tuple of Committable
        Every committable above that, oldest first.
    created : str
        When: ISO 8601, UTC.
    left : tuple of (token, epoch)
        Where this lineage went back to a savepoint: what attempts below `token` wrote above `epoch` is no part of it
        any more. A savepoint of that time holds output that was taken back.
    """

    format: int
    job: str
    lineage: str
    token: int
    writer: str
    epoch: int
    highest_epoch: int
    kind: BarrierKind
    fingerprint: Fingerprint
    operators: tuple[OperatorSnapshot, ...]
    committed_through: dict[str, dict[str, int]]
    pending: tuple[Committable, ...]
    created: str
    left: tuple[tuple[int, int], ...] = ()


class SavepointRecord(msgspec.Struct, frozen=True, tag="savepoint"):
    """A savepoint was completed: where it is, and from which epoch."""

    format: int
    token: int
    writer: str
    epoch: int
    location: str


class Finish(msgspec.Struct, frozen=True, tag="finish"):
    """Every source ended and everything is committed: the job is over (P7)."""

    format: int
    token: int
    writer: str
    epoch: int
    kind: str
    """``"finished"`` for a job whose sources ended, ``"drained"`` for ``stop(drain=True)``."""


LogEntry = Takeover | Manifest | SavepointRecord | Finish
