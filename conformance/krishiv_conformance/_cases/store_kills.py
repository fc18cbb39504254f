"""A checkpoint store under writers that are killed: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

from krishiv_conformance._case import Case, expect
from krishiv_conformance._hammer import blob
from krishiv_conformance._harness import place_of
from krishiv_conformance._job import JOB, STORE
from krishiv_conformance._processes import child_command, child_environment

if TYPE_CHECKING:
    from krishiv_conformance._case import Ground

__all__ = ["hammer_cases"]

ROUNDS = 3
WRITERS = ("red", "blue")


def hammer_cases() -> list[Case]:
    """Return the cases of a store that is hammered."""
    about = "Two processes write and race for keys, and are killed at drawn moments; every acknowledged blob is whole."
    return [Case(name=f"store/hammer/kills-{number}", about=about, check=_check) for number in (1, 2)]


def _check(ground: Ground) -> None:
    for _ in range(ROUNDS):
        acknowledged: dict[str, str] = {}
        hammers = [_Hammer(ground, who) for who in WRITERS]
        try:
            for hammer in hammers:
                hammer.started.wait()
            for hammer in hammers:
                hammer.kill_after(ground.random.uniform(0.05, 0.3))
                ground.kills += 1
        finally:
            for hammer in hammers:
                hammer.close()
        for hammer in hammers:
            for key in hammer.acknowledged:
                expect(key not in acknowledged, f"{key} was created twice: {acknowledged.get(key)}, {hammer.who}")
                acknowledged[key] = hammer.who
        _expect_whole(ground, acknowledged)
        _empty(ground)


def _expect_whole(ground: Ground, acknowledged: dict[str, str]) -> None:
    store = ground.store.make(ground.workdir / STORE, JOB)
    keys = store.list("")
    missing = sorted(acknowledged.keys() - set(keys))
    expect(not missing, f"{len(missing)} blobs were acknowledged and are not there, the first is {missing[:1]}")
    for key in keys:
        data = bytes(store.get(key))
        who = data.partition(b"\n")[0].decode(errors="replace")
        expect(who in WRITERS and data == blob(key, who), f"{key} is torn: it holds {len(data)} bytes of {who[:10]!r}")
        expect(acknowledged.get(key, who) == who, f"{key} was acknowledged to {acknowledged.get(key)}, {who} wrote it")


def _empty(ground: Ground) -> None:
    """Delete every key, so that the next round may create them again."""
    store = ground.store.make(ground.workdir / STORE, JOB)
    for key in store.list(""):
        store.delete(key)
    left = store.list("")
    expect(left == [], f"every key was deleted, and {left[:3]} are still there")


class _Hammer:
    """One process that writes."""

    def __init__(self, ground: Ground, who: str) -> None:
        self.who = who
        self.acknowledged: list[str] = []
        self.started = threading.Event()
        self._process = subprocess.Popen(
            child_command("_hammer", place_of(ground.store), str(ground.workdir / STORE), who),
            env=child_environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def kill_after(self, seconds: float) -> None:
        """Kill it in a moment; it has to live until then."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        else:
            expect(False, f"a process that only writes blobs ended with status {code}")

    def close(self) -> None:
        """End it, and read what it said last."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line == "started\n":
                self.started.set()
            elif line.endswith("\n"):
                self.acknowledged.append(line.strip())
        self.started.set()
