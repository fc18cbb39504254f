"""Fetch a broker once per machine: its jars from Maven Central, and storage that is formatted already.

All of it lies in ``$KRISHIV_SERVICES_CACHE/kafka-<version>``, by default in ``~/.cache/krishiv-services``. What is
there is whole: it is made beside its place and then renamed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Installation", "Unavailable", "installation", "locked"]

_POM = Path(__file__).with_name("pom.xml")
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.7.1:copy-dependencies"
_OLDEST_JAVA = 17
# Formatting looks at the node's role and folder only; the ports are never opened.
_FORMAT = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:2
listeners=CLIENT://127.0.0.1:1,CONTROLLER://127.0.0.1:2
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT
log.dirs={storage}
"""


class Unavailable(Exception):
    """This machine cannot have a broker: the message says what is missing."""


@dataclass(frozen=True)
class Installation:
    """A fetched broker.

    Parameters
    ----------
    home : Path
        The folder of this version in the cache.
    java : str
        The Java that runs it.
    """

    home: Path
    java: str

    @property
    def storage(self) -> Path:
        """The formatted storage of a broker that was never started."""
        return self.home / "storage"

    @property
    def class_path(self) -> str:
        """Every jar, in one order: an archive of loaded classes holds for one class path only."""
        return os.pathsep.join(map(str, sorted((self.home / "libs").glob("*.jar"))))


def installation() -> Installation:
    """Return the broker of this machine, fetched if it is not there.

    Raises
    ------
    Unavailable
        Without Java 17 or newer, and, at the first time, without Maven or what it fetches from.
    """
    home = _cache() / f"kafka-{_version()}"
    found = Installation(home, _java())
    if not home.is_dir():
        with locked(home.with_name(f".{home.name}.lock")):
            if not home.is_dir():
                _fetch(home, found.java)
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`: one process at a time, freed by the kernel when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    if chosen := os.environ.get("KRISHIV_SERVICES_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "krishiv-services"


def _version() -> str:
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", _POM.read_text())
    assert found, _POM
    return found[1]


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None) or shutil.which("java")
    if java is None:
        raise Unavailable(f"Java is not installed: a Kafka broker needs Java {_OLDEST_JAVA} or newer")
    return os.path.realpath(java)


def _check_java(java: str) -> None:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if not found or int(found[1]) < _OLDEST_JAVA:
        raise Unavailable(f"a Kafka broker needs Java {_OLDEST_JAVA} or newer, and {java} says: {said.strip()}")


def _fetch(home: Path, java: str) -> None:
    _check_java(java)
    with tempfile.TemporaryDirectory(prefix=f".{home.name}-", dir=home.parent) as beside:
        made = Installation(Path(beside) / "made", java)
        _fetch_jars(made.home / "libs")
        _format(made)
        made.home.rename(home)


def _fetch_jars(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("Maven is not installed: it fetches the Kafka broker at the first time")
    command = [maven, "-q", "-B", "-f", str(_POM), f"-DoutputDirectory={folder}", "-DincludeScope=runtime", _COPY]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        raise Unavailable("Maven did not fetch the Kafka broker within ten minutes") from None
    if done.returncode:
        raise Unavailable(f"Maven could not fetch the Kafka broker: {(done.stdout + done.stderr)[:500]}")


def _format(made: Installation) -> None:
    properties = made.home / "format.properties"
    properties.write_text(_FORMAT.format(storage=made.storage))
    tool = [made.java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", made.class_path, "kafka.tools.StorageTool"]
    identity = ["-t", "AAAAAAAAAAAAAAAAAAAAAQ"]  # each broker gets one of its own with its copy
    subprocess.run([*tool, "format", *identity, "-c", str(properties)], check=True, capture_output=True)
