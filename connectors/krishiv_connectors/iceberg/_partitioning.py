"""Splitting a batch by a table's partition spec: https://iceberg.apache.org/spec/#partition-transforms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn
from krishiv_guarantees import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["PartitionValues", "Partitioning", "add_fields", "check_partitions", "spec_terms", "unsupported_term"]

PartitionValues = tuple[int | str | bool | None, ...]
"""One value for each field of the spec, as Iceberg keeps it: days, months and microseconds since 1970 as integers."""

_TERM = re.compile(r"(year|month|day|hour)\((.+)\)")
_TIMES = ("year", "month", "day", "hour")


def _term(text: str) -> tuple[str, str]:
    """Return transform and column of ``"column"`` or ``"day(column)"``."""
    match = _TERM.fullmatch(text)
    return ("identity", text) if match is None else (match[1], match[2])


def spec_terms(table: Any) -> list[str]:
    """Return a table's partition spec as `partition_by` would say it; what it cannot say, in pyiceberg's words."""
    schema = table.schema()
    terms: list[str] = []
    for field in table.spec().fields:
        name, transform = schema.find_column_name(field.source_id), str(field.transform)
        terms.append(str(name) if transform == "identity" else f"{transform}({name})")
    return terms


def unsupported_term(terms: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the first of a table's terms that rows cannot be split by here, or None."""
    return next((term for term in terms if _term(term)[1] not in columns), None)


def check_partitions(schema: pa.Schema, terms: Sequence[str]) -> None:
    """Raise `PlanError` or `UnsupportedColumn` if rows x `schema` cannot be split by `terms`."""
    named = [_term(term)[1] for term in terms]
    missing = [name for name in named if name not in schema.names]
    if missing:
        raise PlanError(
            f"partition_by names {missing[0]!r}, which is not a column of the output",
            hint=f"its columns are {', '.join(schema.names)}; day(column), hour, month and year are transforms",
            column=missing[0],
        )
    if len(set(named)) != len(named):
        raise PlanError("partition_by names a column twice", hint="name each column once", column=named[0])
    for term in terms:
        transform, name = _term(term)
        _transformed(transform, schema.field(name))


def add_fields(update: Any, terms: Sequence[str]) -> None:
    """Add the fields of `terms` to pyiceberg's update of an empty spec."""
    from pyiceberg.transforms import parse_transform

    for term in terms:
        transform, name = _term(term)
        own_name = name if transform == "identity" else f"{name}_{transform}"
        update.add_field(name, parse_transform(transform), own_name)


class Partitioning:
    """Splits batches of one schema.

    Parameters
    ----------
    schema : pa.Schema
        Of the batches, as stored.
    terms : sequence of str
        ``"column"``, ``"day(column)"``...

    Raises
    ------
    UnsupportedColumn
        If a column is not of a type that the transform takes.
    """

    def __init__(self, schema: pa.Schema, terms: Sequence[str]) -> None:
        pairs = [_term(term) for term in terms]
        self._columns = [(name, _transformed(transform, schema.field(name))) for transform, name in pairs]

    def split(self, batch: pa.RecordBatch) -> Iterator[tuple[PartitionValues, pa.RecordBatch]]:
        """Give values and rows of each partition in `batch`, rows in their order."""
        if not self._columns:
            yield (), batch
            return
        codes, values = self._codes(batch)
        if len(values) == 1:
            yield values[0], batch
            return
        rows = batch.take(pa.array(np.argsort(codes, kind="stable")))
        ends = np.cumsum(np.bincount(codes, minlength=len(values)))
        start = 0
        for value, end in zip(values, ends.tolist(), strict=True):
            yield value, rows.slice(start, end - start)
            start = end

    def _codes(self, batch: pa.RecordBatch) -> tuple[NDArray[np.int64], list[PartitionValues]]:
        """Number the combinations of values that occur; return each row's number and each number's values."""
        codes = np.zeros(batch.num_rows, dtype=np.int64)
        combined: list[PartitionValues] = [()]
        for name, transform in self._columns:
            encoded = transform(batch.column(name)).dictionary_encode(null_encoding="encode")
            values = encoded.dictionary.to_pylist()
            wide = codes * len(values) + encoded.indices.to_numpy()
            present, codes = np.unique(wide, return_inverse=True)
            combined = [(*combined[code // len(values)], values[code % len(values)]) for code in present.tolist()]
        return codes, combined


def _transformed(transform: str, field: pa.Field) -> Callable[[pa.Array], pa.Array]:
    """Return what gives the partition value of each row."""
    kind = field.type
    if transform == "identity":
        if pat.is_date32(kind):
            return lambda column: column.cast(pa.int32())
        if pat.is_timestamp(kind):
            return lambda column: column.cast(pa.int64())
        if pat.is_integer(kind) or pat.is_string(kind) or pat.is_large_string(kind) or pat.is_boolean(kind):
            return lambda column: column
    elif pat.is_timestamp(kind) or (pat.is_date32(kind) and transform != "hour"):
        return _TRANSFORMS[transform]
    raise UnsupportedColumn(
        f"partition_by {transform}({field.name}) does not go with type {kind}",
        hint="partition by integers, text, booleans, dates or timestamps, or by day, month, year of the last two, hour "
        "of the last; derive such a column first",
        column=field.name,
    )


def _years(column: pa.Array) -> pa.Array:
    return pc.subtract(pc.year(_plain(column)), 1970).cast(pa.int32())


def _months(column: pa.Array) -> pa.Array:
    moments = _plain(column)
    months = pc.add(pc.multiply(pc.subtract(pc.year(moments), 1970), 12), pc.subtract(pc.month(moments), 1))
    return months.cast(pa.int32())


def _days(column: pa.Array) -> pa.Array:
    moments = _plain(column)
    if pat.is_timestamp(moments.type):
        moments = pc.floor_temporal(moments, unit="day").cast(pa.date32())
    return moments.cast(pa.int32())


def _hours(column: pa.Array) -> pa.Array:
    micros = pc.floor_temporal(_plain(column), unit="hour").cast(pa.int64())
    return pc.divide(micros, 3_600_000_000).cast(pa.int32())


def _plain(column: pa.Array) -> pa.Array:
    """Return timestamps without their time zone, which is UTC."""
    return column.cast(pa.timestamp("us")) if pat.is_timestamp(column.type) else column


_TRANSFORMS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "year": _years,
    "month": _months,
    "day": _days,
    "hour": _hours,
}
