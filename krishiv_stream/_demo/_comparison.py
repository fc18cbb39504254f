"""Comparing the streamed output with the batch answer, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl

from krishiv_stream._demo._batch_answer import SCALE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Comparison", "compare", "read_output"]

_IDENTITY = ["key", "window_start"]
_TOLERANCE = 1e-9
"""Of a sum of floats, relative to the sum of their magnitudes: the order of additions is nobody's promise."""
_EXAMPLES = 5


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How an output differs from the batch answer.

    Parameters
    ----------
    expected, found : int
        Rows of the batch answer, and of the output.
    lost : int
        Rows of the batch answer whose key and window are not in the output.
    duplicated : int
        Rows of the output whose key and window were there already.
    changed : int
        Rows of the output with other values than the batch answer has for that key and window.
    unexpected : int
        Rows of the output with a key and window that the batch answer does not have.
    examples : dict
        A few rows of each kind, as they are in the output; of `lost`, as they should be.
    """

    expected: int
    found: int
    lost: int
    duplicated: int
    changed: int
    unexpected: int
    examples: dict[str, list[dict[str, str]]] = {}

    @property
    def equal(self) -> bool:
        """Whether the output is the batch answer."""
        return not (self.lost or self.duplicated or self.changed or self.unexpected)


def read_output(folder: Path) -> pl.DataFrame | None:
    """Return every row of the Parquet files that the job published; None if there are none."""
    files = sorted(folder.glob("*/*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False) if files else None


def compare(expected: pl.DataFrame, found: pl.DataFrame | None) -> Comparison:
    """Compare two answers as sets of rows; their order means nothing.

    Parameters
    ----------
    expected : pl.DataFrame
        The batch answer: one row per key and window.
    found : pl.DataFrame or None
        The output; None: it has no rows.
    """
    answer = _comparable(expected)
    output = answer.drop(SCALE, strict=False).clear() if found is None else _comparable(found)
    answer = answer.with_columns(pl.col(name).cast(kind) for name, kind in output.schema.items())
    lost = answer.join(output, on=_IDENTITY, how="anti", nulls_equal=True)
    unexpected = output.join(answer, on=_IDENTITY, how="anti", nulls_equal=True)
    known = output.join(answer, on=_IDENTITY, how="inner", nulls_equal=True, suffix=".answer")
    duplicated = known.filter(~pl.struct(_IDENTITY).is_first_distinct())
    changed = known.filter(~_equal_values(output, known))
    kinds = {"lost": lost, "duplicated": duplicated, "changed": changed, "unexpected": unexpected}
    return Comparison(
        expected=len(answer),
        found=len(output),
        lost=len(lost),
        duplicated=len(duplicated),
        changed=len(changed),
        unexpected=len(unexpected),
        examples={kind: _examples(rows, output.columns) for kind, rows in kinds.items() if len(rows)},
    )


def _comparable(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows` with dictionary-encoded text as text: two dictionaries are no types to compare."""
    encoded = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Categorical | pl.Enum)]
    return rows.with_columns(pl.col(encoded).cast(pl.String))


def _equal_values(output: pl.DataFrame, joined: pl.DataFrame) -> pl.Expr:
    values = [name for name in output.columns if name not in _IDENTITY]
    return pl.all_horizontal(*(_equal(name, joined) for name in values))


def _equal(name: str, joined: pl.DataFrame) -> pl.Expr:
    found, expected = pl.col(name), pl.col(f"{name}.answer")
    same = found.eq_missing(expected)
    if name != "total" or SCALE not in joined.columns:
        return same
    return same | ((found - expected).abs() <= _TOLERANCE * pl.col(SCALE)).fill_null(False)


def _examples(rows: pl.DataFrame, columns: list[str]) -> list[dict[str, str]]:
    chosen = rows.select(columns).head(_EXAMPLES)
    return [{name: str(value) for name, value in row.items()} for row in chosen.iter_rows(named=True)]
