"""Rows as messages: which column becomes the key, the headers, the partition, and which ones make up the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from krishiv_connectors._errors import UnencodableRow
from krishiv_connectors.kafka._columns import as_bytes, as_headers, as_milliseconds, check_column, first
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from krishiv_connectors.codecs import Format

__all__ = ["CHANGE", "MessageShape", "Messages"]

CHANGE = "_op"
"""The column of a stream of changes that says what a row does: ``+I``, ``+U``, ``-U`` or ``-D``."""

_TEXT = "text, binary or a whole number"


@dataclass(frozen=True, kw_only=True)
class MessageShape:
    """Which columns go where.

    Parameters
    ----------
    topics : tuple of str
        Where messages may go; without `topic_column` there is one.
    key, topic_column, partition, timestamp : str or None
        A column's name.
    columns : tuple of str or None
        Columns of the value; None: all but those of topic, partition and headers.
    headers : str, mapping or None
        A column of maps, or a column for each header's name.
    upsert : bool
        A message replaces the one before with its key; rows with ``-D`` in `CHANGE` delete it.
    """

    topics: tuple[str, ...]
    key: str | None = None
    columns: tuple[str, ...] | None = None
    headers: str | Mapping[str, str] | None = None
    topic_column: str | None = None
    partition: str | None = None
    timestamp: str | None = None
    upsert: bool = False

    def message_schema(self) -> pa.Schema:
        """Return the columns of messages: key and value, and what else is configured."""
        fields = [pa.field("key", pa.binary()), pa.field("value", pa.large_binary())]
        if self.topic_column is not None:
            fields.append(pa.field("topic", pa.string()))
        if self.partition is not None:
            fields.append(pa.field("partition", pa.int32()))
        if self.timestamp is not None:
            fields.append(pa.field("timestamp", pa.int64()))
        if self.headers is not None:
            fields.append(pa.field("headers", pa.map_(pa.string(), pa.binary())))
        return pa.schema(fields)

    def value_columns(self, schema: pa.Schema) -> list[str]:
        """Return the names of the columns that make up the value."""
        if self.columns is not None:
            return list(self.columns)
        headers = self.headers.values() if isinstance(self.headers, Mapping) else (self.headers,)
        elsewhere = {self.topic_column, self.partition, *headers}
        if self.upsert:
            elsewhere.add(CHANGE)
        return [name for name in schema.names if name not in elsewhere]

    def check(self, schema: pa.Schema) -> None:
        """Raise if `schema` lacks a column, or one has a type that does not fit."""
        is_text = (pa.types.is_string, pa.types.is_large_string)
        check_column(schema, "key", self.key, (*is_text, *_BINARY, pa.types.is_integer), _TEXT)
        check_column(schema, "topic_column", self.topic_column, is_text, "text")
        check_column(schema, "partition", self.partition, (pa.types.is_integer,), "a whole number")
        check_column(schema, "timestamp", self.timestamp, (pa.types.is_timestamp,), "a timestamp")
        if isinstance(self.headers, Mapping):
            for column in self.headers.values():
                check_column(schema, "headers", column, (*is_text, *_BINARY, pa.types.is_integer), _TEXT)
        else:
            check_column(schema, "headers", self.headers, (_is_header_map,), "a map of text to text or binary")
        for column in self.value_columns(schema):
            check_column(schema, "columns", column, (), "")
        if not self.value_columns(schema):
            raise ConfigurationError("no column is left for the value", hint="name those of the value: columns=[...]")


_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def _is_header_map(kind: pa.DataType) -> bool:
    if not pa.types.is_map(kind):
        return False
    tests = (pa.types.is_string, pa.types.is_large_string)
    return any(test(kind.key_type) for test in tests) and any(test(kind.item_type) for test in (*tests, *_BINARY))


class Messages:
    """Encodes rows of one schema.

    Parameters
    ----------
    keyed : bool
        Every message needs a key: the topic is compacted.

    Raises
    ------
    ConfigurationError
        If they can never be encoded.
    """

    def __init__(self, shape: MessageShape, format: Format, schema: pa.Schema, *, keyed: bool = False) -> None:
        shape.check(schema)
        self._shape = shape
        self._keyed = keyed or shape.upsert
        self._names = shape.value_columns(schema)
        self._changes = shape.upsert and CHANGE in schema.names
        self._encoder = format.encoder(pa.schema([schema.field(name) for name in self._names]))
        self.schema = shape.message_schema()

    def encode(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return one message per row, in their order; rows that retract what is replaced anyway have none.

        Raises
        ------
        UnencodableRow
            If a row cannot be written. Nothing is left out or changed in silence.
        """
        if self._changes:
            rows = rows.filter(pc.not_equal(rows.column(CHANGE), "-U"))
        shape = self._shape
        columns: list[Any] = [self._keys(rows), self._values(rows)]
        if shape.topic_column is not None:
            columns.append(_topics(rows.column(shape.topic_column), shape))
        if shape.partition is not None:
            columns.append(_partitions(rows.column(shape.partition), shape.partition))
        if shape.timestamp is not None:
            columns.append(as_milliseconds(rows.column(shape.timestamp), shape.timestamp))
        if shape.headers is not None:
            columns.append(as_headers(rows, shape.headers))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _keys(self, rows: pa.RecordBatch) -> pa.Array:
        key = self._shape.key
        if key is None:
            return pa.nulls(rows.num_rows, pa.binary())
        column = as_bytes(rows.column(key))
        if self._keyed and column.null_count:
            raise UnencodableRow(
                f"row {first(pc.is_null(column))} has no key: column {key!r} is null",
                hint="messages of a compacted topic need a key: filter such rows out, or give them one",
                row=first(pc.is_null(column)),
            )
        return column

    def _values(self, rows: pa.RecordBatch) -> pa.Array:
        values = self._encoder.encode(rows.select(self._names)).cast(pa.large_binary())
        if not self._changes:
            return values
        return pc.if_else(pc.equal(rows.column(CHANGE), "-D"), pa.scalar(None, pa.large_binary()), values)


def _topics(column: pa.Array, shape: MessageShape) -> pa.Array:
    names = column.cast(pa.string())
    known = pc.is_in(names, value_set=pa.array(shape.topics, pa.string()))
    if not pc.all(known, min_count=0).as_py():
        row = first(pc.invert(known))
        raise UnencodableRow(
            f"row {row} goes to topic {names[row].as_py()!r}, which is not one of those named",
            hint=f"name every topic that column {shape.topic_column!r} may hold: topic=[...]",
            row=row,
        )
    return names


def _partitions(column: pa.Array, name: str) -> pa.Array:
    bad = pc.fill_null(pc.less(column, 0), False)
    if pc.any(bad, min_count=0).as_py():
        row = first(bad)
        raise UnencodableRow(
            f"row {row} goes to partition {column[row].as_py()}",
            hint=f"partitions are numbered from 0; null in {name!r} leaves the choice to the partitioner",
            row=row,
        )
    return pc.fill_null(column.cast(pa.int32()), -1)
