"""What flows on a channel beside Arrow batches, all of it in order with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from krishiv_checkpoint import BarrierKind

__all__ = [
    "BATCH_OVERHEAD",
    "END_OF_TIME",
    "START_OF_TIME",
    "Barrier",
    "Element",
    "End",
    "Idle",
    "Watermark",
    "size_of",
]

END_OF_TIME = 2**63 - 1
"""The watermark of a stream that has ended, microseconds."""

START_OF_TIME = -(2**63)
"""The watermark of a stream that is not idle, and of whose time nothing is known yet."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """No row with an event time before `time` (microseconds since 1970 UTC) is expected any more."""

    time: int


@dataclass(frozen=True, slots=True)
class Idle:
    """This channel has nothing to say about time until its next watermark."""


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before it belongs to `epoch`."""

    epoch: int
    kind: BarrierKind


@dataclass(frozen=True, slots=True)
class End:
    """No more rows; barriers still pass."""


Element: TypeAlias = pa.RecordBatch | Watermark | Idle | Barrier | End


BATCH_OVERHEAD = 1 << 10
"""Bytes of a batch beside its values (measured: 1 to 2 kB): a million batches of one row are a gigabyte, not 24 MB."""


def size_of(element: Element) -> int:
    """Return the bytes that `element` occupies in memory; 0 for signals, which never wait for room."""
    return int(element.nbytes) + BATCH_OVERHEAD if isinstance(element, pa.RecordBatch) else 0
