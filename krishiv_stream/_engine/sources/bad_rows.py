"""What becomes of records that cannot be used: fail the job, drop and count them, or send them to dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from krishiv_stream._plan.dead_letters import DEAD_LETTER_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_guarantees import SkippableError
    from krishiv_stream._engine.metrics import OperatorMetrics

__all__ = ["BadRows"]


class BadRows:
    """Receives the bad records of one source subtask.

    Parameters
    ----------
    fail : bool
        Whether one bad record fails the job.
    letters : callable or None
        Takes a batch of dead letters; None: bad records are dropped and counted.
    """

    def __init__(
        self,
        source: str,
        counters: OperatorMetrics,
        *,
        fail: bool,
        letters: Callable[[pa.RecordBatch], None] | None = None,
    ) -> None:
        self._source = source
        self._fail = fail
        self._counters = counters
        self._letters = letters
        self._waiting: list[SkippableError] = []

    def __call__(self, error: SkippableError) -> None:
        """Take one bad record; raises it where bad records fail the job."""
        if self._fail:
            raise error
        self._counters.dropped_rows += 1
        if self._letters is not None:
            self._waiting.append(error)

    def flush(self) -> None:
        """Send the dead letters that have come together; before every batch and barrier."""
        if not self._waiting or self._letters is None:
            return
        rows = [self._letter(error) for error in self._waiting]
        self._waiting.clear()
        self._letters(pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTER_SCHEMA))

    def _letter(self, error: SkippableError) -> dict[str, object]:
        return {
            "source": self._source,
            "place": str(error.fields.get("place", "")),
            "code": error.code,
            "error": error.message,
            "raw": error.fields.get("raw"),
        }
