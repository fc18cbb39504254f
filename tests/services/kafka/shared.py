"""One broker for a whole test run, whichever of its processes needs it first.

The broker belongs to a keeper: a process of its own session, which is nobody's child and ends, with the broker, when
the process that stands for the run ends, however that comes about. So neither an interrupt nor a killed run leaves it.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.kafka.broker import Broker, BrokerFailed, Unavailable
from tests.services.kafka.install import locked

if TYPE_CHECKING:
    from tests.services.kafka.security import ClientSettings

__all__ = ["SharedBroker", "attach"]


@dataclass(frozen=True)
class SharedBroker:
    """A broker that other tests use too.

    Parameters
    ----------
    bootstrap : str
        Where clients connect: ``127.0.0.1:port``.
    """

    bootstrap: str

    def client(self) -> ClientSettings:
        """Return the settings of a librdkafka client."""
        return {"bootstrap.servers": self.bootstrap}


def attach(folder: Path, run: int) -> SharedBroker:
    """Return the broker of the run, started in `folder` if this is its first user.

    Parameters
    ----------
    folder : Path
        A folder that all processes of the run, and no others, know.
    run : int
        The process with which the run ends.

    Raises
    ------
    Unavailable
        Where a broker cannot be had.
    BrokerFailed
        Where it does not start; the run does not try again.
    """
    with locked(folder / "lock"):
        report = folder / "report.json"
        if not report.exists():
            report.write_text(_start_keeper(folder, run))
        told = json.loads(report.read_text())
    match told:
        case {"bootstrap": str(bootstrap)}:
            return SharedBroker(bootstrap)
        case {"unavailable": str(reason)}:
            raise Unavailable(reason)
        case {"failed": str(reason)}:
            raise BrokerFailed(reason)
    raise BrokerFailed(f"the broker's keeper said nothing: see {folder}")


def _start_keeper(folder: Path, run: int) -> str:
    command = [sys.executable, str(Path(__file__)), str(folder), str(run)]
    with (folder / "keeper.log").open("wb") as log:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, check=False)
    return done.stdout.decode() or "null"


def _keep(folder: Path, run: int, reports: int) -> None:
    """Run the broker until `run` ends."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the run waits for the end of the output that it reads
    alive = os.pidfd_open(run)
    try:
        broker = Broker(folder / "broker").start()
    except Unavailable as missing:
        _report(reports, {"unavailable": str(missing)})
    except Exception as failure:
        _report(reports, {"failed": f"{type(failure).__name__}: {failure}"})
    else:
        _report(reports, {"bootstrap": broker.bootstrap})
        select.select([alive], [], [])
        broker.discard()


def _report(reports: int, told: dict[str, str]) -> None:
    os.write(reports, json.dumps(told).encode())
    os.close(reports)


def main() -> None:
    """Leave a keeper behind, and pass on what it reports."""
    folder, run = Path(sys.argv[1]), int(sys.argv[2])
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _keep(folder, run, writing)
        return
    os.close(writing)
    with os.fdopen(reading, "rb") as reports:
        sys.stdout.buffer.write(reports.read())


if __name__ == "__main__":
    main()
