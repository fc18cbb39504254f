"""What makes the keys of a replay differ from those of the first run: one table.

Writing by key gives the effect of once only if a replay makes the same keys again. Each row here breaks that, and so
lowers the idempotent road (`EFFECTIVELY_ONCE`) to `AT_LEAST_ONCE`. Two-phase sinks do not care: what a crashed epoch
made is never seen. Not a hazard: early results to a keyed sink, which later ones overwrite.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Hazard", "HazardSite"]


class Hazard(Enum):
    """One way in which a replay may make other keys. The value is its name in reports.

    Attributes
    ----------
    reason : str
        Why keys may differ.
    remedy : str
        What avoids it.
    """

    UNORDERED_REPLAY = (
        "unordered replay",
        "the source may give the rows of a split in another order when it is read again",
        "use a source with ordered replay",
    )
    IDLE_TIMEOUT = (
        "idle timeout",
        "a split that pauses longer than idle_timeout stops holding the watermark, and pauses differ on replay",
        "leave idle_timeout out of the watermark",
    )
    LATE_DROPS = (
        "late drops",
        "which rows come too late depends on how splits interleave, and they interleave differently on replay",
        "raise the watermark's delay or allowed_lateness until no row is late, or read one split",
    )
    SESSION_OVER_SPLITS = (
        "session windows over several splits",
        "the bounds of a session depend on the order in which splits interleave",
        "use tumble or hop windows, or read one split",
    )
    FIRST_LAST_TIES = (
        "first/last ties over several inputs",
        "of rows with equal time the one that arrives first is taken, and inputs interleave differently on replay",
        "use min or max, or read one input",
    )
    DEDUPLICATION_TIES = (
        "deduplication ties over several inputs",
        "of equal rows the one that arrives first is kept, and inputs interleave differently on replay",
        "deduplicate each input before the union, or keep only the key columns",
    )
    LOOKUP_JOIN = (
        "lookup join",
        "the looked-up table may have changed when the row is joined again",
        "use a temporal join over the table's changes",
    )
    PROCESSING_TIME_WINDOW = (
        "processing-time window",
        "a replay happens at another time of day, so rows fall into other windows",
        "window by event time",
    )
    PROCESSING_TIME_TIMER = (
        "processing-time timer",
        "the timer fires at another point of the input on replay",
        "use an event-time timer",
    )
    PROCESSING_TIME_TTL = (
        "processing-time state TTL",
        "state expires at another point of the input on replay",
        "use an event-time TTL, or keep the state",
    )
    EMIT_EVERY = (
        "emit_every",
        "results are emitted by the clock, at other points of the input on replay",
        "emit when the window closes",
    )
    NONDETERMINISTIC_FUNCTION = (
        "function not declared deterministic",
        "it may give other values when it is called again with the same rows",
        "pass deterministic=True if it depends on its rows alone; replace volatile expressions such as random()",
    )

    def __init__(self, label: str, reason: str, remedy: str) -> None:
        self.label = label
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class HazardSite:
    """A hazard and where it is.

    Parameters
    ----------
    hazard : Hazard
        The row of the table.
    where : str
        The operator, as the user knows it: ``"map_batches at pipeline.py:12"``.
    """

    hazard: Hazard
    where: str

    def __str__(self) -> str:
        return f"{self.hazard.label} ({self.where}): {self.hazard.reason}"
