"""The ladders: what one part supplies by itself, why, and what would raise it. One ladder per role.

A shared ladder would cap every pipeline below exactly-once, because sources have no second phase to commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_guarantees._levels import Guarantee

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_guarantees._capabilities import SinkCapabilities, SourceCapabilities, StoreCapabilities
    from krishiv_guarantees._hazards import HazardSite
    from krishiv_guarantees._profiles import Profile

__all__ = ["Rung", "profile_rung", "sink_rung", "source_rung", "store_rung", "uncommitted_sink_rung"]


@dataclass(frozen=True)
class Rung:
    """Where a part stands on its ladder.

    Parameters
    ----------
    level : Guarantee
        What it supplies.
    reason : str
        Why it stands there.
    remedy : str
        What would raise it; empty at the top.
    """

    level: Guarantee
    reason: str
    remedy: str = ""


def source_rung(can: SourceCapabilities) -> Rung:
    """Return what a source supplies."""
    if not can.replayable:
        return Rung(
            Guarantee.BEST_EFFORT,
            "rows already read cannot be read again, so a failure loses them",
            "read from a source that can be replayed (files, a log), or land the rows in one first",
        )
    if not can.exact_positions:
        return Rung(
            Guarantee.AT_LEAST_ONCE,
            "rows can be read again, but a position does not name one row: some come twice",
            "use a source with exact positions",
        )
    return Rung(Guarantee.EXACTLY_ONCE, "reads again from exact positions")


def sink_rung(can: SinkCapabilities, hazards: Sequence[HazardSite] = ()) -> Rung:
    """Return what a sink supplies, with the `hazards` upstream of it: the highest rung of its that holds."""
    if can.durable_flush and can.two_phase and can.recovers_prepared:
        return Rung(
            Guarantee.EXACTLY_ONCE,
            "two-phase: an epoch is prepared, then committed, and a fresh process can finish what a dead one prepared",
        )
    return uncommitted_sink_rung(can, hazards)


def uncommitted_sink_rung(can: SinkCapabilities, hazards: Sequence[HazardSite] = ()) -> Rung:
    """Return what a sink supplies if its two-phase commit is not counted."""
    if not can.durable_flush:
        return Rung(
            Guarantee.BEST_EFFORT,
            "rows that were written may still be lost: flush does not make them durable",
            "use a sink whose flush returns only when the rows are durable",
        )
    if not can.idempotent_by:
        return _append_rung(can)
    keys = ", ".join(can.idempotent_by)
    if hazards:
        return Rung(
            Guarantee.AT_LEAST_ONCE,
            f"idempotent by {keys}, but a replay may make other keys: " + "; ".join(map(str, hazards)),
            "; ".join(dict.fromkeys(site.hazard.remedy for site in hazards)) + "; or use a two-phase sink",
        )
    return Rung(
        Guarantee.EFFECTIVELY_ONCE,
        f"idempotent by {keys}: a row written twice has the effect of one",
        "use a two-phase sink that recovers prepared epochs",
    )


def _append_rung(can: SinkCapabilities) -> Rung:
    if can.two_phase and not can.recovers_prepared:
        return Rung(
            Guarantee.AT_LEAST_ONCE,
            "two-phase, but a fresh process cannot finish or abort what a dead one prepared, so that commits count for "
            "nothing after a crash",
            "implement list_prepared and commit so that another process can use them, and declare recovers_prepared",
        )
    return Rung(
        Guarantee.AT_LEAST_ONCE,
        "rows written since the last checkpoint are written again after a failure",
        'declare keys and upsert by them (mode="upsert", keys=...) for effectively_once, or use a two-phase sink',
    )


def store_rung(can: StoreCapabilities | None) -> Rung:
    """Return what a checkpoint store supplies; None: there are no checkpoints."""
    if can is None:
        return Rung(
            Guarantee.BEST_EFFORT,
            "there are no checkpoints, so a failure starts over or loses rows",
            "use a durable profile with a data_dir",
        )
    if not can.durable:
        return Rung(
            Guarantee.BEST_EFFORT,
            "checkpoints are ephemeral: they die with the process",
            "store checkpoints on a filesystem or an object store (a durable profile with a data_dir)",
        )
    if not can.conditional_create:
        return Rung(
            Guarantee.AT_LEAST_ONCE,
            "checkpoints are durable, but without conditional create two writers could both publish an epoch",
            "use a store with conditional create (a local filesystem; an object store with If-None-Match)",
        )
    if not can.fencing:
        return Rung(
            Guarantee.AT_LEAST_ONCE,
            "checkpoints are durable, but a writer that was replaced is not fenced off",
            "use a store with fencing",
        )
    return Rung(Guarantee.EXACTLY_ONCE, "checkpoints are durable, published atomically and fenced")


def profile_rung(profile: Profile) -> Rung:
    """Return what a durability profile supplies."""
    spec = profile.spec
    if spec.guarantee < Guarantee.EXACTLY_ONCE:
        return Rung(
            spec.guarantee,
            f"{profile.label} keeps state and checkpoints in the process: it survives {spec.survives.description}",
            'set profile="single-node-durable" (and data_dir) or profile="distributed-durable"',
        )
    return Rung(spec.guarantee, f"{profile.label} survives {spec.survives.description}")
