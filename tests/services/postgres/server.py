"""One PostgreSQL server on this machine, which a test may stop, kill, pause and start again; and by hand:

python tests/services/postgres/server.py DIR [--port PORT]
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.processes import dies_with_parent, end, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["PASSWORD", "USER", "Postgres", "PostgresFailed", "Unavailable", "kill_all", "programs"]

USER, PASSWORD = "krishiv", "test-password"
_PLACES = Path("/usr/lib/postgresql")
_PATIENCE = 60.0  # seconds for a start on a busy machine
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "logging_collector": "off",
    "lc_messages": "C",
    "max_wal_size": "256MB",  # every new database is written to it
}


class Unavailable(Exception):
    """A PostgreSQL server cannot be had here, and why."""


class PostgresFailed(Exception):
    """The server did not start."""


def programs() -> Path:
    """Return the folder of the newest PostgreSQL's programs.

    Raises
    ------
    Unavailable
        Where it is not installed.
    """
    found = sorted(_PLACES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise Unavailable("no PostgreSQL here: apt-get install --no-install-recommends postgresql")
    return found[-1].parent


class Postgres:
    """A PostgreSQL server of one's own, on loopback, with passwords (SCRAM) and all that makes commits durable.

    Parameters
    ----------
    folder : Path, optional
        Where its data and log are, which the user postgres can reach if we are root; data that are there are kept. By
        default a temporary folder, which `close` removes.
    port : int, optional
        Where it listens; by default a free port, which it keeps over restarts.
    settings : mapping, optional
        Settings of the server besides those of the tests.
    """

    def __init__(
        self, folder: Path | None = None, *, port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="krishiv-postgres-")) if folder is None else folder.absolute()
        self._chosen = port
        self._settings = {**_SETTINGS, **(settings or {})}
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        if not self._port:
            raise PostgresFailed("the server was not started")
        return self._port

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        return self._running().pid

    def dsn(self, database: str = "postgres", *, user: str = USER, password: str = PASSWORD, port: int = 0) -> str:
        """Return how to connect; `port` is another one than the server's own, as that of a proxy."""
        return f"postgresql://{user}:{password}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> Self:
        """Start it, and wait until it serves.

        Raises
        ------
        Unavailable
            Where PostgreSQL is not installed.
        PostgresFailed
            Where it does not start.
        """
        try:
            binaries = programs()
            if not self._port:
                (self._port,) = free_ports(1, self._chosen)
            if not (self._data / "PG_VERSION").exists():
                self._make_data(binaries)
            self._launch(binaries)
            self._wait(binaries)
        except BaseException:
            self.close()
            raise
        return self

    def kill(self) -> None:
        """Kill it with SIGKILL, its workers too; data stay as a crash leaves them."""
        if self._process is not None:
            kill_all(self._process.pid)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Stop it in order, as an administrator would, who waits for nobody: clients are told and cut off."""
        if self._process is not None:
            end(self._process, signal.SIGINT)
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze all of it with SIGSTOP: connections stay open, and nothing answers."""
        for process in (self._running().pid, *_children(self._running().pid)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        for process in (self._running().pid, *_children(self._running().pid)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def new_database(self) -> str:
        """Make a database with a name of its own, and return how to connect to it."""
        import psycopg

        name = f"d_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.dsn(name)

    def close(self) -> None:
        """End it at once; with a temporary folder, what was stored is gone."""
        if self._process is not None:
            end(self._process, signal.SIGQUIT)  # it ends its workers, without writing anything more
            self._process = None
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- the processes

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make_data(self, binaries: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(mode=0o700)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        account = _account()
        if account is not None:
            os.chown(self._data, account.pw_uid, account.pw_gid)
            os.chown(password, account.pw_uid, account.pw_gid)
            self.folder.chmod(0o711)  # it is ours, and the server has to pass through it
        words = [str(binaries / "initdb"), "--pgdata", str(self._data), "--username", USER, "--pwfile", str(password)]
        words += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run([*_as_other(), *words], capture_output=True, check=False, timeout=_PATIENCE, cwd="/")
        if done.returncode:
            raise PostgresFailed(f"initdb: {done.stderr.decode(errors='replace')[-2000:]}")

    def _launch(self, binaries: Path) -> None:
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        places = ["-c", "unix_socket_directories=", "-p", str(self.port), "-D", str(self._data)]
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*_as_other(), *dies_with_parent(), str(binaries / "postgres"), *places, *settings],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,  # an interrupt of the terminal is for the tests, which end their server
            )

    def _wait(self, binaries: Path) -> None:
        ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run(ready, check=False, timeout=_PATIENCE).returncode:
            code = self._running().poll()
            if code is not None:
                self._process = None
                raise PostgresFailed(f"it ended with {code}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise PostgresFailed(f"it did not serve in {_PATIENCE:.0f} s: {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PostgresFailed("the server does not run")
        return self._process


def kill_all(server: int) -> None:
    """Kill a server, by the id of its main process, and its workers, and wait until they are gone."""
    workers = _children(server)
    # Workers notice the death of their parent, and end; this one does not wait for that.
    for process in (server, *workers):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(_runs(process) for process in (server, *workers)):
        if time.monotonic() > deadline:
            raise PostgresFailed(f"processes of server {server} outlive it")
        time.sleep(0.01)


def _account() -> pwd.struct_passwd | None:
    """Return who runs the server where we are root, which PostgreSQL refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise Unavailable("PostgreSQL does not run as root, and there is no user postgres or nobody here")


def _as_other() -> list[str]:
    """Return what to write before a command so that it does not run as root."""
    account = _account()
    if account is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Unavailable("PostgreSQL does not run as root, and there is no setpriv (package util-linux) here")
    return [setpriv, "--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in re.findall(r"\d+", task.read_text())]
    return found


def _runs(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def main() -> None:
    """Run a server until it is interrupted."""
    parser = argparse.ArgumentParser(description="A PostgreSQL server on this machine, for tests.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    try:
        with Postgres(given.folder, port=given.port) as server:
            ends = {signal.SIGINT, signal.SIGTERM}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)
            print(server.dsn(), flush=True)
            signal.sigwait(ends)
    except (Unavailable, PostgresFailed) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
