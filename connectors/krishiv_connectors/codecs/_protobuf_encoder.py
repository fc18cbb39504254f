"""Rows as Protobuf messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from krishiv_connectors._errors import UnencodableRow
from krishiv_connectors.codecs._apart import one_sentence
from krishiv_connectors.codecs._codec import Decoder, Encoder
from krishiv_connectors.codecs._fitting import casts, unfit_column
from krishiv_connectors.codecs._framing import add_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor

__all__ = ["ProtobufEncoder"]


class ProtobufEncoder(Encoder):
    """Rows as messages of one type.

    What is encoded is decoded again and compared: a value that the message cannot hold (a null in a field without
    presence, an enum's unknown name, two members of a oneof) would be left out in silence otherwise.

    Parameters
    ----------
    descriptor : Descriptor
        The message's type. Fields that rows lack are left out.
    handler : ptars message handler
        Converts columns to messages.
    read_back : Decoder
        Reads bare messages of this type.
    header : callable or None
        Returns what messages begin with, under a registry.
    """

    def __init__(
        self, descriptor: Descriptor, handler: Any, read_back: Decoder, header: Callable[[], bytes] | None
    ) -> None:
        self._name = descriptor.full_name
        self._handler = handler
        self._schema: pa.Schema = handler.schema()
        self._read_back = read_back
        self._make_header = header
        self._header: bytes | None = None

    def check(self, schema: pa.Schema) -> None:
        """Refuse columns that the message lacks or has of other types."""
        for field in schema:
            if field.name not in self._schema.names:
                raise unfit_column(field.name, f"is not in {self._name}, which has {', '.join(self._schema.names)}")
            target = self._schema.field(field.name).type
            if not casts(field.type, target):
                raise unfit_column(field.name, f"holds {field.type}, where {self._name} has {target}")

    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        """Return one message per row."""
        if self._header is None:
            self._header = b"" if self._make_header is None else self._make_header()
        if not rows.num_rows:
            return pa.array([], pa.large_binary())
        cast = self._cast(rows)
        payloads = self._handler.record_batch_to_array(cast)
        self._compare(cast, self._read_back.decode(payloads.to_pylist(), cast.schema.names).batch)
        return add_frame(self._header, payloads.cast(pa.large_binary()))

    def _cast(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows in exactly the message's types: the library passes over columns of any other."""
        try:
            return rows.cast(pa.schema([self._schema.field(name) for name in rows.schema.names]))
        except (pa.ArrowException, ValueError) as error:
            raise UnencodableRow(
                f"a value does not fit {self._name}: {one_sentence(error)}",
                hint="convert the column in the pipeline; a field without presence cannot be null: fill it",
            ) from error

    def _compare(self, rows: pa.RecordBatch, written: pa.RecordBatch) -> None:
        for name in rows.schema.names:
            row = _first_difference(rows.column(name), written.column(name))
            if row is not None:
                raise UnencodableRow(
                    f"column {name!r} of row {row} holds a value that {self._name} cannot",
                    hint="a field without presence cannot be null, an enum holds only its names, a oneof one member",
                    row=row,
                    column=name,
                )


def _first_difference(ours: pa.Array, theirs: pa.Array) -> int | None:
    left, right = pl.Series(pl.from_arrow(ours)), pl.Series(pl.from_arrow(theirs))
    if left.equals(right, null_equal=True):  # NaN equals itself there
        return None
    for place in range(len(left)):
        if not left[place : place + 1].equals(right[place : place + 1]) and not _same(ours[place], theirs[place]):
            return place
    return None


def _same(ours: pa.Scalar, theirs: pa.Scalar) -> bool:
    """Whether two values are equal but for the order of map entries."""
    try:
        return _equal(ours.as_py(maps_as_pydicts="strict"), theirs.as_py(maps_as_pydicts="strict"))
    except KeyError:  # a key twice
        return False


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_equal(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_equal, ours, theirs))
    return bool(ours == theirs or (ours != ours and theirs != theirs))
