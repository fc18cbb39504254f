"""A proxy between S3 clients and their server, which loses chosen requests, or the answers to them."""

from __future__ import annotations

import http.client
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["S3Proxy", "is_completion", "is_manifest", "is_part"]


def is_completion(method: str, path: str) -> bool:
    """Whether a request completes an upload."""
    return method == "POST" and "uploadId=" in path


def is_manifest(method: str, path: str) -> bool:
    """Whether a request creates the manifest of an epoch."""
    return method == "PUT" and "/_manifests/" in path and "/prepared/" not in path and "/probes/" not in path


def is_part(method: str, path: str) -> bool:
    """Whether a request uploads a part."""
    return method == "PUT" and "partNumber=" in path


class S3Proxy:
    """Passes requests on; of those that are `wanted`, each `every`-th is lost, and its connection closed.

    Parameters
    ----------
    endpoint : str
        Of the server.
    wanted : callable (method, path) -> bool
    forward : bool
        Whether the server gets the request: then only the answer is lost.

    Attributes
    ----------
    seen : int
        How many requests were `wanted`.
    most_at_once : int
        How many requests were on their way at the same time, at most.
    """

    def __init__(self, endpoint: str, wanted: Callable[[str, str], bool], *, forward: bool, every: int = 3) -> None:
        server = urlsplit(endpoint)
        self._server = (server.hostname or "", server.port)
        self._wanted, self._forward, self._every = wanted, forward, every
        self.seen, self.lost = 0, 0
        self._at_once, self.most_at_once = 0, 0
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def serve(self) -> None:
                with proxy.counted():
                    proxy.pass_on(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

        self._listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listening.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._listening.server_address[1]}"
        self._thread = threading.Thread(target=self._listening.serve_forever, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown()
        self._thread.join()
        self._listening.server_close()

    @contextmanager
    def counted(self) -> Generator[None]:
        """Count a request while it is on its way."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def pass_on(self, request: BaseHTTPRequestHandler) -> None:
        """Serve one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        lost = self._is_lost(request.command, request.path)
        if lost and not self._forward:
            request.close_connection = True
            return
        with closing(http.client.HTTPConnection(*self._server, timeout=30)) as connection:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
        if lost:
            request.close_connection = True
            return
        request.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                request.send_header(name, value)
        head = request.command == "HEAD"
        request.send_header("Content-Length", str(answer.getheader("Content-Length") if head else len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _is_lost(self, method: str, path: str) -> bool:
        if not self._wanted(method, path):
            return False
        with self._lock:
            self.seen += 1
            lost = self.seen % self._every == 0
            self.lost += lost
            return lost
