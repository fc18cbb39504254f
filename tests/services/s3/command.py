"""An S3 server for ``krishiv-stream certify``: started and killed by command, and gone when who asked for it is.

python tests/services/s3/command.py start DIR     prints http://KEY:SECRET@HOST:PORT, the same now and after a kill
python tests/services/s3/command.py kill DIR

Killed is what serves S3. What stores the objects is another process, which goes on: so they are there after a start.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY, Gateway, GatewayFailed, Unavailable

__all__ = ["main"]

_SOCKET = "keeper"
_PATIENCE = 90.0  # seconds
_LOOK = 1.0
"""Seconds between two looks whether the folder is still there."""


def _start(folder: Path) -> int:
    """Have the keeper of `folder` start the server again; where there is none, leave one behind."""
    os.chdir(folder)  # the name of a socket may not be long
    if Path(_SOCKET).exists():
        return _passed_on(_ask("start"))
    starter = os.getppid()
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _keep(folder, starter, writing)
        return 0
    os.close(writing)
    with os.fdopen(reading) as report:
        return _passed_on(report.read())


def _passed_on(said: str) -> int:
    if said.startswith("http://"):
        print(said)
        return 0
    sys.exit(said or "the server's keeper said nothing")


def _ask(what: str) -> str:
    """Return the keeper's answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(_SOCKET)
        connection.sendall(what.encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


def _keep(folder: Path, starter: int, report: int) -> None:
    """Run the server, and do what is asked, until `starter` has ended or the folder is gone."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    gateway = Gateway(folder / "ceph")
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            gateway.start()
            listening.bind(_SOCKET)
            listening.listen()
        except (Unavailable, GatewayFailed) as failure:
            os.write(report, str(failure).encode())
            return
        os.write(report, _address(gateway).encode())
        os.close(report)
        try:
            _serve(gateway, listening, folder, starter)
        finally:
            gateway.close()
            Path(_SOCKET).unlink(missing_ok=True)


def _serve(gateway: Gateway, listening: socket.socket, folder: Path, starter: int) -> None:
    try:
        ended = os.pidfd_open(starter)
    except ProcessLookupError:
        return
    while folder.exists():
        ready, _, _ = select.select([ended, listening], [], [], _LOOK)
        if ended in ready:
            return
        if listening in ready:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(_obeyed(gateway, connection.recv(16).decode()).encode())


def _obeyed(gateway: Gateway, what: str) -> str:
    gateway.kill()
    if what == "start":
        try:
            gateway.start_gateway()
        except GatewayFailed as failure:
            return str(failure)
    return _address(gateway)


def _address(gateway: Gateway) -> str:
    return gateway.endpoint.replace("http://", f"http://{ACCESS_KEY}:{SECRET_KEY}@")


def main() -> int:
    """Obey the command line."""
    parser = argparse.ArgumentParser(description="An S3 server that is started and killed by command.")
    parser.add_argument("command", choices=("start", "kill"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    folder: Path = given.folder.absolute()
    if given.command == "kill":
        if (folder / _SOCKET).exists():
            os.chdir(folder)
            _ask("kill")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    return _start(folder)


if __name__ == "__main__":
    sys.exit(main())
