"""What a data file's footer says about its columns, as the log of a Delta table wants it: readers skip files by it."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["statistics"]

_LONGEST = 64
"""Characters; of a longer text no bounds are given."""


def statistics(footer: pq.FileMetaData) -> str:
    """Return numRecords, minValues, maxValues and nullCount of a file's plain columns, as JSON.

    Bounds are given where they are sure: numbers but NaN, short texts, dates, and timestamps, counted by the format in
    milliseconds: the greatest is rounded up.
    """
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for column in range(footer.num_columns):
        name = footer.schema.column(column).path
        if "." in name:
            continue
        found = [footer.row_group(group).column(column).statistics for group in range(footer.num_row_groups)]
        if any(each is None for each in found):
            continue
        if all(each.has_null_count for each in found):
            nulls[name] = sum(each.null_count for each in found)
        bounds = [(each.min, each.max) for each in found if each.has_min_max]
        if len(bounds) == len(found) and (low := _text(min(b[0] for b in bounds), up=False)) is not None:
            high = _text(max(b[1] for b in bounds), up=True)
            if high is not None:
                least[name], most[name] = low, high
    told = {"numRecords": footer.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}
    return msgspec.json.encode(told).decode()


def _text(value: object, *, up: bool) -> Any:
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value if len(value) <= _LONGEST else None
        case datetime():
            return _moment(value, up=up)
        case date():
            return value.isoformat()
        case _:
            return None


def _moment(value: datetime, *, up: bool) -> str:
    below = value.replace(microsecond=value.microsecond // 1_000 * 1_000)
    told = below + timedelta(milliseconds=1) if up and below != value else below
    zone = "" if value.tzinfo is None else "Z"
    plain = told if value.tzinfo is None else told.astimezone(UTC)
    return plain.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
