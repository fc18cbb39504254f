"""The event time of a task with several input channels: the smallest watermark of those that are not idle."""

from __future__ import annotations

__all__ = ["TimeTracker"]


class TimeTracker:
    """Combines the watermarks of channels.

    Parameters
    ----------
    channels : int
        Number of channels; none has spoken yet.
    floor : int or None
        The watermark at the restored barrier: the combined one never falls below it.
    """

    def __init__(self, channels: int, floor: int | None = None) -> None:
        self._times: list[int | None] = [None] * channels
        self._idle = [False] * channels
        self.current = floor

    def advance(self, channel: int, time: int) -> int | None:
        """Channel `channel` came to `time` and is not idle; returns the combined watermark if it rose."""
        self._times[channel] = time
        self._idle[channel] = False
        return self._rise()

    def mark_idle(self, channel: int) -> int | None:
        """Channel `channel` is idle; returns the combined watermark if it rose."""
        self._idle[channel] = True
        return self._rise()

    @property
    def all_idle(self) -> bool:
        """Whether no channel holds back time."""
        return all(self._idle)

    def _rise(self) -> int | None:
        active = [time for time, idle in zip(self._times, self._idle, strict=True) if not idle]
        if not active or any(time is None for time in active):
            return None
        combined = min(time for time in active if time is not None)
        if self.current is not None and combined <= self.current:
            return None
        self.current = combined
        return combined
