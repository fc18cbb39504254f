"""Values as they are: bytes, or text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pat

from krishiv_connectors._errors import FormatUnfit, UnsupportedColumn
from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder, Format
from krishiv_connectors.codecs._fitting import is_bytes, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["RawFormat", "StringFormat"]


class RawFormat(Format):
    """The bytes themselves, in one column ``value``; a tombstone is null.

    Encoding takes rows of exactly one binary column, of any name.
    """

    name = "raw"
    kind = pa.binary()

    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder to one column ``value``; another schema is refused."""
        decoder = self._decoder()
        if schema is not None and not schema.equals(decoder.columns()):
            raise FormatUnfit(
                f"format {self.name!r} always gives one column, value: {self.kind}",
                hint="leave schema out, and rename or convert the column in the pipeline",
                format=self.name,
            )
        return decoder

    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder of the only column."""
        encoder = _OneColumnEncoder(self.name, self.kind)
        encoder.check(schema)
        return encoder

    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the format's name."""
        return {"format": self.name}

    def _decoder(self) -> Decoder:
        return _RawDecoder(self.kind)


class StringFormat(RawFormat):
    """UTF-8 text, in one column ``value``; a tombstone is null. Other bytes are bad.

    Encoding takes rows of exactly one text column, of any name.
    """

    name = "string"
    kind = pa.string()

    def _decoder(self) -> Decoder:
        return _StringDecoder(self.kind)


class _RawDecoder(Decoder):
    def __init__(self, kind: pa.DataType) -> None:
        self._schema = pa.schema([("value", kind)])

    def columns(self) -> pa.Schema:
        return self._schema

    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        wanted = self.wanted(columns)
        column, bad = self._column(pa.array(values, pa.binary()))
        return Decoded(pa.RecordBatch.from_arrays([column], schema=self._schema).select(wanted.names), bad)

    def _column(self, values: pa.Array) -> tuple[pa.Array, tuple[BadValue, ...]]:
        return values, ()


class _StringDecoder(_RawDecoder):
    def _column(self, values: pa.Array) -> tuple[pa.Array, tuple[BadValue, ...]]:
        try:
            return values.cast(pa.string()), ()
        except pa.ArrowInvalid:
            bad = {place: why for place, value in enumerate(values.to_pylist()) if (why := _not_text(value))}
            good = pa.array([place for place in range(len(values)) if place not in bad], pa.int64())
            return values.take(good).cast(pa.string()), tuple(BadValue(*item) for item in bad.items())


def _not_text(value: bytes | None) -> str | None:
    try:
        (value or b"").decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    return None


class _OneColumnEncoder(Encoder):
    """The only column, as it is."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self._name = name
        self._kind = kind

    def check(self, schema: pa.Schema) -> None:
        fits = is_text if pat.is_string(self._kind) else is_bytes
        if len(schema) != 1 or not fits(schema.field(0).type):
            raise UnsupportedColumn(
                f"format {self._name!r} writes exactly one {self._kind} column, not {schema.names}",
                hint='select the one column to write, or choose another format, such as "json"',
                columns=schema.names,
            )

    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        return rows.column(0).cast(pa.large_binary())
