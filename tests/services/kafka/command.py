"""A broker for ``krishiv-stream certify``: started and killed by command, and gone when the one who asked for it is.

python tests/services/kafka/command.py start DIR     prints where clients connect, now and after a kill
python tests/services/kafka/command.py kill DIR
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.kafka.broker import Broker, BrokerFailed, Unavailable

__all__ = ["main"]

_PORT, _PID, _KEEPER = "port", "broker.pid", "keeper.pid"
_PATIENCE = 20.0  # seconds
# A broker that was killed is let in again only after this time without a sign of life.
_AFTER_A_KILL = {"broker.session.timeout.ms": "2000"}


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
    if said.startswith("127."):
        print(said)
        return 0
    sys.exit(said or f"the broker's keeper said nothing: see {folder}")


def _keep(folder: Path, starter: int, report: int) -> None:
    """Run the broker until it is killed, or until `starter` has ended."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    (folder / _KEEPER).write_text(str(os.getpid()))
    port = folder / _PORT
    before = int(port.read_text()) if port.exists() else None
    broker = Broker(folder, port=before, settings=_AFTER_A_KILL if before else None)
    try:
        broker.start()
    except (Unavailable, BrokerFailed) as failure:
        os.write(report, str(failure).encode())
    else:
        port.write_text(broker.bootstrap.rpartition(":")[2])
        os.write(report, broker.bootstrap.encode())
        os.close(report)
        with suppress(ProcessLookupError):  # it has ended already
            select.select([os.pidfd_open(starter), os.pidfd_open(broker.pid)], [], [])
        broker.kill()
    (folder / _KEEPER).unlink()


def _kill(folder: Path) -> None:
    """Kill the broker, and wait until its keeper has seen that."""
    deadline = time.monotonic() + _PATIENCE
    with suppress(FileNotFoundError, ProcessLookupError):
        broker = int((folder / _PID).read_text())
        if str(folder).encode() in Path(f"/proc/{broker}/cmdline").read_bytes():
            os.kill(broker, signal.SIGKILL)
    while (folder / _KEEPER).exists():
        if time.monotonic() > deadline:
            sys.exit(f"the broker of {folder} was killed, and its keeper goes on")
        time.sleep(0.01)


def main() -> int:
    """Obey the command line."""
    parser = argparse.ArgumentParser(description="A Kafka broker that is started and killed by command.")
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
