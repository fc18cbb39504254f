"""Counters of a running job. Each is written by one thread and read by any."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

__all__ = ["JobMetrics", "OperatorMetrics", "TaskMetrics"]


_STALLS = 4_096
"""How many barriers are remembered."""


@dataclass
class OperatorMetrics:
    """Counters of one operator subtask; `gauges` holds what its connector wants to show, by name."""

    rows_in: int = 0
    rows_out: int = 0
    late_rows: int = 0
    dropped_rows: int = 0
    watermark: int | None = None
    gauges: dict[str, float] = field(default_factory=dict[str, float])


@dataclass
class TaskMetrics:
    """Counters of one task; `stalls` holds the seconds that each of the last barriers held up its data."""

    stalls: deque[float] = field(default_factory=lambda: deque(maxlen=_STALLS))


@dataclass
class JobMetrics:
    """All counters of one attempt, by operator id and subtask, and by task id."""

    operators: dict[tuple[str, int], OperatorMetrics] = field(default_factory=dict)
    tasks: dict[str, TaskMetrics] = field(default_factory=dict)

    def operator(self, operator: str, subtask: int) -> OperatorMetrics:
        """Return the counters of `operator`'s `subtask`, made on first use."""
        return self.operators.setdefault((operator, subtask), OperatorMetrics())

    def task(self, task: str) -> TaskMetrics:
        """Return the counters of `task`, made on first use."""
        return self.tasks.setdefault(task, TaskMetrics())
