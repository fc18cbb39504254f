"""Servers that connectors talk to: how the suite starts them, shares them among cases, and kills them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from krishiv_conformance._errors import ServerFailed, ServerMissing

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CommandServer", "RunningServer", "Server", "Servers"]

_PATIENCE = 120.0
"""Seconds that a start or a kill may take."""


class Server(ABC):
    """How a server is started and killed. Two that are equal are one: a source and a sink of one system share it.

    Both methods are called from any thread, and for several folders at the same time.
    """

    @abstractmethod
    def start(self, folder: Path) -> str:
        """Start a server that keeps its data in `folder`, and return its address once it serves.

        Called again after `kill` with the same folder: it comes back with its data, at the same address.

        Raises
        ------
        ServerMissing
            If there is none on this machine.
        ServerFailed
            If it did not start.
        """

    @abstractmethod
    def kill(self, folder: Path) -> None:
        """End the server of `folder` with SIGKILL, and return when it is gone; one that does not run is left so."""


@dataclass(frozen=True)
class CommandServer(Server):
    """A server that a command of the user's starts and kills.

    ``COMMAND start FOLDER`` prints the address as its last line and leaves the server running; ``COMMAND kill FOLDER``
    ends it with SIGKILL. Both exit with 0 if they succeeded.

    Parameters
    ----------
    variable : str
        The environment variable that holds COMMAND.
    what : str
        What it starts: ``"a Kafka broker"``.
    """

    variable: str
    what: str

    def start(self, folder: Path) -> str:
        """Run the command to start it."""
        said = self._run("start", folder).strip()
        if not said:
            raise ServerFailed(f"{self.variable} printed no address of {self.what}", hint="see docs/certify.md")
        return said.splitlines()[-1].strip()

    def kill(self, folder: Path) -> None:
        """Run the command to kill it."""
        self._run("kill", folder)

    def _run(self, verb: str, folder: Path) -> str:
        command = self._command()
        # Into files: a server that keeps its starter's output open would never let a pipe end.
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
            try:
                done = subprocess.run(
                    [*command, verb, str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=errors,
                    check=False,
                    timeout=_PATIENCE,
                )
            except subprocess.TimeoutExpired:
                raise self._failed(verb, f"it took longer than {_PATIENCE:g} s") from None
            said.seek(0)
            errors.seek(0)
            if done.returncode:
                raise self._failed(verb, f"{errors.read()[-1000:].strip() or said.read()[-1000:].strip()}")
            return said.read()

    def _command(self) -> list[str]:
        command = shlex.split(os.environ.get(self.variable, ""))
        if not command:
            raise ServerMissing(
                f"{self.what} is needed, and {self.variable} names no command that starts one",
                hint=f"make certify sets {self.variable}; docs/certify.md says what the command has to do",
            )
        if shutil.which(command[0]) is None:
            raise ServerMissing(f"{self.variable} names {command[0]!r}, which is no command", hint="mend its path")
        return command

    def _failed(self, verb: str, why: str) -> ServerFailed:
        return ServerFailed(
            f"{self.what} did not {verb}: {why}", hint=f"run what {self.variable} says by hand, with '{verb} FOLDER'"
        )


class RunningServer:
    """A server that was started; as a context manager it is killed on leaving, and its data are removed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._folder = Path(tempfile.mkdtemp(prefix="krishiv-server-"))
        try:
            self.address = server.start(self._folder)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def kill(self) -> None:
        """Kill it; its data stay."""
        self._server.kill(self._folder)

    def start(self) -> None:
        """Start it again.

        Raises
        ------
        ServerFailed
            If it does not start, or not at the same address.
        """
        address = self._server.start(self._folder)
        if address != self.address:
            raise ServerFailed(
                f"the server was at {self.address}, was killed, and came back at {address}",
                hint="keep its address in its folder",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.kill()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


class Servers:
    """The servers that cases share, each started when it is first asked for; on leaving they are killed."""

    def __init__(self) -> None:
        self._shared: dict[Server, RunningServer] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def shared(self, server: Server) -> RunningServer:
        """Return the one of `server`.

        Raises
        ------
        ServerMissing, ServerFailed
        """
        with self._lock:
            if server not in self._shared:
                self._shared[server] = self._stack.enter_context(RunningServer(server))
            return self._shared[server]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
