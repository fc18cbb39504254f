"""Flink as a peer: its jars from Maven Central and the jobs compiled with them, once per machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["MissingFlink", "flink_command", "install_flink", "versions_of_flink"]

_PEERS = Path(__file__).with_name("peers")
_POM, _JOBS = _PEERS / "flink.pom.xml", _PEERS / "FlinkJobs.java"
_HOME = Path.home() / ".cache" / "krishiv-stream" / "bench-flink"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.7.1:copy-dependencies"
_PACKAGES = (
    "lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "math", "text", "time", "util", "util.concurrent",
    "util.concurrent.atomic", "util.concurrent.locks",
)  # fmt: skip
"""Of ``java.base``, which Flink looks into, and has to be let in since Java 17."""


class MissingFlink(Exception):
    """This machine cannot have Flink: the message says what is missing."""


def install_flink() -> None:
    """Fetch and compile what is not there.

    Raises
    ------
    MissingFlink
        Without Maven or a Java compiler, or if what is needed cannot be fetched.
    """
    for tool in ("mvn", "javac", "java"):
        if shutil.which(tool) is None:
            raise MissingFlink(f"{tool} is not installed")
    _HOME.mkdir(parents=True, exist_ok=True)
    if not _jars().is_dir():
        with tempfile.TemporaryDirectory(dir=_HOME) as made:
            _obey("mvn", "-q", "-B", "-f", str(_POM), f"-DoutputDirectory={made}/jars", "-DincludeScope=runtime", _COPY)
            os.rename(f"{made}/jars", _jars())
    _obey("javac", "-cp", f"{_jars()}/*", "-d", str(_HOME / "classes"), str(_JOBS))


def flink_command(job: str, brokers: str, topic: str, output: str, work: str) -> list[str]:
    """Return the command that runs `job`, ``pass`` or ``windows``, with its checkpoints in `work`."""
    opened = [word for name in _PACKAGES for word in ("--add-opens", f"java.base/java.{name}=ALL-UNNAMED")]
    place = f"{_jars()}/*{os.pathsep}{_HOME / 'classes'}"
    task = [job, brokers, topic, output, str(os.cpu_count()), f"file://{work}/flink-{output}"]
    return ["java", "-Xmx2g", *opened, "-cp", place, "FlinkJobs", *task]


def versions_of_flink() -> dict[str, str]:
    """Return the versions of Flink and of its connector."""
    jars = "\n".join(path.name for path in _jars().iterdir())
    return {
        name: found[1]
        for name in ("flink-runtime", "flink-connector-kafka", "kafka-clients")
        if (found := re.search(rf"^{name}-(.+)\.jar$", jars, re.MULTILINE)) is not None
    }


def _jars() -> Path:
    version = re.search(r"<flink\.version>(.+?)</flink\.version>", _POM.read_text())
    assert version, _POM
    return _HOME / f"jars-{version[1]}"


def _obey(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingFlink(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
