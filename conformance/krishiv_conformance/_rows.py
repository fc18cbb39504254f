"""The rows that cases send through, and the comparison that counts lost and doubled ones."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_conformance._errors import CaseFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Difference", "Row", "SCHEMA", "compare", "expect_part", "expect_rows", "make_rows", "rows_of", "settled"]

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("amount", pa.float64()),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of the rows that the suite makes. `amount` has nulls; `name` has quotes, commas and letters beyond ASCII."""

_NAMES = (
    "plain",
    "with space",
    "comma, comma",
    'a "quoted" word',
    "naïve café",
    "日本",
    "emoji 🌾",
    "back\\slash",
    "-1",
)
_LOOK = 0.05
_START = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)

Row = tuple[Any, ...]


def make_rows(seed: int, count: int, first: int = 0) -> pa.Table:
    """Return `count` rows x `SCHEMA`, each different from every other: `id` counts from `first`.

    The same arguments give the same rows.
    """
    numbers = random.Random(f"rows {seed} {first}")
    rows = [
        {
            "id": first + index,
            "name": f"{numbers.choice(_NAMES)} {numbers.randrange(100)}",
            "amount": None if numbers.random() < 0.1 else round(numbers.uniform(-1000, 1000), 3),
            "at": _START + timedelta(microseconds=numbers.randrange(10**6) + (first + index) * 10_000),
        }
        for index in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def rows_of(table: pa.Table | pa.RecordBatch) -> list[Row]:
    """Return the rows of `table` as tuples, in its order."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True)) if table.num_columns else []


def settled(read: Callable[[], list[Row]], count: int, lag: float) -> list[Row]:
    """Return what `read` gives; while that is fewer than `count` rows, it is tried again for `lag` seconds."""
    deadline = time.monotonic() + lag
    while len(rows := read()) < count and time.monotonic() < deadline:
        time.sleep(_LOOK)
    return rows


@dataclass(frozen=True)
class Difference:
    """How an output differs from what it should hold, as multisets of rows.

    Parameters
    ----------
    lost, doubled, foreign : int
        Expected rows that are missing; expected rows that are there too often; rows that nobody sent.
    examples : tuple of str
        At most one of each.
    """

    lost: int = 0
    doubled: int = 0
    foreign: int = 0
    examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.foreign)

    def __str__(self) -> str:
        counts = f"{self.lost} rows lost, {self.doubled} doubled, {self.foreign} that nobody sent"
        return f"{counts} ({'; '.join(self.examples)})" if self.examples else counts


def compare(expected: Iterable[Row], actual: Iterable[Row]) -> Difference:
    """Return how `actual` differs from `expected`; their order does not count."""
    wanted, found = Counter(expected), Counter(actual)
    lost, more = wanted - found, found - wanted
    doubled = Counter({row: count for row, count in more.items() if row in wanted})
    foreign = more - doubled
    named = (("lost", lost), ("doubled", doubled), ("foreign", foreign))
    examples = tuple(f"{what}: {next(iter(rows))}" for what, rows in named if rows)
    return Difference(lost.total(), doubled.total(), foreign.total(), examples)


def expect_rows(expected: Iterable[Row], actual: Iterable[Row], where: str) -> None:
    """Raise `CaseFailed` unless `actual` holds exactly the rows of `expected`, in any order."""
    difference = compare(expected, actual)
    if difference:
        raise CaseFailed(f"{where}: {difference}", difference=difference)


def expect_part(expected: Sequence[Row], actual: Iterable[Row], where: str) -> None:
    """Raise `CaseFailed` if `actual` holds a row twice, or one that is not in `expected`; missing ones are fine."""
    difference = compare(expected, actual)
    if difference.doubled or difference.foreign:
        raise CaseFailed(f"{where}: {difference}", difference=difference)
