"""Reading the sinks as a stranger would, and counting what is missing and what is there twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.simulate.outside import Outside, Row
    from tests.simulate.tasks import Split

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """How one sink's output differs from the answer: ids of rows, and keys whose counts are not 1, 2, 3 and so on."""

    sink: str
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    miscounted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.duplicated or self.miscounted)

    def __str__(self) -> str:
        return f"{self.sink}: lost {self.lost}, duplicated {self.duplicated}, miscounted {self.miscounted}"


def compare(outside: Outside, splits: Iterable[Split]) -> list[Difference]:
    """Compare both sinks with the input."""
    wanted = [row.id for split in splits for row in split.rows]
    found = {"files": outside.files.rows(), "table": outside.table.rows()}
    return [difference for sink, rows in found.items() if (difference := _compare(sink, rows, wanted))]


def _compare(sink: str, rows: Sequence[Row], wanted: Sequence[str]) -> Difference:
    times = Counter(row.id for row in rows)
    counts: dict[str, list[int]] = {}
    for row in rows:
        counts.setdefault(row.key, []).append(row.count)
    return Difference(
        sink,
        lost=tuple(id for id in wanted if not times[id]),
        duplicated=tuple(id for id, n in times.items() if n > 1),
        miscounted=tuple(key for key, found in counts.items() if sorted(found) != list(range(1, len(found) + 1))),
    )
