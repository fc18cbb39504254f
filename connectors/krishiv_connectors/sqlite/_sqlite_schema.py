"""How Arrow columns become SQLite columns: declared types, conversion of whole columns, fit with an existing table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import TableMismatch, UnsupportedColumn

if TYPE_CHECKING:
    import sqlite3

__all__ = ["check_columns", "create_table", "quoted", "storable", "to_columns"]


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def storable(schema: pa.Schema) -> dict[str, str]:
    """Return the declared SQLite type of each column; raise `UnsupportedColumn` if one has none."""
    declared = {field.name: _declared(field) for field in schema}
    folded = [name.lower() for name in schema.names]
    for name in schema.names:
        if folded.count(name.lower()) > 1:
            raise UnsupportedColumn(
                f"column {name!r} differs from another one only in case, which SQLite does not tell apart",
                hint="rename one of them before write",
                column=name,
            )
    return declared


def create_table(connection: sqlite3.Connection, table: str, schema: pa.Schema) -> None:
    """Make `table` for rows x `schema` if it is missing."""
    columns = ", ".join(f"{quoted(name)} {declared}" for name, declared in storable(schema).items())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({columns})")


def check_columns(connection: sqlite3.Connection, table: str, schema: pa.Schema) -> None:
    """Raise `TableMismatch` if `table` exists and rows x `schema` do not fit into it."""
    rows = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    if not rows:
        return
    existing = {name.lower(): (declared.upper(), required, default) for _, name, declared, required, default, _ in rows}
    wanted = storable(schema)
    for name, declared in wanted.items():
        found = existing.pop(name.lower(), None)
        if found is None:
            raise _mismatch(table, name, "is missing in it", "add the column, or drop or rename the table")
        if _affinity(found[0]) not in (_affinity(declared), "BLOB"):
            raise _mismatch(table, name, f"is declared {found[0]} instead of {declared}", "cast the column to fit")
    for name, (_, required, default) in existing.items():
        if required and default is None:
            raise _mismatch(table, name, "needs a value that the rows do not have", "give it a default, or drop it")


def to_columns(batch: pa.RecordBatch) -> list[list[Any]]:
    """Return each column of `batch` as a list of what sqlite3 stores."""
    import polars as pl

    return [_stored(pl.Series(values=column)).to_list() for column in batch.columns]


def _stored(series: Any) -> Any:
    import polars as pl

    match series.dtype:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            # Always the same number of digits: only so does text sort by value.
            digits = {"ms": 3, "us": 6, "ns": 9}[unit]
            series = series if zone is None else series.dt.convert_time_zone("UTC")
            return series.dt.strftime(f"%Y-%m-%d %H:%M:%S%.{digits}f" + ("" if zone is None else "Z"))
        case pl.Time():
            return series.dt.strftime("%H:%M:%S%.9f")
        case pl.Date() | pl.Decimal() | pl.Categorical() | pl.Enum():
            return series.cast(pl.String)
        case _:
            return series


def _declared(field: pa.Field) -> str:
    kind = field.type.value_type if pat.is_dictionary(field.type) else field.type
    if pat.is_boolean(kind) or (pat.is_integer(kind) and not pat.is_uint64(kind)):
        return "INTEGER"
    if pat.is_floating(kind):
        return "REAL"
    if pat.is_binary(kind) or pat.is_large_binary(kind) or pat.is_binary_view(kind) or pat.is_fixed_size_binary(kind):
        return "BLOB"
    texts = (pat.is_string, pat.is_large_string, pat.is_string_view, pat.is_temporal, pat.is_decimal128, pat.is_null)
    if any(is_text(kind) for is_text in texts) and not pat.is_duration(kind) and not pat.is_interval(kind):
        return "TEXT"
    raise UnsupportedColumn(
        f"column {field.name!r} of type {field.type} cannot be stored in SQLite",
        hint="cast it to a number or to text with with_columns before write",
        column=field.name,
    )


def _affinity(declared: str) -> str:
    """Return the affinity that SQLite derives from a declared type (https://sqlite.org/datatype3.html, 3.1)."""
    for affinity, words in (
        ("INTEGER", ("INT",)),
        ("TEXT", ("CHAR", "CLOB", "TEXT")),
        ("BLOB", ("BLOB",)),
        ("REAL", ("REAL", "FLOA", "DOUB")),
    ):
        if any(word in declared for word in words):
            return affinity
    return "NUMERIC" if declared else "BLOB"


def _mismatch(table: str, column: str, what: str, hint: str) -> TableMismatch:
    return TableMismatch(f"table {table!r} exists, but column {column!r} {what}", hint=hint, table=table, column=column)
