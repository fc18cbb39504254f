"""A proxy between S3 clients and their server, which can lose the answer to a chosen request."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.support.tcp_proxy import close_socket

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AnswerLoser"]

_PIECE = 1 << 16


class AnswerLoser:
    """Passes bytes on, until a request comes whose answer is to be lost: the server does what it asks, nobody hears it.

    Parameters
    ----------
    server : int
        The server's port on the loopback address.
    """

    def __init__(self, server: int) -> None:
        self.lost = threading.Event()
        """Set when an answer has been thrown away."""
        self._server = server
        self._wanted: list[bytes] = []
        self._left = 0
        self._refusing = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._begin(self._accept)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    def lose(self, method: str, part: str, nth: int = 1, *, then_refuse: bool = False) -> None:
        """Lose the answer to the `nth` request from now by `method` whose path holds `part`.

        Parameters
        ----------
        then_refuse : bool
            From then on every connection is closed, until `resume`: a request that is sent again does not arrive.
        """
        with self._lock:
            self._wanted, self._left, self._then_refuse = [method.encode() + b" ", part.encode()], nth, then_refuse

    def resume(self) -> None:
        """Serve connections again."""
        with self._lock:
            self._refusing = False

    def close(self) -> None:
        """Close all, and wait for the threads."""
        close_socket(self._listener)
        with self._lock:
            open_sockets, self._sockets = self._sockets, []
        for each in open_sockets:
            close_socket(each)
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
                with self._lock:
                    refusing = self._refusing
                server: socket.socket | None = None
                with suppress(ConnectionError):
                    server = None if refusing else socket.create_connection(("127.0.0.1", self._server))
                if server is None:
                    close_socket(client)
                    continue
                with self._lock:
                    self._sockets += [client, server]
                losing = threading.Event()
                self._begin(self._pass_requests, client, server, losing)
                self._begin(self._pass_answers, server, client, losing)

    def _pass_requests(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(_PIECE):
                if self._is_wanted(data):
                    losing.set()
                server.sendall(data)
        close_socket(server)

    def _is_wanted(self, data: bytes) -> bool:
        # A client of this kind sends one request, waits for its answer, and begins the next in a piece of its own.
        line = data.partition(b"\r\n")[0]
        with self._lock:
            if not self._wanted or not line.startswith(self._wanted[0]) or self._wanted[1] not in line:
                return False
            self._left -= 1
            if self._left:
                return False
            self._wanted = []
            return True

    def _pass_answers(self, server: socket.socket, client: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_PIECE):
                if losing.is_set():
                    self._throw_away(client)
                    break
                client.sendall(data)
        close_socket(client)

    def _throw_away(self, client: socket.socket) -> None:
        with self._lock:
            self._refusing = self._then_refuse
            others = self._sockets if self._then_refuse else [client]
        for each in others:
            close_socket(each)
        self.lost.set()
