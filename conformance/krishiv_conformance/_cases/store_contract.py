"""What must hold of a checkpoint store by itself: creates that are conditional, writers that publish whole blobs."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from krishiv_checkpoint import KeyExists, KeyMissing
from krishiv_conformance._case import Case, expect
from krishiv_conformance._errors import CaseFailed
from krishiv_conformance._job import JOB, STORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_checkpoint import CheckpointStore
    from krishiv_conformance._case import Ground

__all__ = ["contract_cases"]

_RACERS, _RACES = 6, 20
_LARGE = 300_000
"""Bytes; stores may treat large blobs otherwise than small ones."""
_IN_PARTS = 17_000_000
"""Bytes of which a store sends some before the last are written, if it ever does."""


def contract_cases() -> list[Case]:
    """Return the contract cases of a checkpoint store."""
    return [_case(check) for check in _CHECKS]


def _case(check: Callable[[Ground], None]) -> Case:
    about = (check.__doc__ or "").strip().splitlines()[0]
    return Case(name=f"store/contract/{check.__name__.replace('_', '-')}", about=about, check=check)


def _store(ground: Ground) -> CheckpointStore:
    """Return a fresh object, as another process would have."""
    return ground.store.make(ground.workdir / STORE, JOB)


def _expect_blob(ground: Ground, key: str, data: bytes) -> None:
    found = bytes(_store(ground).get(key))
    expect(found == data, f"{key} holds {len(found)} bytes that are not the {len(data)} bytes written")


def what_was_created_is_there_for_others(ground: Ground) -> None:
    """After `create` returns, a fresh object finds the key and exactly its bytes."""
    for key, data in (("log/1.json", b"{}"), ("log/empty", b""), ("state/1-1/large", ground.random.randbytes(_LARGE))):
        _store(ground).create(key, data)
        _expect_blob(ground, key, data)
        listed = _store(ground).list(key)
        expect(listed == [key], f"{key} was created, list gives {listed}")


def create_never_replaces(ground: Ground) -> None:
    """Creating a key that is taken raises `KeyExists`, and the first bytes stay."""
    _store(ground).create("log/1", b"first")
    for store in (_store(ground), _store(ground)):
        try:
            store.create("log/1", b"second")
        except KeyExists:
            continue
        raise CaseFailed("a key was created twice")
    _expect_blob(ground, "log/1", b"first")


def racing_creates_have_one_winner(ground: Ground) -> None:
    """Of several that create one key at once exactly one succeeds, and its bytes are there."""
    for race in range(_RACES):
        winners: list[int] = []
        barrier = threading.Barrier(_RACERS)
        threads = [
            threading.Thread(target=_race, args=(_store(ground), f"log/{race}", number, barrier, winners))
            for number in range(_RACERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(len(winners) == 1, f"{len(winners)} of {_RACERS} racing creates succeeded")
        _expect_blob(ground, f"log/{race}", _entry(winners[0]))


def _race(store: CheckpointStore, key: str, number: int, barrier: threading.Barrier, winners: list[int]) -> None:
    barrier.wait()
    try:
        store.create(key, _entry(number))
    except KeyExists:
        return
    winners.append(number)


def _entry(number: int) -> bytes:
    return f"entry of racer {number} ".encode() * 200


def a_writer_publishes_when_it_finishes(ground: Ground) -> None:
    """A blob that is being written has no key; finished it is whole, with the right size and digest."""
    for key, size, final in (
        ("state/1-1/a", _LARGE, False),
        ("state/1-2/a", 0, True),
        ("state/1-3/a", _IN_PARTS, True),
    ):
        data = ground.random.randbytes(size)
        with _store(ground).writer(key, final=final) as writer:
            for start in range(0, size, 7_000):
                writer.write(memoryview(data)[start : start + 7_000])
            expect(_store(ground).list(key) == [], "a blob that is not finished is listed")
            file = writer.finish()
        found = (file.key, file.size, file.sha256)
        wanted = (key, size, hashlib.sha256(data).hexdigest())
        expect(found == wanted, f"the writer says {found} of {wanted}")
        _expect_blob(ground, key, data)


def a_writer_may_learn_its_key_at_the_end(ground: Ground) -> None:
    """`finish(key)` publishes under that key, and nothing under the one it was opened with."""
    with _store(ground).writer("staged/sink/1-0-0.arrow") as writer:
        writer.write(b"rows")
        file = writer.finish("staged/sink/1-7-0.arrow")
    listed = _store(ground).list("staged/")
    expect(listed == ["staged/sink/1-7-0.arrow"], f"the keys are {listed}")
    expect(file.key == "staged/sink/1-7-0.arrow", f"the writer says that its key is {file.key}")
    _expect_blob(ground, file.key, b"rows")


def a_writer_that_is_left_leaves_nothing(ground: Ground) -> None:
    """Leaving the block without `finish`, by an error too, publishes nothing."""
    for size, final in ((4, False), (4, True), (_IN_PARTS, True)):
        with _store(ground).writer("state/1-1/left", final=final) as writer:
            writer.write(bytes(size))
        try:
            with _store(ground).writer("state/1-1/failed", final=final) as writer:
                writer.write(bytes(size))
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    listed = _store(ground).list("")
    expect(listed == [], f"nothing was finished, list gives {listed}")


def keys_are_listed_by_prefix_in_order(ground: Ground) -> None:
    """`list` gives exactly the keys that begin with the prefix, sorted."""
    keys = ["log/00010", "log/00002", "log/00002x", "state/1-1/a", "state/1-10/a", "state/1-1/b"]
    for key in keys:
        _store(ground).create(key, key.encode())
    for prefix in ("", "log/", "log/00002", "state/1-1/", "state/1-1", "nothing/"):
        wanted = sorted(key for key in keys if key.startswith(prefix))
        listed = _store(ground).list(prefix)
        expect(listed == wanted, f"list({prefix!r}) gives {listed}, not {wanted}")


def deleted_keys_are_gone(ground: Ground) -> None:
    """A deleted key is gone for others and free again; deleting a missing one is no error."""
    for key in ("log/1", "log/2"):
        _store(ground).create(key, b"old")
    _store(ground).delete("log/1")
    _store(ground).delete("log/1")
    listed = _store(ground).list("log/")
    expect(listed == ["log/2"], f"one of two keys was deleted, list gives {listed}")
    _store(ground).create("log/1", b"new")
    _expect_blob(ground, "log/1", b"new")


def missing_keys_are_named_errors(ground: Ground) -> None:
    """Reading a key that is not there raises `KeyMissing`."""
    _store(ground).create("log/1", b"1")
    for key in ("log/2", "state/1-1/a"):
        try:
            found = _store(ground).get(key)
        except KeyMissing:
            continue
        raise CaseFailed(f"{key} is not there, and yet get gave {len(found)} bytes")


_CHECKS: tuple[Callable[[Ground], None], ...] = (
    what_was_created_is_there_for_others,
    create_never_replaces,
    racing_creates_have_one_winner,
    a_writer_publishes_when_it_finishes,
    a_writer_may_learn_its_key_at_the_end,
    a_writer_that_is_left_leaves_nothing,
    keys_are_listed_by_prefix_in_order,
    deleted_keys_are_gone,
    missing_keys_are_named_errors,
)
