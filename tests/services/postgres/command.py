"""A PostgreSQL for ``krishiv-stream certify``: started and killed by command, and gone when who asked for it is.

python tests/services/postgres/command.py start DIR     prints how to connect, now and after a kill
python tests/services/postgres/command.py kill DIR
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.postgres.server import Postgres, PostgresFailed, Unavailable, kill_all

__all__ = ["main"]

_PORT, _KEEPER = "port", "keeper.pid"
_PATIENCE = 20.0  # seconds


def _start(folder: Path) -> int:
    """Leave a keeper behind, and pass on what it reports."""
    starter = os.getppid()
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _keep(folder, starter, writing)
        return 0
    os.close(writing)
    with os.fdopen(reading) as report:
        said = report.read().strip()
    if said.startswith("postgresql:"):
        print(said)
        return 0
    sys.exit(said or f"the server's keeper said nothing: see {folder}")


def _keep(folder: Path, starter: int, report: int) -> None:
    """Run the server until it is killed, or until `starter` has ended."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    (folder / _KEEPER).write_text(str(os.getpid()))
    port = folder / _PORT
    server = Postgres(folder, port=int(port.read_text()) if port.exists() else None)
    try:
        server.start()
    except (Unavailable, PostgresFailed) as failure:
        os.write(report, str(failure).encode())
    else:
        port.write_text(str(server.port))
        os.write(report, server.dsn().encode())
        os.close(report)
        with suppress(ProcessLookupError):  # it has ended already
            select.select([os.pidfd_open(starter), os.pidfd_open(server.pid)], [], [])
        server.kill()
    (folder / _KEEPER).unlink()


def _kill(folder: Path) -> None:
    """Kill the server, and wait until its keeper has seen that."""
    deadline = time.monotonic() + _PATIENCE
    with suppress(FileNotFoundError, ProcessLookupError):
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        if str(folder).encode() in Path(f"/proc/{server}/cmdline").read_bytes():
            kill_all(server)
    while (folder / _KEEPER).exists():
        if time.monotonic() > deadline:
            sys.exit(f"the server of {folder} was killed, and its keeper goes on")
        time.sleep(0.01)


def main() -> int:
    """Obey the command line."""
    parser = argparse.ArgumentParser(description="A PostgreSQL server that is started and killed by command.")
    parser.add_argument("command", choices=("start", "kill"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.command == "kill":
        _kill(folder)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    return _start(folder)


if __name__ == "__main__":
    sys.exit(main())
