"""A validated pipeline on its way to a runtime: everything that an attempt needs to know about the job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from krishiv_checkpoint import CheckpointEvent, CheckpointStore, Fingerprint, OnSinkAhead
    from krishiv_guarantees import GuaranteeReport
    from krishiv_stream._plan.nodes import Node, SinkNode
    from krishiv_stream._settings import Settings

__all__ = ["Submission"]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job as submitted.

    Parameters
    ----------
    nodes : sequence of Node
        The plan, inputs first.
    ids : mapping
        The stable operator id of each node.
    columns : mapping
        For each source, the columns in use.
    restore : str
        ``"latest"``, ``"none"`` or a savepoint.
    store : CheckpointStore
        Where the job keeps its checkpoints.
    directory : Path or None
        Where this host keeps the job's lock and what its attempts need; None: nowhere.
    """

    job: str
    nodes: Sequence[Node]
    ids: Mapping[Node, str]
    columns: Mapping[Node, tuple[str, ...]]
    fingerprint: Fingerprint
    settings: Settings
    report: GuaranteeReport
    store: CheckpointStore
    directory: Path | None
    restore: str = "latest"
    on_sink_ahead: OnSinkAhead = "refuse"
    take_over: bool = False
    state_map: Mapping[str, str] = field(default_factory=dict)
    drop_state: Sequence[str] = ()
    listeners: Sequence[Callable[[CheckpointEvent], None]] = ()

    def sinks(self) -> list[SinkNode]:
        """Return the plan's sinks."""
        from krishiv_stream._plan.nodes import SinkNode

        return [node for node in self.nodes if isinstance(node, SinkNode)]
