"""The broker's processes: shared by a run, started by hand, never left behind, and absent where they cannot be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.kafka import broker as script
from tests.services.kafka.broker import Unavailable
from tests.services.kafka.install import installation
from tests.services.kafka.probe import cluster_at
from tests.services.kafka.security import Security
from tests.services.kafka.shared import attach

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 30.0  # seconds
ROOT = Path(__file__).parents[3]
OWNER = """
import sys, time
from pathlib import Path
from tests.services.kafka.broker import Broker
print(Broker(Path(sys.argv[1])).start().bootstrap, flush=True)
time.sleep(600)
"""


@pytest.fixture
def run() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a test run."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def answers(bootstrap: str) -> bool:
    return cluster_at(int(bootstrap.split(":")[1]), Security("plaintext", Path("/"))) is not None


def is_silent_in_the_end(bootstrap: str) -> bool:
    deadline, moment = time.monotonic() + WAIT, threading.Event()
    while answers(bootstrap) and time.monotonic() < deadline:
        moment.wait(0.05)
    return not answers(bootstrap)


@pytest.mark.server("kafka")
def test_shared_broker_is_one_and_ends_with_its_run(tmp_path: Path, run: subprocess.Popen[bytes]) -> None:
    first, second = attach(tmp_path, run.pid), attach(tmp_path, run.pid)
    assert first == second
    assert answers(first.bootstrap)
    run.kill()
    assert is_silent_in_the_end(first.bootstrap)


@pytest.mark.server("kafka")
def test_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        bootstrap = owner.stdout.readline().strip()
        assert answers(bootstrap)
        owner.send_signal(signal.SIGKILL)
    assert is_silent_in_the_end(bootstrap)


@pytest.mark.server("kafka")
def test_broker_is_started_and_stopped_by_hand(tmp_path: Path) -> None:
    def by_hand(*arguments: str) -> str:
        command = [sys.executable, "-I", str(script.__file__), *arguments]
        return subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout.strip()

    bootstrap = by_hand("start", str(tmp_path))
    assert answers(bootstrap)
    by_hand("stop", str(tmp_path))
    assert not answers(bootstrap)
    assert list(tmp_path.glob("*.pid")) == []


def test_broker_is_unavailable_without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Unavailable, match="Java is not installed"):
        installation()


@pytest.mark.server("kafka")
def test_broker_is_unavailable_without_maven_at_the_first_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = installation().java
    monkeypatch.setenv("KRISHIV_SERVICES_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", os.path.dirname(java))
    with pytest.raises(Unavailable, match="Maven is not installed"):
        installation()
    assert list(tmp_path.glob("kafka-*")) == []
