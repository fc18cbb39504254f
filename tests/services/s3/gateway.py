"""One S3 server on this machine, which a test may stop, kill, pause and start again; and by hand:

python tests/services/s3/gateway.py DIR [--port PORT]

Objects are in the memory of the storage daemon: they outlive the gateway, which is what serves S3, and end with it.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.services.processes import dies_with_parent, end, free_ports
from tests.services.s3.settings import Ports, write_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["ACCESS_KEY", "SECRET_KEY", "Gateway", "GatewayFailed", "Unavailable"]

ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
_PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw", "radosgw-admin")
_PACKAGES = "ceph-mon ceph-osd ceph-common radosgw"
_PATIENCE = 60.0  # seconds for a start on a busy machine


class Unavailable(Exception):
    """An S3 server cannot be had here, and why."""


class GatewayFailed(Exception):
    """The S3 server did not start."""


class Gateway:
    """An S3 server of one's own, on loopback.

    Parameters
    ----------
    folder : Path, optional
        Where its settings and logs are; by default a temporary folder, which `close` removes.
    port : int, optional
        Where it listens; by default a free port, which it keeps over restarts.
    """

    def __init__(self, folder: Path | None = None, *, port: int | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="krishiv-s3-")) if folder is None else folder.absolute()
        self._port = port
        self._ports: Ports | None = None
        self._storage: list[subprocess.Popen[bytes]] = []
        self._gateway: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:port``."""
        if self._ports is None:
            raise GatewayFailed("the server was not started")
        return f"http://127.0.0.1:{self._ports.client}"

    @property
    def pid(self) -> int:
        """The id of the gateway's process."""
        return self._running().pid

    def options(self) -> dict[str, str]:
        """Return what an S3 client needs, under the names of obstore, deltalake and polars."""
        return {
            "aws_endpoint": self.endpoint,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
            "aws_virtual_hosted_style_request": "false",
        }

    def start(self) -> Self:
        """Start all of it, and wait until it serves.

        Raises
        ------
        Unavailable
            Where Ceph is not installed.
        GatewayFailed
            Where it does not start.
        """
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise Unavailable(f"no {', '.join(missing)} here: apt-get install --no-install-recommends {_PACKAGES}")
        ports = free_ports(3, self._port)
        self._ports = Ports(*ports)
        fsid = write_settings(self.folder, self._ports)
        try:
            self._start_storage(fsid)
            user = ("user", "create", "--uid=test", "--display-name=test")
            self._run("radosgw-admin", *user, f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}")
            self.start_gateway()
        except BaseException:
            self.close()
            raise
        return self

    def start_gateway(self) -> None:
        """Start what serves S3, over the objects that are there."""
        self._gateway = self._launch("radosgw", "-n", "client.rgw")
        self._wait(self._serves, "it did not serve")

    def kill(self) -> None:
        """Kill the gateway with SIGKILL; objects stay."""
        if self._gateway is not None:
            end(self._gateway, signal.SIGKILL)
            self._gateway = None

    def restart(self) -> None:
        """Kill the gateway and start it again."""
        self.kill()
        self.start_gateway()

    def pause(self) -> None:
        """Freeze the gateway with SIGSTOP: connections stay open, and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def new_bucket(self) -> str:
        """Make a bucket with a name of its own, and return the name."""
        from botocore.session import Session

        name = f"b-{uuid.uuid4().hex[:12]}"
        client = Session().create_client(
            "s3",
            "us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )
        client.create_bucket(Bucket=name)
        client.close()
        return name

    def close(self) -> None:
        """Kill all of it: what was stored is gone."""
        self.kill()
        for process in reversed(self._storage):
            end(process, signal.SIGKILL)
        self._storage.clear()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---------------------------------------------------------------- the daemons

    def _start_storage(self, fsid: str) -> None:
        assert self._ports is not None
        place, monitors = f"[v2:127.0.0.1:{self._ports.monitor}]", str(self.folder / "monmap")
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", place, monitors)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, *_AS_ROOT)
        self._storage.append(self._launch("ceph-mon", "-i", "a"))
        number = str(uuid.uuid4())
        self._run("ceph", "osd", "new", number)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", number, *_AS_ROOT)
        self._run("ceph", "osd", "crush", "add", "0", "1.0", "root=default", "host=localhost")
        self._storage.append(self._launch("ceph-osd", "-i", "0"))
        self._wait(lambda: "1 up" in self._run("ceph", "osd", "stat"), "its storage did not come up")

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / "out").open("ab") as output:
            return subprocess.Popen(
                [*dies_with_parent(), program, *self._settings, *arguments, *_AS_ROOT, "-f"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # an interrupt of the terminal is for the tests, which end their server
            )

    def _run(self, program: str, *arguments: str) -> str:
        command = [program, *(() if program == "monmaptool" else self._settings), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE, cwd=self.folder)
        if done.returncode:
            raise GatewayFailed(f"{' '.join(command)}: {done.stderr[-2000:]}")
        return done.stdout

    @property
    def _settings(self) -> tuple[str, str]:
        return "-c", str(self.folder / "ceph.conf")

    def _wait(self, ready: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not ready():
            for process in (*self._storage, *([self._gateway] if self._gateway else [])):
                if process.poll() is not None:
                    raise GatewayFailed(f"a daemon ended with {process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise GatewayFailed(f"{otherwise} in {_PATIENCE:.0f} s: {self._last_words()}")
            time.sleep(0.05)

    def _serves(self) -> bool:
        assert self._ports is not None
        connection = http.client.HTTPConnection("127.0.0.1", self._ports.client, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def _last_words(self) -> str:
        return (self.folder / "log" / "out").read_text(errors="replace")[-4000:]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._gateway is None:
            raise GatewayFailed("the gateway does not run")
        return self._gateway


_AS_ROOT = ("--setuser", "root", "--setgroup", "root")


def main() -> None:
    """Run a server until it is interrupted."""
    parser = argparse.ArgumentParser(description="An S3 server on this machine, for tests.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    try:
        with Gateway(given.folder, port=given.port) as gateway:
            print(gateway.endpoint, ACCESS_KEY, SECRET_KEY, flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except (Unavailable, GatewayFailed) as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
