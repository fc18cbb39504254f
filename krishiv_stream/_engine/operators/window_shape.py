"""The arithmetic of windows, in ticks of an event-time column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_stream._engine.elements import END_OF_TIME
from krishiv_stream._engine.event_time import ticks_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from krishiv_stream._plan.nodes import WindowNode

__all__ = ["NO_TIME", "WindowShape"]

NO_TIME = -(2**63)
"""The horizon before anything is known of time."""


class WindowShape:
    """A window in ticks of the event-time column.

    `horizon(watermark)` is the start of the earliest window that has not fired; a row before it is late.
    """

    def __init__(self, node: WindowNode, unit: str) -> None:
        self.unit = unit
        self.size = ticks_of(node.window.size, unit)
        self.every = ticks_of(node.window.every, unit)
        self.pane = ticks_of(node.window.pane, unit)
        self.offset = ticks_of(node.window.offset, unit)
        self.lateness = ticks_of(node.lateness, unit)

    def horizon(self, watermark: int) -> int:
        """Return the start of the earliest window that `watermark` (microseconds) leaves open."""
        if watermark == END_OF_TIME:
            return END_OF_TIME
        closed_before = ticks_of(watermark, self.unit) - self.lateness
        return self._align(closed_before - self.size, self.every) + self.every

    def pane_of(self, time: int) -> int:
        """Return the start of the pane that holds `time`."""
        return self._align(time, self.pane)

    def panes_of(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pane start of each of `times`."""
        return (times - self.offset) // self.pane * self.pane + self.offset

    def last_window(self, pane: int) -> int:
        """Return the start of the last window that covers `pane`."""
        return self._align(pane, self.every)

    def windows_of(self, pane: int, since: int = NO_TIME, until: int = END_OF_TIME) -> range:
        """Return the starts of all windows that cover `pane`, of those between two horizons."""
        last = self.last_window(pane)
        first = self._align(pane + self.pane - self.size - 1, self.every) + self.every
        return range(max(first, since), min(last + 1, until), self.every)

    def panes_in(self, start: int) -> range:
        """Return the panes of the window that begins at `start`."""
        return range(start, start + self.size, self.pane)

    def _align(self, time: int, step: int) -> int:
        return (time - self.offset) // step * step + self.offset
