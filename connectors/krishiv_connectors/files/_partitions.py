"""Splitting a batch by the values of some columns, into the folders that Hive-style readers expect: ``day=7/``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn
from krishiv_guarantees import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["HivePartitioning"]

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder value that stands for null, in Hive and in every reader since."""


class HivePartitioning:
    """Splits batches of one schema by `columns`.

    Parameters
    ----------
    schema : pa.Schema
        Of the batches.
    columns : sequence of str
        Outermost folder first.

    Raises
    ------
    PlanError
        If a column is missing, comes twice, or no other column is left.
    UnsupportedColumn
        If a column is not an integer, string, boolean or date.
    """

    def __init__(self, schema: pa.Schema, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        _check(schema, self._columns)
        self._kept = [name for name in schema.names if name not in self._columns]
        self.schema = pa.schema([schema.field(name) for name in self._kept])

    def split(self, batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Give ``(folder, rows)`` for each combination of values in `batch`, rows in their order, x `self.schema`."""
        rows = batch.select(self._kept)
        codes, folders = self._codes(batch)
        if len(folders) == 1:
            yield folders[0], rows
            return
        order = np.argsort(codes, kind="stable")
        rows = rows.take(pa.array(order))
        ends = np.cumsum(np.bincount(codes, minlength=len(folders)))
        start = 0
        for folder, end in zip(folders, ends.tolist(), strict=True):
            yield folder, rows.slice(start, end - start)
            start = end

    def _codes(self, batch: pa.RecordBatch) -> tuple[NDArray[np.int64], list[str]]:
        """Number the combinations of values that occur; return each row's number and each number's folder."""
        codes = np.zeros(batch.num_rows, dtype=np.int64)
        folders = [""]
        for name in self._columns:
            encoded = batch.column(name).dictionary_encode(null_encoding="encode")
            values = encoded.dictionary.to_pylist()
            wide = codes * len(values) + encoded.indices.to_numpy()
            present, codes = np.unique(wide, return_inverse=True)
            folders = [
                f"{folders[code // len(values)]}{_folder(name, values[code % len(values)])}/"
                for code in present.tolist()
            ]
        return codes, folders


def _folder(name: str, value: object) -> str:
    match value:
        case None:
            text = NULL
        case bool():
            text = str(value).lower()
        case _:
            text = quote(str(value), safe="")
    return f"{quote(name, safe='')}={text}"


def _check(schema: pa.Schema, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise PlanError(
            f"partition_by names {missing[0]!r}, which is not a column of the output",
            hint=f"its columns are {', '.join(schema.names)}",
            column=missing[0],
        )
    if len(set(columns)) != len(columns) or len(columns) == len(schema.names):
        raise PlanError(
            f"partition_by=[{', '.join(columns)}] names a column twice or leaves none for the files",
            hint="name each column once, and not all of them",
        )
    for name in columns:
        kind = schema.field(name).type
        if not (pat.is_integer(kind) or _is_text(kind) or pat.is_boolean(kind) or pat.is_date32(kind)):
            raise UnsupportedColumn(
                f"partition_by column {name!r} has type {kind}",
                hint="partition by integers, strings, booleans or dates; derive such a column first",
                column=name,
            )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pat.is_string(kind) or pat.is_large_string(kind) or pat.is_string_view(kind))
