"""The files a broker starts from: its settings, its log's settings, and its storage."""

from __future__ import annotations

import base64
import re
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.services.kafka.install import Installation
    from tests.services.kafka.security import Security

__all__ = ["Ports", "identity_of", "prepare_storage", "write_settings"]

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENT",
    "auto.create.topics.enable": "false",
    # One node holds the only copy of everything.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Small.
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.recovery.threads.per.data.dir": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.index.size.max.bytes": "1048576",
    # Soon: what takes minutes by default happens within a test.
    "broker.heartbeat.interval.ms": "250",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.retention.check.interval.ms": "1000",
    "log.segment.delete.delay.ms": "500",
    "log.cleaner.backoff.ms": "500",
}

# How long the controller believes in a broker that is silent: longer than a busy machine or a pause takes. But one that
# was killed may come back only after this long.
_SESSION, _SESSION_AFTER_KILL = {"broker.session.timeout.ms": "30000"}, {"broker.session.timeout.ms": "3000"}

_LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <File name="file" fileName="{path}" append="true">
      <PatternLayout pattern="%d %p %m (%c)%n"/>
    </File>
  </Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="file"/></Root></Loggers>
</Configuration>
"""


@dataclass(frozen=True)
class Ports:
    """Where the broker and its controller listen, on the loopback address.

    Parameters
    ----------
    hidden : int
        Where the broker listens for clients that it sends to a proxy.
    """

    client: int
    controller: int
    hidden: int


def write_settings(
    folder: Path, ports: Ports, security: Security, extra: Mapping[str, str], proxy: int | None = None
) -> None:
    """Write ``server.properties`` and ``log4j2.xml``; clients that come by the port `proxy` are sent there again."""
    place = {
        "listeners": f"{_at('CLIENT', ports.client)},{_at('CONTROLLER', ports.controller)}",
        "advertised.listeners": _at("CLIENT", ports.client),
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,CLIENT:{security.protocol},PROXY:{security.protocol}",
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        "log.dirs": str(folder / "data"),
    }
    if proxy is not None:
        place["listeners"] += f",{_at('PROXY', ports.hidden)}"
        place["advertised.listeners"] += f",{_at('PROXY', proxy)}"
    session = _SESSION_AFTER_KILL if _was_killed(folder / "data") else _SESSION
    settings = {**_SETTINGS, **session, **place, **security.server(), **extra}
    (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    (folder / "log4j2.xml").write_text(_LOGGING.format(path=folder / "broker.log"))


def _at(listener: str, port: int) -> str:
    return f"{listener}://127.0.0.1:{port}"


def _was_killed(data: Path) -> bool:
    return (data / "__cluster_metadata-0").exists() and not (data / ".kafka_cleanshutdown").exists()


def prepare_storage(folder: Path, installed: Installation) -> None:
    """Give the broker at `folder` formatted storage with an identity of its own, if it has none."""
    data = folder / "data"
    if (data / "meta.properties").exists():
        return
    shutil.copytree(installed.storage, data, dirs_exist_ok=True)
    meta = data / "meta.properties"
    meta.write_text(
        re.sub(r"(?m)^(cluster|directory)\.id=.*", lambda found: f"{found[1]}.id={_new_identity()}", meta.read_text())
    )


def identity_of(folder: Path) -> str:
    """Return the identity of the cluster of the broker at `folder`."""
    found = re.search(r"(?m)^cluster\.id=(.*)$", (folder / "data" / "meta.properties").read_text())
    assert found
    return found[1]


def _new_identity() -> str:
    # Kafka's own way to write a UUID; one that begins with a dash would look like an option.
    while (written := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return written
