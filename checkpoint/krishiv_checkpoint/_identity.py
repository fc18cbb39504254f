"""Who is who across attempts: lineages, writers (P1), and the operators that a checkpoint is restored into (P3)."""

from __future__ import annotations

import difflib
import os
import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from krishiv_checkpoint._errors import OtherTopology

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from krishiv_checkpoint._entries import Fingerprint, Manifest, OperatorIdentity
    from krishiv_checkpoint._records import OperatorSnapshot

__all__ = ["MappedState", "map_state", "new_lineage", "new_writer"]


def new_lineage() -> str:
    """Mint a lineage: 32 hex digits (P1)."""
    return uuid.uuid4().hex


def new_writer() -> str:
    """Mint the id of one attempt's writer: unique, and telling people where it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True)
class MappedState:
    """A manifest's state under the operator ids of the plan it is restored into.

    Parameters
    ----------
    operators : tuple of OperatorSnapshot
        Every subtask's snapshot, without dropped operators.
    committed_through : dict of sink id to dict of slot to epoch
        Without dropped sinks.
    """

    operators: tuple[OperatorSnapshot, ...]
    committed_through: dict[str, dict[str, int]]


def map_state(
    manifest: Manifest,
    plan: Fingerprint,
    state_map: Mapping[str, str] | None = None,
    drop_state: Collection[str] = (),
) -> MappedState:
    """Find every operator that `manifest` remembers something of in `plan`.

    A mapping of an operator that the manifest does not know is no error: it may have been applied by an attempt before.

    Parameters
    ----------
    manifest : Manifest
        What to restore.
    plan : Fingerprint
        What to restore it into.
    state_map : mapping of old id to new id
        Operators that go by another name now.
    drop_state : collection of old ids
        Operators whose state is given up.

    Raises
    ------
    OtherTopology
        If something would be lost, or would go to the wrong operator; it names every such operator.
    """
    renamed = dict(state_map or {})
    matching = _Matching(manifest, plan, renamed, frozenset(drop_state))
    problems = dict(matching.problems())
    if problems:
        raise _other_topology(problems, matching)
    return MappedState(
        tuple(
            msgspec.structs.replace(snapshot, operator=renamed.get(snapshot.operator, snapshot.operator))
            for snapshot in manifest.operators
            if snapshot.operator not in matching.dropped
        ),
        {sink: dict(slots) for sink, slots in manifest.committed_through.items() if sink not in matching.dropped},
    )


@dataclass(frozen=True)
class _Matching:
    manifest: Manifest
    plan: Fingerprint
    renamed: Mapping[str, str]
    dropped: frozenset[str]

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield operator id and what is wrong with it; an empty id stands for the plan as a whole."""
        groups, wanted = self.manifest.fingerprint.max_key_groups, self.plan.max_key_groups
        if groups != wanted:
            yield "", f"the checkpoint has {groups} key groups and the pipeline {wanted}; they are fixed at first start"
        taken: dict[str, str] = {}
        for old in self.holders():
            if old in self.dropped:
                if old in self._pending_sinks():
                    yield old, "has epochs that are prepared and not committed: it cannot be dropped from a checkpoint"
                continue
            target = self.renamed.get(old, old)
            if target in taken:
                yield old, f"and {taken[target]!r} would both become {target!r}"
            taken[target] = old
            if problem := self._problem(old, target):
                yield old, problem

    def holders(self) -> list[str]:
        """Every operator that the manifest remembers something of."""
        snapshots = [snapshot.operator for snapshot in self.manifest.operators]
        return list(dict.fromkeys([*snapshots, *sorted(self._sinks())]))

    def _problem(self, old: str, target: str) -> str | None:
        before, now = self._old(old), {o.id: o for o in self.plan.operators}.get(target)
        if old in self._sinks() and target != old:
            return "is a sink: its marks outside carry its name, so it cannot be renamed"
        if now is None:
            return "is not in the pipeline" if target == old else f"has no operator {target!r} to go to"
        if before.kind != now.kind:
            return f"is a {before.kind} in the checkpoint and a {now.kind} in the pipeline"
        if before.state != now.state:
            return f"keeps {before.state or 'no state'} in the checkpoint and {now.state or 'no state'} in the pipeline"
        if not before.named and old not in self.renamed and not self._equal_topology():
            return "has no name of its own, and the pipeline has another topology"
        return None

    def _old(self, operator: str) -> OperatorIdentity:
        known = {identity.id: identity for identity in self.manifest.fingerprint.operators}
        return known[operator]

    def _sinks(self) -> set[str]:
        return {*self.manifest.committed_through, *self._pending_sinks()}

    def _pending_sinks(self) -> set[str]:
        return {committable.sink for committable in self.manifest.pending}

    def _equal_topology(self) -> bool:
        return _shape(self.manifest.fingerprint) == _shape(self.plan)


def _shape(fingerprint: Fingerprint) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(operator.id, operator.kind, operator.inputs) for operator in fingerprint.operators}


def _other_topology(problems: Mapping[str, str], matching: _Matching) -> OtherTopology:
    lines = [f"{operator!r} {problem}" if operator else problem for operator, problem in problems.items()]
    return OtherTopology(
        f"epoch {matching.manifest.epoch} does not fit this pipeline: " + "; ".join(lines),
        hint=_way_out(problems, matching),
        operators=[operator for operator in problems if operator],
        problems=dict(problems),
    )


def _way_out(problems: Mapping[str, str], matching: _Matching) -> str:
    fresh = [o.id for o in matching.plan.operators if o.id not in set(matching.holders())]
    advice = "run the old pipeline, or"
    for operator in filter(None, problems):
        if close := difflib.get_close_matches(operator, fresh, n=1, cutoff=0.4):
            return f"{advice} pass state_map={{{operator!r}: {close[0]!r}}} if that is the same operator"
    new = f"; new in this pipeline: {', '.join(map(repr, fresh))}" if fresh else ""
    return (
        f"{advice} name operators with name=, map them with state_map={{old: new}}, or give up their state with "
        f"drop_state=[...]; a sink can be dropped from a savepoint, which holds no uncommitted epochs{new}"
    )
