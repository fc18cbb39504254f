"""The broker's process: started with what makes it start fast, waited for, and ended by its id."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.kafka.install import Installation, locked
from tests.services.kafka.probe import cluster_at
from tests.services.kafka.security import Security
from tests.services.kafka.settings import Ports, identity_of, prepare_storage, write_settings
from tests.services.processes import dies_with_parent, end, is_free
from tests.services.processes import free_ports as chosen_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BrokerFailed", "archive", "free_ports", "launch", "wait_until_ready"]

_PATIENCE = 60.0  # seconds for a start on a busy machine
_JVM = [
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
]


class BrokerFailed(Exception):
    """The broker did not start."""


def free_ports(client: int | None = None) -> Ports:
    """Choose ports that nobody listens on; `client` is the one chosen by the caller, if any."""
    if client and not is_free(client):
        raise BrokerFailed(f"Address already in use: 127.0.0.1:{client}")
    return Ports(*chosen_ports(3, client))


def launch(
    installed: Installation, folder: Path, options: Sequence[str] = (), *, detached: bool = False
) -> subprocess.Popen[bytes]:
    """Start the broker whose settings are in `folder`: it dies with the thread that starts it, unless `detached`."""
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
    java = [installed.java, *_JVM, *options, logging, "-cp", installed.class_path]
    binding = [] if detached else dies_with_parent()
    with (folder / "broker.out").open("ab") as output:
        return subprocess.Popen(
            [*binding, *java, "kafka.Kafka", str(folder / "server.properties")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,  # an interrupt of the terminal is for the tests, which end their broker
        )


def wait_until_ready(process: subprocess.Popen[bytes], folder: Path, ports: Ports, security: Security) -> None:
    """Wait for the broker to serve; one that has ended or takes too long is a failure."""
    deadline, own = time.monotonic() + _PATIENCE, identity_of(folder)
    while cluster_at(ports.client, security) != own:
        if process.poll() is not None:
            raise BrokerFailed(f"the broker ended with {process.returncode}:\n{_last_words(folder)}")
        if time.monotonic() > deadline:
            raise BrokerFailed(f"the broker was not ready in {_PATIENCE:.0f} s:\n{_last_words(folder)}")
        time.sleep(0.03)


def _last_words(folder: Path) -> str:
    said = [
        (folder / name).read_text(errors="replace") for name in ("broker.out", "broker.log") if (folder / name).exists()
    ]
    return "".join(said)[-4000:]


def archive(installed: Installation) -> Path | None:
    """Return the archive of the broker's loaded classes, which saves a third of its start, made at the first time."""
    java = f"{installed.java} {Path(installed.java).stat().st_mtime_ns} {_JVM}"
    path = installed.home / f"classes-{hashlib.sha256(java.encode()).hexdigest()[:12]}.jsa"
    if not path.exists():
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                _make_archive(installed, path)
    return path if path.stat().st_size else None


def _make_archive(installed: Installation, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=installed.home) as name:
        folder = Path(name)
        security, ports, made = Security("plaintext", folder), free_ports(), folder / "made.jsa"
        prepare_storage(folder, installed)
        write_settings(folder, ports, security, {})
        process = launch(installed, folder, [f"-XX:ArchiveClassesAtExit={made}"])
        try:
            wait_until_ready(process, folder, ports, security)
        finally:
            end(process, patience=60)
        made.touch()  # a Java that cannot make one: an empty file says not to try again
        os.replace(made, path)
