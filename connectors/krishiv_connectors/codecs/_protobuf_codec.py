"""Protobuf: one message per value, bare or with the id of its schema in a registry."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from krishiv_connectors._errors import FormatUnfit
from krishiv_connectors._extras import need
from krishiv_connectors.codecs._apart import Malformed, decode_apart, one_sentence, with_bad
from krishiv_connectors.codecs._codec import BadValue, Decoded, Decoder, Encoder
from krishiv_connectors.codecs._framing import HEADER_BYTES, frame, message_indexes, read_message_indexes, schema_id
from krishiv_connectors.codecs._protobuf_encoder import ProtobufEncoder
from krishiv_connectors.codecs._protobuf_types import descriptor_of, message_name, message_path, register_file
from krishiv_connectors.codecs._registered import RegisteredFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    from krishiv_connectors.codecs._registry import SchemaRegistry

__all__ = ["ProtobufFormat"]


class ProtobufFormat(RegisteredFormat):
    """One Protobuf message per value.

    Parameters
    ----------
    message : generated class, descriptor, or bytes
        What messages are; bytes are a serialised FileDescriptorSet, as ``protoc --descriptor_set_out
        --include_imports`` writes it.
    full_name : str or None
        With bytes, the message's name in it, such as ``"shop.Order"``.
    registry : SchemaRegistry or None
        Where the ids that messages begin with stand for schemas. None: messages are bare.
    subject : str or None
        The registry's subject, such as ``"orders-value"``; None: left to the connector.
    auto_register : bool
        Whether encoding adds its schema to the subject. False: it must be there.

    Notes
    -----
    Fields without presence are not nullable: what is not in a message is the type's default. Enums are strings (a
    number that has no name is its digits); Timestamps are UTC, cut to microseconds; wrappers are nullable columns;
    a message within itself is its bytes; map
    entries are in the order of their keys. As everywhere in Protobuf, fields that the message does not know are passed
    over, and writers of older and newer versions are read alike.
    """

    kind = "protobuf"

    def __init__(
        self,
        message: Descriptor | type[Message] | bytes,
        full_name: str | None = None,
        registry: SchemaRegistry | None = None,
        subject: str | None = None,
        *,
        auto_register: bool = True,
    ) -> None:
        super().__init__(registry, subject, auto_register=auto_register)
        self._descriptor = descriptor_of(message, full_name)

    def decoder(self, schema: pa.Schema | None) -> Decoder:
        """Return a decoder to the message's fields, which `schema`, if given, must equal."""
        decoder = ProtobufDecoder(self._descriptor, self._registry)
        if schema is not None and not schema.equals(decoder.columns()):
            raise FormatUnfit(
                f"message {self._descriptor.full_name} has other columns than the schema given",
                hint="leave schema out: Protobuf knows its columns",
                format=self.kind,
            )
        return decoder

    def encoder(self, schema: pa.Schema) -> Encoder:
        """Return an encoder, which registers or looks up its schema with the first rows."""
        # Without the registry: what is read back has no header yet.
        read_back = ProtobufDecoder(self._descriptor, None)
        encoder = ProtobufEncoder(self._descriptor, _handler(self._descriptor), read_back, self._header())
        encoder.check(schema)
        return encoder

    def config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the message's name, whether there is a registry, and a digest of the message's file."""
        return {
            "format": self.kind,
            "message": self._descriptor.full_name,
            "registry": self._registry is not None,
            "auto_register": self._auto_register,
            "schema_sha256": hashlib.sha256(self._descriptor.file.serialized_pb).hexdigest(),
        }

    def _header(self) -> Callable[[], bytes] | None:
        registry = self._registry
        if registry is None:
            return None
        subject = self._named_subject()

        def header() -> bytes:
            number, _ = register_file(registry, self._descriptor.file, subject, register=self._auto_register)
            return frame(number) + message_indexes(message_path(self._descriptor))

        return header


class ProtobufDecoder(Decoder):
    """Messages as rows.

    Each message is parsed and written again by Protobuf's own library, and then all at once become columns. The first
    decides what is good and what it means (which member of a oneof counts, how repeated parts merge); the second is
    much faster at columns, but lenient, and agrees with the first on messages that it has written.
    """

    def __init__(self, descriptor: Descriptor, registry: SchemaRegistry | None) -> None:
        self._descriptor = descriptor
        self._registry = registry
        self._handler = _handler(descriptor)
        self._schema: pa.Schema = self._handler.schema()
        self._parse: Callable[[bytes], Any] = _message_class(descriptor).FromString
        library = need("google.protobuf.message", "protobuf")
        self._errors: tuple[type[Exception], ...] = (library.DecodeError, library.EncodeError)
        self._indexes = message_indexes(message_path(descriptor))
        self._good: dict[int, bytes] = {}

    def columns(self) -> pa.Schema:
        """Return the message's fields."""
        return self._schema

    def decode(self, values: Sequence[bytes | None], columns: Sequence[str] | None = None) -> Decoded:
        """Return the rows; a message whose schema's id is unknown is bad."""
        wanted = self.wanted(columns)
        payloads: list[bytes] = []
        places: list[int] = []
        bad: list[BadValue] = []
        for place, value in enumerate(values):
            try:
                payloads.append(self._payload(value))
                places.append(place)
            except Malformed as error:
                bad.append(BadValue(place, one_sentence(error)))
        decoded = decode_apart(payloads, self._rows, self._schema)
        return with_bad(Decoded(decoded.batch.select(wanted.names), decoded.bad), places, bad)

    def _payload(self, value: bytes | None) -> bytes:
        if value is None:
            raise Malformed("a tombstone, which has no value")
        try:
            message = self._parse(value if self._registry is None else self._unframed(value))
            message.DiscardUnknownFields()
            payload: bytes = message.SerializeToString(deterministic=True)  # maps in the order of their keys
        except self._errors as error:
            raise Malformed(f"not a {self._descriptor.full_name}: {error}") from error
        return payload

    def _rows(self, payloads: Sequence[bytes]) -> pa.RecordBatch:
        try:
            rows = self._handler.array_to_record_batch(pa.array(payloads, pa.binary()))
        except ValueError as error:
            raise Malformed(f"not a {self._descriptor.full_name}: {error}") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # what a fault of the Rust library becomes
                raise
            raise Malformed(f"a {self._descriptor.full_name} that cannot become a row: {error}") from None
        return pa.RecordBatch.from_arrays(rows.columns, schema=self._schema) if len(self._schema) else rows

    def _unframed(self, value: bytes) -> bytes:
        number = schema_id(value)
        indexes = self._good.get(number)
        if indexes is not None and value.startswith(indexes, HEADER_BYTES):
            return value[HEADER_BYTES + len(indexes) :]
        path, start = read_message_indexes(value, HEADER_BYTES)
        self._check_message(number, path)
        self._good[number] = value[HEADER_BYTES:start]
        return value[start:]

    def _check_message(self, number: int, path: list[int]) -> None:
        """Raise unless schema `number` has this message at `path`."""
        assert self._registry is not None
        registered = self._registry.by_id(number)
        if registered is None:
            raise Malformed(f"schema id {number} is not in the registry")
        if registered.kind != "PROTOBUF":
            raise Malformed(f"schema id {number} is {registered.kind}, not Protobuf")
        try:
            name = message_name(registered.text, path)
        except IndexError:
            raise Malformed(f"schema id {number} has no message at {path}") from None
        # A registry that has only the text of the .proto file leaves the place to go by.
        same = path == message_path(self._descriptor) if name is None else name == self._descriptor.full_name
        if not same:
            raise Malformed(f"schema id {number}: message {name or path}, not {self._descriptor.full_name}")


def _message_class(descriptor: Descriptor) -> Any:
    return need("google.protobuf.message_factory", "protobuf").GetMessageClass(descriptor)


def _handler(descriptor: Descriptor) -> Any:
    """Return what converts messages to columns and back."""
    ptars = need("ptars", "protobuf")
    config = ptars.PtarsConfig(enum_repr="string", timestamp_unit="us", time_unit="us", duration_unit="us")
    return ptars.HandlerPool([descriptor.file], config=config).get_for_message(descriptor)
