"""Server processes of tests: ports that nobody has, processes that end with whoever started them."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from random import SystemRandom

__all__ = ["dies_with_parent", "end", "free_ports", "is_free"]

# Below the range that the kernel takes for outgoing connections: nobody gets the port of a server that is down.
_PORTS = range(20_000, 32_000)


def free_ports(count: int, first: int | None = None) -> list[int]:
    """Choose ports that nobody listens on; `first` is the one chosen by the caller, if any."""
    chosen = [first] if first else []
    while len(chosen) < count:
        port = SystemRandom().choice(_PORTS)
        if port not in chosen and is_free(port):
            chosen.append(port)
    return chosen


def is_free(port: int) -> bool:
    """Return whether nobody listens on a loopback port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def dies_with_parent() -> list[str]:
    """Return what to write before a command so that it is killed when the thread that started it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM, patience: float = 20.0) -> None:
    """End the process and wait for it, by force when it takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
