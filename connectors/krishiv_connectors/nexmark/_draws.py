"""Random numbers by counting: each is a hash of (seed, field, event), so any range of events can be made anew.

A sequential generator would give other rows for other batch boundaries. Everything here is integer arithmetic, because
floating-point functions may differ in the last bit between the body and the tail of a vectorised loop.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Draws", "letters"]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_PRICE_STEPS = 1 << 16

_Integers = Any  # an array of int64 or uint64, or an int


class Draws:
    """The random numbers of some events.

    Parameters
    ----------
    seed : int
        Another seed gives other numbers.
    events : array of int64
        Numbers of the events.
    """

    def __init__(self, seed: int, events: NDArray[np.int64]) -> None:
        self._seed = seed
        self._counters = events.astype(np.uint64) * np.uint64(_GOLDEN)

    def bits(self, field: str) -> NDArray[np.uint64]:
        """Return 64 random bits per event, independent between fields (SplitMix64, Steele et al. 2014)."""
        z = self._counters + np.uint64(_field_key(self._seed, field))
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return z

    def below(self, field: str, bound: _Integers) -> NDArray[np.int64]:
        """Return a number in [0, `bound`) per event; `bound` is an int or an array, below 2**31."""
        high = self.bits(field) >> np.uint64(32)
        high *= np.asarray(bound).astype(np.uint64)
        high >>= np.uint64(32)
        return high.view(np.int64)

    def prices(self, field: str) -> NDArray[np.int64]:
        """Return a price per event: 100 times ten to the power of a number that is uniform in [0, 6)."""
        bits = self.bits(field)
        step = (bits >> np.uint64(48)).astype(np.intp)
        fraction = (bits >> np.uint64(16)) & np.uint64(0xFFFFFFFF)
        low, width = _price_table()
        return low[step] + ((width[step] * fraction) >> np.uint64(32)).view(np.int64)


def letters(seed: int, field: str, count: int, shortest: int, longest: int) -> list[str]:
    """Return `count` random words of `shortest` to `longest` lower-case letters."""
    draws = Draws(seed, np.arange(count))
    lengths = shortest + draws.below(f"{field} length", longest - shortest + 1)
    cells = Draws(seed, np.arange(count * longest)).below(f"{field} letter", 26).astype(np.uint8) + ord("a")
    text = cells.tobytes().decode("ascii")
    return [text[row * longest : row * longest + length] for row, length in enumerate(lengths.tolist())]


def _mix(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@cache
def _field_key(seed: int, field: str) -> int:
    key = _mix(seed + _GOLDEN)
    for byte in field.encode():
        key = _mix(key + byte + 1)
    return key


@cache
def _price_table() -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the price at each step and the way to the next; between them prices are interpolated."""
    values = [round(100 * 10 ** (6 * step / _PRICE_STEPS)) for step in range(_PRICE_STEPS + 1)]
    low = np.array(values, np.int64)
    return low[:-1], np.diff(low).astype(np.uint64)
