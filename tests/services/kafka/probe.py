"""Ask a broker, in Kafka's own protocol, whether it serves: an open port says too little.

The broker answers Metadata with itself in the list only when its controller has let it in, and with the identity of
its cluster: another broker may have been faster at the same port. Requests and versions:
https://kafka.apache.org/protocol (Metadata 2, SaslHandshake 1, SaslAuthenticate 0).
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.services.kafka.security import Security

__all__ = ["cluster_at"]

_METADATA, _HANDSHAKE, _AUTHENTICATE = 3, 17, 36
_LONGEST_ANSWER = 5.0  # seconds


def cluster_at(port: int, security: Security) -> str | None:
    """Return the identity of the cluster whose broker serves at `port`, or nothing if none does."""
    try:
        with _connect(port, security) as connection:
            if security.kind != "plaintext":
                _log_in(connection, "admin", security.password("admin"))
            no_topics = struct.pack(">i", 0)
            return _cluster(_ask(connection, _METADATA, 2, no_topics))
    except (OSError, struct.error):
        return None


def _cluster(answer: bytes) -> str | None:
    (brokers,), place = struct.unpack_from(">i", answer), 4
    for _ in range(brokers):
        _host, place = _string(answer, place + 4)  # after the node's number
        _rack, place = _string(answer, place + 4)  # after the port
    return _string(answer, place)[0] if brokers else None


def _string(answer: bytes, place: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", answer, place)
    end = place + 2 + max(length, 0)  # -1 stands for none
    return answer[place + 2 : end].decode(), end


def _connect(port: int, security: Security) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), _LONGEST_ANSWER)
    if security.authority is None:
        return connection
    try:
        trust = ssl.create_default_context(cafile=str(security.authority))
        return trust.wrap_socket(connection, server_hostname="localhost")
    except BaseException:
        connection.close()
        raise


def _log_in(connection: socket.socket, user: str, password: str) -> None:
    _ask(connection, _HANDSHAKE, 1, struct.pack(">h5s", 5, b"PLAIN"))
    token = f"\0{user}\0{password}".encode()
    answer = _ask(connection, _AUTHENTICATE, 0, struct.pack(">i", len(token)) + token)
    if struct.unpack_from(">h", answer)[0]:
        raise OSError("the broker refused its administrator")


def _ask(connection: socket.socket, request: int, version: int, body: bytes) -> bytes:
    correlation, no_client_name = 1, -1
    message = struct.pack(">hhih", request, version, correlation, no_client_name) + body
    connection.sendall(struct.pack(">i", len(message)) + message)
    (size,) = struct.unpack(">i", _receive(connection, 4))
    return _receive(connection, size)[4:]


def _receive(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        if not (part := connection.recv(size - len(got))):
            raise OSError("the broker hung up")
        got += part
    return got
