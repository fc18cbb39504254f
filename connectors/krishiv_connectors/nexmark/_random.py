"""Random numbers by counter: the value for an event depends on seed, purpose and event number alone.

So any range of events can be made again, in batches of any size. SplitMix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Dice"]

_GOLDEN = 0x9E3779B97F4A7C15
_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", dtype=np.uint8)


class Dice:
    """Throws for a batch of events; every purpose has its own, independent throw.

    Parameters
    ----------
    seed : int
        Of the whole source.
    events : int64 array
        The event numbers of the batch.
    """

    def __init__(self, seed: int, events: NDArray[np.int64]) -> None:
        self._base = _mix(events.astype(np.uint64) + _mix(np.full(1, seed % 2**64, dtype=np.uint64)))
        self.rows = len(events)

    def bits(self, purpose: int) -> NDArray[np.uint64]:
        """Return 64 random bits per event."""
        return _mix(self._base + np.uint64(purpose * _GOLDEN % 2**64))

    def whole(self, purpose: int, below: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return whole numbers from 0 up to `below`, exclusive."""
        return (self.bits(purpose) % np.asarray(below, dtype=np.uint64)).astype(np.int64)

    def fraction(self, purpose: int) -> NDArray[np.float64]:
        """Return numbers from 0.0 up to 1.0, exclusive."""
        return (self.bits(purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def pick(self, purpose: int, words: Sequence[str]) -> pa.StringArray:
        """Return one of `words` per event."""
        return pa.array(words, pa.string()).take(pa.array(self.whole(purpose, len(words))))

    def text(self, purpose: int, length: int) -> pa.StringArray:
        """Return `length` letters per event."""
        words = -(-length // 8)
        columns = [self.bits(purpose + (word << 16)) for word in range(words)]
        raw = np.stack(columns, axis=1).view(np.uint8)[:, :length]
        letters = np.ascontiguousarray(_LETTERS[raw % len(_LETTERS)])
        offsets = np.arange(0, (self.rows + 1) * length, length, dtype=np.int32)
        return pa.StringArray.from_buffers(self.rows, pa.py_buffer(offsets), pa.py_buffer(letters))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(_GOLDEN)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
