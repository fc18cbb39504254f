"""Writes blobs into a checkpoint store until it is killed: ``python -m krishiv_conformance._hammer PLACE DIR WHO``.

Prints the key of each blob after the store said that it is durable. What a blob holds follows from its key and from
who wrote it, so that any torn or mixed one shows.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_checkpoint import KeyExists
from krishiv_conformance._harness import harness_at
from krishiv_conformance._job import JOB
from krishiv_conformance._processes import die_with_parent

if TYPE_CHECKING:
    from krishiv_checkpoint import CheckpointStore

__all__ = ["blob", "main"]


def main() -> None:
    """Hammer for ever."""
    die_with_parent()
    place, folder, who = sys.argv[1:]
    store: CheckpointStore = harness_at(place).make(Path(folder), JOB)
    print("started", flush=True)
    for number in itertools.count():
        _create(store, f"log/{number:06d}", who)
        _write(store, f"state/{who}/{number:06d}", who)


def blob(key: str, who: str) -> bytes:
    """Return what `who` writes under `key`: up to 200 kB."""
    seed = hashlib.sha256(f"{key} {who}".encode()).hexdigest().encode()
    return who.encode() + b"\n" + seed * (int(seed[:4], 16) % 3_000)


def _create(store: CheckpointStore, key: str, who: str) -> None:
    try:
        store.create(key, blob(key, who))
    except KeyExists:
        return
    print(key, flush=True)


def _write(store: CheckpointStore, key: str, who: str) -> None:
    data = blob(key, who)
    with store.writer(key, final=len(data) % 2 == 0) as writer:
        for start in range(0, len(data), 10_000):
            writer.write(memoryview(data)[start : start + 10_000])
        writer.finish()
    print(key, flush=True)


if __name__ == "__main__":
    main()
