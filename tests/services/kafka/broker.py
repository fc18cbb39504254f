"""One Kafka broker on this machine, which a test may stop, kill, pause and start again; and by hand:

python tests/services/kafka/broker.py start DIR [--port PORT] [--security sasl_ssl]
python tests/services/kafka/broker.py stop DIR
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.kafka.install import Installation, Unavailable, installation
from tests.services.kafka.process import BrokerFailed, archive, free_ports, launch, wait_until_ready
from tests.services.kafka.security import ADMIN, PROTOCOLS, USERS, Security
from tests.services.kafka.settings import Ports, prepare_storage, write_settings
from tests.services.processes import end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from typing import Self

    from tests.services.kafka.security import ClientSettings

__all__ = ["Broker", "BrokerFailed", "Unavailable"]

_SPARE_ATTEMPTS = 5  # at other ports, when somebody was faster at those chosen
_PID = "broker.pid"


class Broker:
    """A broker of one's own, with KRaft storage, on two loopback ports.

    Parameters
    ----------
    folder : Path, optional
        Where its data, settings and logs are; by default a temporary folder, which `close` removes.
    port : int, optional
        Where it listens; by default a free port, which it keeps over restarts.
    security : str
        ``plaintext``, ``sasl_plain`` or ``sasl_ssl``.
    users : Mapping[str, str]
        Passwords by name, beside those of `USERS`.
    authorize : bool
        Whether everybody but the administrator and `super_users` needs access control lists.
    super_users : tuple[str, ...]
        Who needs none.
    settings : Mapping[str, str]
        Further lines of ``server.properties``.
    proxy : int, optional
        The port of a proxy before it, to which clients that came by `hidden` are sent again.
    detached : bool
        Whether it outlives the thread that starts it.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        port: int | None = None,
        security: str = "plaintext",
        users: Mapping[str, str] = USERS,
        authorize: bool = False,
        super_users: tuple[str, ...] = (),
        settings: Mapping[str, str] | None = None,
        proxy: int | None = None,
        detached: bool = False,
    ) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="krishiv-kafka-")) if folder is None else folder.absolute()
        self.security = Security(security, self.folder, users, authorize, super_users)
        self._port, self._settings, self._detached = port, dict(settings or {}), detached
        self._proxy = proxy
        self._ports: Ports | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect: ``127.0.0.1:port``."""
        if self._ports is None:
            raise BrokerFailed("the broker was not started")
        return f"127.0.0.1:{self._ports.client}"

    @property
    def hidden(self) -> int:
        """The port behind the proxy."""
        if self._ports is None:
            raise BrokerFailed("the broker was not started")
        return self._ports.hidden

    @property
    def pid(self) -> int:
        """The id of the broker's process."""
        return self._running().pid

    def client(self, user: str = ADMIN, password: str | None = None) -> ClientSettings:
        """Return the settings of a librdkafka client: of `user`, with the right password or the one given."""
        return {"bootstrap.servers": self.bootstrap, **self.security.client(user, password)}

    def start(self) -> Self:
        """Start and wait until it serves, with the data that is there.

        Raises
        ------
        Unavailable
            Where a broker cannot be had.
        BrokerFailed
            Where it does not start.
        """
        installed = installation()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.security.prepare()
        prepare_storage(self.folder, installed)
        spare = 0 if self._ports or self._port else _SPARE_ATTEMPTS
        while not self._attempt(installed, spare > 0):
            spare -= 1
        return self

    def _attempt(self, installed: Installation, may_fail: bool) -> bool:
        _set_logs_aside(self.folder)
        ports = self._ports or free_ports(self._port)
        write_settings(self.folder, ports, self.security, self._settings, self._proxy)
        classes = archive(installed)
        options = [f"-XX:SharedArchiveFile={classes}"] if classes else []
        process = launch(installed, self.folder, options, detached=self._detached)
        try:
            wait_until_ready(process, self.folder, ports, self.security)
        except BaseException as failure:
            end(process, signal.SIGKILL)
            if may_fail and "Address already in use" in str(failure):
                return False
            raise
        self._ports, self._process = ports, process
        (self.folder / _PID).write_text(str(process.pid))
        return True

    def stop(self) -> None:
        """Stop in order; the data stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill with SIGKILL; the data stays as it is."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again with the same data on the same port, stopped first if it runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze with SIGSTOP: connections stay open, and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def discard(self) -> None:
        """Kill and remove the data; settings and logs stay."""
        self.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def close(self) -> None:
        """Stop in order, or, where the folder is a temporary one, discard and remove it."""
        if self._temporary:
            self.discard()
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BrokerFailed("the broker does not run")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            end(self._process, how)
            self._process = None
            (self.folder / _PID).unlink(missing_ok=True)


def _set_logs_aside(folder: Path) -> None:
    for log in (folder / "broker.out", folder / "broker.log"):
        if log.exists():
            log.replace(f"{log}.before")


def _stop_by_pid(folder: Path, patience: float = 20.0) -> None:
    """Stop the broker that another process started in `folder`."""
    pid = int((folder / _PID).read_text())
    command = Path(f"/proc/{pid}/cmdline")
    deadline, signals = time.monotonic() + patience, iter([signal.SIGTERM])
    while command.exists() and str(folder).encode() in command.read_bytes():
        late = time.monotonic() > deadline
        if number := signal.SIGKILL if late else next(signals, None):
            os.kill(pid, number)
        time.sleep(0.05)
    (folder / _PID).unlink()


def main() -> None:
    """Start or stop a broker by hand, or only fetch it."""
    parser = argparse.ArgumentParser(description="A Kafka broker on this machine, for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="fetch what a broker needs, once per machine")
    start, stop = commands.add_parser("start"), commands.add_parser("stop")
    for command in (start, stop):
        command.add_argument("folder", type=Path)
    start.add_argument("--port", type=int)
    start.add_argument("--security", choices=PROTOCOLS, default="plaintext")
    try:
        _obey(parser.parse_args())
    except (Unavailable, BrokerFailed) as failure:
        sys.exit(str(failure))


def _obey(given: argparse.Namespace) -> None:
    if given.command == "fetch":
        archive(installation())
    elif given.command == "stop":
        _stop_by_pid(given.folder.absolute())
    else:
        started = Broker(given.folder, port=given.port, security=given.security, detached=True).start()
        print(started.bootstrap)


if __name__ == "__main__":
    main()
