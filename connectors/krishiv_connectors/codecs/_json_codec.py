"""JSON: one object per message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from krishiv_connectors._errors import FormatUnfit
from krishiv_connectors.codecs._apart import Malformed, decode_apart, with_bad
from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder, Format
from krishiv_connectors.files._json_format import JsonFormat as JsonLines
from krishiv_connectors.files._json_format import shape_decoder
from krishiv_connectors.files._ndjson import check_encodable, encode_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["JsonDecoder", "JsonEncoder", "JsonFormat", "one_line"]


class JsonFormat(Format):
    """One JSON object per message, in UTF-8.

    Notes
    -----
    Decoding has the rules of `JsonSource`: a missing key is null, keys that the schema lacks are ignored, numbers
    must fit their column exactly, dates and times are ISO 8601 strings. Encoding has those of `JsonSink`: every
    column is written, nulls included. A message that is empty, a tombstone, not an object, or several objects is bad.
    """

    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder to the columns of `schema`, by key."""
        if schema is None or not len(schema):
            raise FormatUnfit(
                "JSON messages do not say what their columns are: a schema is missing",
                hint="pass schema=pa.schema(...), or infer one with infer_json_schema(values)",
                format="json",
            )
        return JsonDecoder(schema)

    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder of all columns."""
        encoder = JsonEncoder()
        encoder.check(schema)
        return encoder

    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the format's name."""
        return {"format": "json"}


class JsonDecoder(Decoder):
    """JSON objects as rows, all of a batch in one parse."""

    def __init__(self, schema: pa.Schema) -> None:
        JsonLines(schema)
        self._schema = schema

    def columns(self) -> pa.Schema:
        """Return the schema given."""
        return self._schema

    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        """Return the rows; a tombstone is bad."""
        wanted = self.wanted(columns)
        # Rows of no columns have no number that the parser could tell: the first column stands in.
        parsed = wanted if len(wanted) else pa.schema([self._schema.field(0)])
        lines = JsonLines(parsed)
        texts, places, bad = _texts(values)
        decoded = decode_apart(texts, lambda part: _decode(lines, part), parsed, lambda part: _suspects(parsed, part))
        decoded = Decoded(decoded.batch.select(wanted.names), decoded.bad)
        return with_bad(decoded, places, bad)


class JsonEncoder(Encoder):
    """Rows as JSON objects."""

    def check(self, schema: pa.Schema) -> None:
        """Refuse types that JSON text cannot hold."""
        check_encodable(schema)

    def encode(self, rows: pa.RecordBatch) -> pa.Array:
        """Return one object per row."""
        return encode_objects(rows).cast(pa.large_binary())


def one_line(value: bytes) -> bytes:
    """Return a JSON text without newlines.

    A tab is white space between tokens as a newline is, and as forbidden within a string: what is bad stays bad.
    """
    return value.replace(b"\n", b"\t") if b"\n" in value else value


def _texts(values: Sequence[bytes | None]) -> tuple[Sequence[bytes], Sequence[int], list[BadValue]]:
    """Return the values that hold anything, their places, and the others."""
    if None not in values and b"" not in values:
        return values, range(len(values)), []  # type: ignore[return-value]  # no None among them
    places = [place for place, value in enumerate(values) if value]
    bad = [
        BadValue(place, "a tombstone, which has no value" if value is None else "an empty value")
        for place, value in enumerate(values)
        if not value
    ]
    return [value for value in values if value], places, bad


def _decode(lines: JsonLines, texts: Sequence[bytes]) -> pa.RecordBatch:
    """Return one row per text.

    The parser takes each line by itself, as one object or none, so that the number of rows tells whether all were
    objects.
    """
    data = b"\n".join(texts)
    if data.count(b"\n") != len(texts) - 1:
        data = b"\n".join(map(one_line, texts))
    rows = lines.parse(data)
    if rows.num_rows != len(texts):
        raise Malformed("no JSON object")
    return rows


def _suspects(schema: pa.Schema, texts: Sequence[bytes]) -> Iterator[int]:
    shape = shape_decoder(schema)
    for place, text in enumerate(texts):
        try:
            shape.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield place
