"""Avro: one record per message, bare or with the id of its schema in a registry."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import FormatUnfit
from krishiv_connectors._extras import need
from krishiv_connectors.codecs._apart import Malformed, decode_apart, one_sentence, with_bad
from krishiv_connectors.codecs._avro_encoder import AvroEncoder
from krishiv_connectors.codecs._avro_from_arrow import avro_schema_of
from krishiv_connectors.codecs._avro_types import AvroSchema
from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder
from krishiv_connectors.codecs._framing import HEADER_BYTES, schema_id
from krishiv_connectors.codecs._registered import RegisteredFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from krishiv_connectors.codecs._registry import RegisteredSchema, SchemaRegistry

__all__ = ["AvroFormat"]


class AvroFormat(RegisteredFormat):
    """One Avro record per message.

    Parameters
    ----------
    schema : str or None
        The reader's schema, as JSON; for encoding, what is written. None: the latest of the registry's subject; for
        encoding with `auto_register`, a schema made from the columns.
    registry : SchemaRegistry or None
        Where the ids that messages begin with stand for schemas. None: messages are bare, and all of `schema`.
    evolution : {"freeze", "evolve"}
        "freeze": messages are resolved to the reader's schema, which is `schema`, or what was the latest at the
        start. "evolve": always to the latest at the start. In both it is the same for the whole run, and a message
        that cannot be resolved to it is bad, and names its schema's id.
    subject : str or None
        The registry's subject, such as ``"orders-value"``; None: left to the connector.
    auto_register : bool
        Whether encoding adds its schema to the subject. False: it must be there.

    Notes
    -----
    Types without a counterpart are refused: unions of several types, records that hold themselves. Timestamps,
    dates, times and decimals become their Arrow types; UUIDs and enums strings.
    """

    kind = "avro"

    def __init__(
        self,
        schema: str | None = None,
        registry: SchemaRegistry | None = None,
        evolution: Literal["freeze", "evolve"] = "freeze",
        subject: str | None = None,
        *,
        auto_register: bool = True,
    ) -> None:
        if evolution not in ("freeze", "evolve"):
            raise _unfit(f"there is no evolution {evolution!r}", 'choose "freeze" or "evolve"')
        if schema is None and registry is None:
            raise _unfit("Avro needs a schema", "pass schema='{...}', or registry=SchemaRegistry(url)")
        if evolution == "evolve" and (registry is None or schema is not None):
            raise _unfit('"evolve" reads with the latest schema of a registry', "pass registry= and leave schema out")
        super().__init__(registry, subject, auto_register=auto_register)
        self._schema = None if schema is None else AvroSchema.parse(schema)
        self._evolution = evolution
        self._latest: RegisteredSchema | None = None

    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder to the fields of the reader's schema, which `schema`, if given, must equal."""
        reader = self._schema or self._latest_schema()
        if schema is not None and not schema.equals(reader.columns):
            raise _unfit(
                f"the Avro schema has other columns than the schema given: {_names(reader.columns)}",
                "leave schema out: Avro knows its columns",
            )
        return AvroDecoder(reader, self._registry)

    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder, which registers or looks up its schema with the first rows."""
        target = self._schema
        if target is None:
            target = AvroSchema.parse(avro_schema_of(schema)) if self._auto_register else self._latest_schema()
        encoder = AvroEncoder(target, self._header(target))
        encoder.check(schema)
        return encoder

    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return evolution, whether there is a registry, and a digest of the schema."""
        digest = None if self._schema is None else hashlib.sha256(self._schema.text.encode()).hexdigest()
        return {
            "format": self.kind,
            "registry": self._registry is not None,
            "evolution": self._evolution,
            "auto_register": self._auto_register,
            "schema_sha256": digest,
        }

    def _latest_schema(self) -> AvroSchema:
        """Return the subject's latest schema: what it was when this was first asked."""
        if self._latest is None:
            assert self._registry is not None
            self._latest = self._registry.latest(self._named_subject())
        return AvroSchema.parse(self._latest.text, self._latest.referenced)

    def _header(self, schema: AvroSchema) -> Callable[[], int] | None:
        registry = self._registry
        if registry is None:
            return None
        subject = self._named_subject()
        if self._latest is not None and self._latest.text == schema.text:
            known = self._latest.id
            return lambda: known
        return lambda: registry.number(subject, schema.text, "AVRO", register=self._auto_register)[0]


class AvroDecoder(Decoder):
    """Records as rows, one after the other."""

    def __init__(self, reader: AvroSchema, registry: SchemaRegistry | None) -> None:
        self._reader = reader
        self._registry = registry
        self._read: Callable[..., dict[str, Any]] = need("fastavro", "avro").schemaless_reader
        self._writers: dict[int, dict[str, Any] | Malformed] = {}

    def columns(self) -> pa.Schema:
        """Return the fields of the reader's schema."""
        return self._reader.columns

    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        """Return the rows; a message whose schema's id is unknown is bad."""
        wanted = self.wanted(columns)
        whole = wanted.names == self._reader.columns.names
        reader = self._reader.parsed if whole else self._reader.only(wanted.names)
        rows: list[dict[str, Any]] = []
        places: list[int] = []
        bad: list[BadValue] = []
        for place, value in enumerate(values):
            try:
                rows.append(self._record(value, reader))
                places.append(place)
            except Malformed as error:
                bad.append(BadValue(place, one_sentence(error)))
        decoded = decode_apart(rows, lambda part: _batch(part, wanted), wanted)
        return with_bad(decoded, places, bad)

    def _record(self, value: bytes | None, reader: dict[str, Any]) -> dict[str, Any]:
        if value is None:
            raise Malformed("a tombstone, which has no value")
        writer, start, number = self._reader.parsed, 0, None
        if self._registry is not None:
            number, start = schema_id(value), HEADER_BYTES
            writer = self._writer(number)
        stream = io.BytesIO(value)
        stream.seek(start)
        try:
            row = self._read(stream, writer, None if writer is reader else reader)
        except Exception as error:  # whatever wrong bytes lead the reader to
            described = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Malformed(f"{_of(number)}does not decode: {described}") from error
        if left := len(value) - stream.tell():
            raise Malformed(f"{_of(number)}{left} bytes after the record")
        return row

    def _writer(self, number: int) -> dict[str, Any]:
        found = self._writers.get(number)
        if found is None:
            found = self._fetched(number)
        if isinstance(found, Malformed):
            raise found
        return found

    def _fetched(self, number: int) -> dict[str, Any] | Malformed:
        """Return schema `number` as fastavro reads it, or why it cannot be used; unknown ids are asked for again."""
        assert self._registry is not None
        registered = self._registry.by_id(number)
        if registered is None:
            return Malformed(f"schema id {number} is not in the registry")
        if registered.kind not in (None, "AVRO"):
            return Malformed(f"schema id {number} is {registered.kind}, not Avro")
        try:
            parsed = AvroSchema.parse_writer(registered.text, registered.referenced)
            # One and the same: nothing to resolve, which is quicker.
            found: dict[str, Any] | Malformed = self._reader.parsed if parsed == self._reader.parsed else parsed
        except FormatUnfit as error:
            found = Malformed(f"schema id {number}: {error.message}")
        self._writers[number] = found
        return found


def _batch(rows: Sequence[dict[str, Any]], wanted: pa.Schema) -> pa.RecordBatch:
    try:
        table = pa.array(rows, pa.struct(list(wanted)))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"a value does not fit its column: {error}") from error
    return (
        pa.RecordBatch.from_struct_array(table).cast(wanted) if len(wanted) else pa.RecordBatch.from_struct_array(table)
    )


def _of(number: int | None) -> str:
    return "" if number is None else f"schema id {number}: "


def _names(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _unfit(message: str, hint: str) -> FormatUnfit:
    return FormatUnfit(message, hint=hint, format="avro")
