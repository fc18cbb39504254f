"""Protobuf messages: where their descriptors come from, and how a registry holds them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from krishiv_connectors._errors import FormatUnfit
from krishiv_connectors._extras import need
from krishiv_connectors.codecs._registry import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.message import Message

    from krishiv_connectors.codecs._registry import SchemaRegistry

__all__ = ["descriptor_of", "message_name", "message_path", "register_file"]

_BUILT_IN = ("google/protobuf/", "confluent/")
"""Files that every registry knows."""


def descriptor_of(message: Descriptor | type[Message] | bytes, full_name: str | None) -> Descriptor:
    """Return the descriptor of a message: it itself, its class's, or `full_name`'s in a FileDescriptorSet.

    Raises
    ------
    FormatUnfit
        If it is none of these, or the name is not in the set.
    """
    kind = need("google.protobuf.descriptor", "protobuf").Descriptor
    if isinstance(message, bytes):
        return _in_set(message, full_name)
    found: Any = getattr(message, "DESCRIPTOR", message)
    if not isinstance(found, kind):
        raise _unfit(f"{message!r} is no Protobuf message")
    descriptor: Descriptor = found
    return descriptor


def message_path(descriptor: Descriptor) -> list[int]:
    """Return the message's index in its file, after those of the messages that it is nested in."""
    outer = descriptor.containing_type
    if outer is None:
        return [list(descriptor.file.message_types_by_name).index(descriptor.name)]
    return [*message_path(outer), [nested.name for nested in outer.nested_types].index(descriptor.name)]


def message_name(text: str, path: list[int]) -> str | None:
    """Return the name of the message at `path` in a registry's schema; None: the text is no serialised descriptor.

    Raises
    ------
    IndexError
        If there is no message at `path`.
    """
    pb2 = need("google.protobuf.descriptor_pb2", "protobuf")
    decode_error = need("google.protobuf.message", "protobuf").DecodeError
    try:
        file = pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, decode_error):
        return None
    if path[0] < 0 or path[0] >= len(file.message_type):
        raise IndexError(path[0])
    message = file.message_type[path[0]]
    names = [file.package, message.name] if file.package else [message.name]
    for index in path[1:]:
        if index < 0:
            raise IndexError(index)
        message = message.nested_type[index]
        names.append(message.name)
    return ".".join(names)


def register_file(registry: SchemaRegistry, file: FileDescriptor, subject: str, *, register: bool) -> tuple[int, int]:
    """Return the id and version of `file` under `subject`, and see to the files that it imports before it."""
    references = [
        Reference(other.name, other.name, register_file(registry, other, other.name, register=register)[1])
        for other in file.dependencies
        if not other.name.startswith(_BUILT_IN)
    ]
    text = base64.b64encode(file.serialized_pb).decode()
    return registry.number(subject, text, "PROTOBUF", register=register, references=references)


def _in_set(data: bytes, full_name: str | None) -> Descriptor:
    pb2 = need("google.protobuf.descriptor_pb2", "protobuf")
    pool = need("google.protobuf.descriptor_pool", "protobuf").DescriptorPool()
    decode_error = need("google.protobuf.message", "protobuf").DecodeError
    if full_name is None:
        raise _unfit("a FileDescriptorSet holds many messages, and none is named")
    try:
        files = {file.name: file for file in pb2.FileDescriptorSet.FromString(data).file}
        for file in _imported_first(files):
            pool.AddSerializedFile(file.SerializeToString())
        found: Descriptor = pool.FindMessageTypeByName(full_name)
    except (decode_error, KeyError, TypeError) as error:
        raise _unfit(f"message {full_name!r} is not in the FileDescriptorSet, or that is not whole") from error
    return found


def _imported_first(files: dict[str, Any]) -> Iterator[Any]:
    done: set[str] = set()

    def visit(name: str) -> Iterator[Any]:
        if name not in done:
            done.add(name)
            for other in files[name].dependency:
                yield from visit(other)
            yield files[name]

    for name in files:
        yield from visit(name)


def _unfit(message: str) -> FormatUnfit:
    return FormatUnfit(
        message,
        hint="pass a generated class, its DESCRIPTOR, or the output of protoc --descriptor_set_out --include_imports "
        'with full_name="package.Message"',
        format="protobuf",
    )
