"""What the demo asks of its input, as a streaming pipeline. `_batch_answer` asks the same of it in one batch query."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

import krishiv_stream as ks

if TYPE_CHECKING:
    from pathlib import Path

    from datafusion.expr import Expr

__all__ = ["ROWS", "TOTALS", "WINDOW", "Question", "pipeline_of"]

WINDOW = timedelta(seconds=10)
"""Size of the windows."""
ROWS = "rows"
"""Name of the source."""
TOTALS = "totals"
"""Name of the sink."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Per key and window: how many rows, and the sum and the largest of a value.

    Parameters
    ----------
    pattern : str
        Glob of the input files.
    event_time, key : str
        Columns.
    value : str or None
        The column that is summed; None: rows are only counted.
    above : float or None
        Rows whose value is not above it are filtered out; None: those that have no value.
    delay : int
        How far rows are out of order, microseconds: the watermark stays this far behind.
    """

    pattern: str
    event_time: str
    key: str
    value: str | None = None
    above: float | None = None
    delay: int = 0

    @property
    def bound(self) -> int | float | None:
        """`above` as a whole number where it is one, so that whole numbers are compared as such."""
        return int(self.above) if self.above is not None and self.above.is_integer() else self.above


def pipeline_of(question: Question, output: Path, rate: float | None) -> ks.Pipeline:
    """Return the pipeline that answers `question` into Parquet files in `output`, reading `rate` rows/s at most."""
    rows = ks.read(
        ks.ParquetSource(question.pattern),
        event_time=question.event_time,
        watermark=ks.bounded_delay(timedelta(microseconds=question.delay)),
        name=ROWS,
        max_rate=rate,
    )
    kept = rows if question.value is None else rows.filter(_kept(question.value, question.bound))
    totals = {} if question.value is None else {"total": ks.sum(question.value), "largest": ks.max(question.value)}
    return (
        kept.key_by(key=question.key)
        .window(ks.tumble(WINDOW))
        .aggregate(rows=ks.count(), **totals, name="windows")
        .write(ks.ParquetSink(output), name=TOTALS)
    )


def _kept(value: str, bound: float | None) -> Expr:
    column = ks.col(value)
    return column.is_not_null() if bound is None else column > ks.lit(bound)
