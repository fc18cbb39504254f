"""A proxy between PostgreSQL's clients and their server, which can hold back what passes at a chosen statement."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.tcp_proxy import KafkaProxy, close_socket, exactly

if TYPE_CHECKING:
    import socket

__all__ = ["COMMIT", "COPY_END", "PostgresProxy"]

COMMIT, COPY_END = 1, 2
"""What can be stalled at: the statement COMMIT, and the end of a COPY."""
_ENCRYPTION = frozenset((80_877_103, 80_877_104))
"""Codes of the requests that come before the first message of a connection, and are no message of it."""


class PostgresProxy(KafkaProxy):
    """As its base, for PostgreSQL (https://www.postgresql.org/docs/current/protocol-message-formats.html)."""

    def _pass_requests(self, client: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError, EOFError):
            begun = False
            while True:
                message = _message(client, typed=begun)
                begun = begun or struct.unpack(">i", message[4:8])[0] not in _ENCRYPTION
                if not self._look_at(_kind(message)):
                    self._requests.wait()
                broker.sendall(message)
        close_socket(broker)


def _message(client: socket.socket, *, typed: bool) -> bytes:
    head = exactly(client, 5 if typed else 4)
    return head + exactly(client, struct.unpack(">i", head[-4:])[0] - 4)


def _kind(message: bytes) -> int:
    if message[:1] == b"c":
        return COPY_END
    return COMMIT if message[:1] in (b"Q", b"P") and b"COMMIT" in message else 0
