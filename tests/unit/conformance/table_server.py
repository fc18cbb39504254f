"""A small server for the cases that kill one: it keeps rows by name, each put whole and at most once.

``python table_server.py FOLDER PORT`` serves at PORT (0: any free one) and prints the port. A request is a line of
JSON, and so is its answer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from krishiv_conformance import Server
from krishiv_conformance._processes import die_with_parent

__all__ = ["TableServer", "ask", "receive", "send"]


class TableServer(Server):
    """Starts such servers, and counts what is done to them."""

    def __init__(self) -> None:
        self.started = 0
        self.killed: list[int] = []
        self._processes: dict[Path, subprocess.Popen[str]] = {}

    def start(self, folder: Path) -> str:
        port = folder / "port"
        command = [sys.executable, "-m", __name__, str(folder), port.read_text() if port.exists() else "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert process.stdout is not None
        with process.stdout:
            port.write_text(process.stdout.readline().strip())
        self._processes[folder] = process
        self.started += 1
        return f"127.0.0.1:{port.read_text()}"

    def kill(self, folder: Path) -> None:
        process = self._processes.pop(folder, None)
        if process is not None:
            process.kill()
            if process.wait() == -signal.SIGKILL:
                self.killed.append(process.pid)


# ---------------------------------------------------------------- its clients


def ask(address: str, request: dict[str, Any]) -> Any:
    """Return the answer to one request."""
    with send(address, request) as connection:
        return receive(connection)


def send(address: str, request: dict[str, Any]) -> socket.socket:
    """Send one request, and return the connection on which its answer comes."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(json.dumps(request).encode() + b"\n")
    return connection


def receive(connection: socket.socket) -> Any:
    """Return the answer.

    Raises
    ------
    OSError
        If the server died.
    """
    with connection.makefile("rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the server said nothing")
    return json.loads(line)


# ---------------------------------------------------------------- the server


class _Tables:
    """Rows by name. Those that were put are in a file; those that are `kept` are in memory only."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tables.jsonl"
        self._file.touch()
        self._lock = threading.Lock()
        self._tables: dict[str, list[Any]] = dict(map(json.loads, self._file.read_text().splitlines()))

    def answer(self, request: dict[str, Any]) -> Any:
        with self._lock:
            match request:
                case {"put": name, "rows": rows}:
                    return self._put(name, rows)
                case {"keep": name, "rows": rows}:
                    self._tables[name] = rows
                    return True
                case {"rows": name}:
                    return self._tables[name]
                case _:
                    return sorted(self._tables)

    def _put(self, name: str, rows: list[Any]) -> bool:
        if name in self._tables:
            return False
        with self._file.open("a") as file:
            file.write(json.dumps([name, rows]) + "\n")
        self._tables[name] = rows
        return True


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    die_with_parent()
    tables = _Tables(Path(sys.argv[1]))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                request = json.loads(line)
                answer = json.dumps(tables.answer(request)).encode()
                time.sleep(request.get("delay", 0.0))
                self.wfile.write(answer + b"\n")

    with _Server(("127.0.0.1", int(sys.argv[2])), Handler) as server:
        print(server.server_address[1], flush=True)
        os.close(1)
        server.serve_forever()


if __name__ == "__main__":
    main()
