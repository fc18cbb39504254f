"""Rows in the types of a table's columns, looked at before they are staged.

What PostgreSQL cannot store has to be found before an epoch is decided: after that there is no way around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from krishiv_connectors.postgres._errors import UnstorableValue
from krishiv_connectors.postgres._types import wire_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_connectors.postgres._types import Column

__all__ = ["Fitting", "holds_infinite"]

_FIRST_MOMENT = -210_866_803_200_000_000
"""Microseconds from 1970 back to 4713 B.C., where timestamps begin; they end after those of Arrow."""
_FIRST_DAY, _LAST_DAY = -2_440_588, 2_145_042_905
_DAY = 86_400_000_000


class Fitting:
    """Casts batches to what a table's columns take.

    Parameters
    ----------
    schema : pa.Schema
        Of the batches.
    columns : mapping
        The table's columns by name.
    table : str
        As errors name it.
    keys : tuple of str
        Columns that may hold no nulls.

    Raises
    ------
    TableMismatch
        If a column cannot hold every value of its type.
    """

    def __init__(
        self, schema: pa.Schema, columns: Mapping[str, Column], table: str, keys: tuple[str, ...] = ()
    ) -> None:
        wires = {field.name: wire_type(field, columns[field.name], table) for field in schema}
        self.schema = pa.schema(wires.items())
        self._columns = [columns[name] for name in schema.names]
        self._table = table
        self._keys = frozenset(keys)

    def fit(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `batch` in the types that are sent.

        Raises
        ------
        UnstorableValue
            If PostgreSQL cannot store a value, or the table's column cannot.
        """
        arrays = [
            self._fitted(array, wire, column)
            for array, wire, column in zip(batch.columns, self.schema.types, self._columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _fitted(self, array: pa.Array, wire: pa.DataType, column: Column) -> pa.Array:
        if array.null_count and (column.required or column.name in self._keys):
            raise self._unstorable(column, "has a null, and the table's column takes none", array.is_null())
        cast = self._cast(array, wire, column)
        self._check(cast, column)
        return cast

    def _cast(self, array: pa.Array, wire: pa.DataType, column: Column) -> pa.Array:
        if array.type == wire:
            return array
        try:
            stored = array.storage if isinstance(array, pa.ExtensionArray) else array
            return (stored.dictionary_decode() if pat.is_dictionary(stored.type) else stored).cast(wire)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise self._unstorable(
                column, f"has a value that a column of {column.shown} cannot hold: {error}"
            ) from None

    def _check(self, array: pa.Array, column: Column) -> None:
        kind = array.type
        if pat.is_list(kind):
            self._check(array.flatten(), column)
        elif pat.is_string(kind) or pat.is_large_string(kind):
            self._check_text(array, column)
        elif pat.is_timestamp(kind):
            self._check_range(array.view(pa.int64()), _FIRST_MOMENT, None, column)
        elif pat.is_date(kind):
            self._check_range(array.view(pa.int32()), _FIRST_DAY, _LAST_DAY, column)
        elif pat.is_time(kind):
            self._check_range(array.view(pa.int64()), 0, _DAY, column)

    def _check_text(self, array: pa.Array, column: Column) -> None:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise self._unstorable(column, f"has text that is not UTF-8: {error}") from None
        if _has_zero_byte(array):
            found = pc.match_substring(array, "\0")
            if pc.any(found).as_py():
                raise self._unstorable(column, "has a text with a NUL character, which PostgreSQL cannot store", found)
        if column.length is not None:
            long = pc.greater(pc.utf8_length(array), column.length)
            if pc.any(long).as_py():
                raise self._unstorable(column, f"has a text that is too long for {column.shown}", long)

    def _check_range(self, numbers: pa.Array, first: int, last: int | None, column: Column) -> None:
        bounds: dict[str, Any] = pc.min_max(numbers).as_py()
        if bounds["min"] is None or (bounds["min"] >= first and (last is None or bounds["max"] <= last)):
            return
        outside = pc.less(numbers, first)
        if last is not None:
            outside = pc.or_(outside, pc.greater(numbers, last))
        raise self._unstorable(column, f"has a value outside of what {column.shown} can hold", outside)

    def _unstorable(self, column: Column, what: str, wrong: Any = None) -> UnstorableValue:
        row = None if wrong is None else pc.index(wrong, pa.scalar(True)).as_py()
        at = "" if row is None else f" (row {row} of its batch)"
        return UnstorableValue(
            f"table {self._table}: column {column.name!r} {what}{at}",
            hint="filter or mend such rows with filter or with_columns before write",
            column=column.name,
            row=row,
        )


def _has_zero_byte(array: pa.Array) -> bool:
    """Whether a zero is among the bytes of the values, or of what nulls hide: quick to see, and rare."""
    offsets, data = array.buffers()[1:]
    if data is None or not len(array):
        return False
    width = np.dtype(np.int64 if pat.is_large_string(array.type) else np.int32)
    ends = np.frombuffer(offsets, width, len(array) + 1, array.offset * width.itemsize)
    values = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return not values.all()


def holds_infinite(array: pa.Array) -> bool:
    """Whether a time that was read is none: the driver gives infinite ones as such that lie before all others."""
    kind = array.type
    if pat.is_timestamp(kind):
        least = pc.min(array.view(pa.int64())).as_py()
        return least is not None and least < _FIRST_MOMENT
    if pat.is_date32(kind):
        least = pc.min(array.view(pa.int32())).as_py()
        return least is not None and least < _FIRST_DAY
    return False
