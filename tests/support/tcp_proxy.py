"""A proxy between Kafka clients and their broker, which can hold back what passes at a chosen request."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["END_TRANSACTION", "PRODUCE", "KafkaProxy", "close_socket", "exactly"]

PRODUCE, END_TRANSACTION = 0, 26
"""Numbers of Kafka's requests (https://kafka.apache.org/protocol#protocol_api_keys)."""
_PIECE = 1 << 16


class KafkaProxy:
    """Passes bytes between clients at one port and a broker at another, until it is told to hold them back.

    Parameters
    ----------
    port, broker : int
        Where it listens, and where the broker does, on the loopback address.
    """

    def __init__(self, port: int, broker: int) -> None:
        self.stalled = threading.Event()
        """Set when the request to stall at has come."""
        self._broker = broker
        self._requests, self._answers = threading.Event(), threading.Event()
        self._wanted: tuple[int, bool] | None = None
        self._left = 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        self._requests.set()
        self._answers.set()
        self._begin(self._accept)

    def stall_at(self, request: int, nth: int, *, forward: bool) -> None:
        """Hold everything back at the `nth` such request from now: with `forward`, only what follows and all answers.

        Parameters
        ----------
        forward : bool
            Whether the broker still gets that request.
        """
        with self._lock:
            self._wanted, self._left = (request, forward), nth

    def stall(self) -> None:
        """Hold everything back from now on."""
        self._requests.clear()
        self._answers.clear()
        self.stalled.set()

    def resume(self) -> None:
        """Pass on what was held back, and what comes."""
        self._requests.set()
        self._answers.set()

    def cut(self) -> None:
        """Close every connection, with what was held back on it; new ones are served."""
        with self._lock:
            cut, self._sockets = self._sockets, []
        for each in cut:
            close_socket(each)
        self.resume()

    def close(self) -> None:
        """Close all, and wait for the threads."""
        close_socket(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- what passes

    def _begin(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="proxy")  # type: ignore[arg-type]  # callable
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):  # that the listener is closed
            while True:
                client, _ = self._listener.accept()
                with suppress(ConnectionError):
                    broker = socket.create_connection(("127.0.0.1", self._broker))
                    with self._lock:
                        self._sockets += [client, broker]
                    self._begin(self._pass_requests, client, broker)
                    self._begin(self._pass_answers, broker, client)
                    continue
                close_socket(client)  # as the broker's own system would answer

    def _pass_requests(self, client: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError, EOFError):
            while True:
                length = exactly(client, 4)
                request = exactly(client, struct.unpack(">i", length)[0])
                forward = self._look_at(struct.unpack(">h", request[:2])[0])
                if not forward:
                    self._requests.wait()
                broker.sendall(length + request)
        close_socket(broker)

    def _look_at(self, request: int) -> bool:
        """Return whether a request is passed on at once; stalls if it is the one to stall at."""
        with self._lock:
            if self._wanted is not None and self._wanted[0] == request:
                self._left -= 1
                if self._left == 0:
                    forward = self._wanted[1]
                    self._wanted = None
                    self.stall()
                    return forward
        return self._requests.is_set()

    def _pass_answers(self, broker: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := broker.recv(_PIECE):
                self._answers.wait()
                client.sendall(data)
        close_socket(client)


def exactly(source: socket.socket, count: int) -> bytes:
    """Read `count` bytes.

    Raises
    ------
    EOFError
        If the other side closes before.
    """
    data = bytearray()
    while len(data) < count:
        piece = source.recv(min(count - len(data), _PIECE))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def close_socket(each: socket.socket) -> None:
    """Close a socket, also if the other side has."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it in another thread
    each.close()
