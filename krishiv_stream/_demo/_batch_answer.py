"""The answer that the streamed output is held against: one DataFusion query over all of the input at once.

Written in SQL and not with the pipeline's own expressions: a mistake in those must not be made here again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.dataset

from krishiv_stream._demo._question import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krishiv_stream._demo._question import Question

__all__ = ["SCALE", "batch_answer"]

SCALE = "scale"
"""Extra column of a sum of floats: the sum of the magnitudes, which its rounding error is measured by."""


def batch_answer(question: Question, files: Sequence[str]) -> pl.DataFrame:
    """Answer `question` over `files`.

    Returns
    -------
    pl.DataFrame
        key, window_start, window_end, rows and, with a value, total and largest; with a value of floats also `SCALE`.
    """
    from datafusion import SessionContext

    data = pyarrow.dataset.dataset(list(files), format="parquet")
    context = SessionContext()
    context.register_dataset("input", data)
    answer = context.sql(query_of(question, data.schema)).to_arrow_table()
    return pl.DataFrame(pl.from_arrow(answer))


def query_of(question: Question, schema: pa.Schema) -> str:
    """Return the query over a table called ``input``."""
    size = f"INTERVAL '{WINDOW.total_seconds():.0f} seconds'"
    start = f"date_bin({size}, {_quoted(question.event_time)})"
    columns = [
        f"{_key(question.key, schema)} AS key",
        f"{start} AS window_start",
        f"{start} + {size} AS window_end",
        "count(*) AS rows",
    ]
    where = ""
    if question.value is not None:
        value = _quoted(question.value)
        columns += [f"sum({value}) AS total", f"max({value}) AS largest"]
        if pa.types.is_floating(schema.field(question.value).type):
            columns.append(f"sum(abs({value})) AS {SCALE}")
        where = f"WHERE {value} IS NOT NULL" if question.bound is None else f"WHERE {value} > {question.bound!r}"
    return f"SELECT {', '.join(columns)} FROM input {where} GROUP BY 1, 2"


def _key(name: str, schema: pa.Schema) -> str:
    column = _quoted(name)
    if pa.types.is_floating(schema.field(name).type):
        return f"CASE WHEN {column} = 0 THEN 0 ELSE {column} END"  # 0.0 and -0.0 are one key
    return column


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
