"""How a message names its schema: a zero byte, the id in a registry, then the payload.

Source: the wire format of Confluent Schema Registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from krishiv_connectors.codecs._apart import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HEADER_BYTES", "add_frame", "frame", "message_indexes", "read_message_indexes", "schema_id"]

HEADER_BYTES = 5
_MAGIC = 0
_VARINT_BITS = 32


def schema_id(value: bytes) -> int:
    """Return the id that `value` names.

    Raises
    ------
    Malformed
        If it has no such header.
    """
    if len(value) < HEADER_BYTES or value[0] != _MAGIC:
        raise Malformed("no schema id: the message does not begin with a zero byte and four bytes of id")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def frame(number: int) -> bytes:
    """Return the header that names schema `number`."""
    return bytes([_MAGIC]) + number.to_bytes(4, "big")


def add_frame(header: bytes, payloads: pa.Array) -> pa.Array:
    """Return `payloads`, large_binary, each with `header` before it."""
    if not header:
        return payloads
    # Elements of one argument are joined by another: here one empty payload and a separator that is the header.
    nothing = pa.scalar(b"", pa.large_binary())
    return pc.binary_join_element_wise(nothing, payloads, pa.scalar(header, pa.large_binary()))


def message_indexes(path: Sequence[int]) -> bytes:
    """Return how a Protobuf message says which message of its file it is: `path` leads to it from the outside in."""
    return b"\0" if list(path) == [0] else b"".join(_zigzag(number) for number in [len(path), *path])


def read_message_indexes(value: bytes, start: int) -> tuple[list[int], int]:
    """Return the message's path in its file, read from `start`, and where its payload begins."""
    count, start = _unzigzag(value, start)
    if count == 0:
        return [0], start
    path: list[int] = []
    # Each index takes a byte: a count that is larger than what is left is not one.
    for _ in range(min(max(count, 0), len(value))):
        index, start = _unzigzag(value, start)
        path.append(index)
    if len(path) != count:
        raise Malformed("the message's indexes are cut short")
    return path, start


def _zigzag(number: int) -> bytes:
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])


def _unzigzag(value: bytes, start: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, _VARINT_BITS + 3, 7):
        if start >= len(value):
            break
        byte = value[start]
        start += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), start
    raise Malformed("the message's indexes are cut short")
