"""Window shapes. All times are microseconds since 1970 UTC; a window is ``[start, end)``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_stream._durations import microseconds
from krishiv_stream._errors import InvalidWindow

if TYPE_CHECKING:
    from krishiv_stream._durations import Duration

__all__ = ["Window", "hop", "tumble"]


@dataclass(frozen=True)
class Window:
    """Windows of `size`, one beginning each `every` microseconds, shifted by `offset`; ``every == size``: tumble."""

    size: int
    every: int
    offset: int = 0

    @property
    def is_tumble(self) -> bool:
        """Whether every row is in exactly one window."""
        return self.size == self.every

    @property
    def pane(self) -> int:
        """The longest stretch of time that lies wholly inside or outside each window."""
        return math.gcd(self.size, self.every)

    def __str__(self) -> str:
        size, every = self.size / 1e6, self.every / 1e6
        shape = f"tumble({size:g}s" if self.is_tumble else f"hop({size:g}s, every={every:g}s"
        return f"{shape}, offset={self.offset / 1e6:g}s)" if self.offset else f"{shape})"


def tumble(size: Duration, offset: Duration = 0) -> Window:
    """Return windows of `size`, one after the other, the first beginning at `offset` past a multiple of `size`."""
    length = _positive("size", size)
    return Window(length, length, microseconds(offset) % length)


def hop(size: Duration, every: Duration, offset: Duration = 0) -> Window:
    """Return windows of `size` that begin every `every`; a row is in ``size / every`` of them.

    Raises
    ------
    InvalidWindow
        If `every` is longer than `size`: rows between windows would be in none.
    """
    length, step = _positive("size", size), _positive("every", every)
    if step > length:
        raise InvalidWindow(
            f"hop(size={size!r}, every={every!r}) leaves gaps between windows",
            hint="make `every` at most `size`, or filter the rows first",
        )
    return Window(length, step, microseconds(offset) % step)


def _positive(what: str, value: Duration) -> int:
    length = microseconds(value)
    if length <= 0:
        raise InvalidWindow(f"window {what} is {value!r}", hint=f'a {what} is a duration above zero, such as "10s"')
    return length
