"""What every store promises: conditional create, writers that publish at the end, keys that stay inside."""

from __future__ import annotations

import threading

import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    CorruptState,
    FilesystemStore,
    KeyExists,
    KeyMissing,
    MemoryStore,
    PrefixedStore,
    StateFile,
    read_verified,
)
from krishiv_guarantees import FailureDomain


def test_create_publishes_bytes_when_the_key_is_free(store: CheckpointStore) -> None:
    store.create("log/a", b"one")
    assert bytes(store.get("log/a")) == b"one"


def test_create_leaves_the_first_bytes_when_the_key_is_taken(store: CheckpointStore) -> None:
    """P9: entries are never overwritten."""
    store.create("log/a", b"one")
    with pytest.raises(KeyExists):
        store.create("log/a", b"two")
    assert bytes(store.get("log/a")) == b"one"


def test_create_has_one_winner_when_threads_race(store: CheckpointStore) -> None:
    """P9: of several racing creates exactly one succeeds."""
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        for key in range(20):
            try:
                store.create(f"log/{key}", str(number).encode())
                won.append(key)
            except KeyExists:
                pass

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(20))


def test_writer_shows_nothing_before_finish_and_all_of_it_after(store: CheckpointStore) -> None:
    with store.writer("state/1-1/a.arrow") as writer:
        assert writer.write(b"abc") == 3
        assert store.list("state/") == []
        writer.write(memoryview(b"defg"))
        file = writer.finish()
    assert bytes(store.get("state/1-1/a.arrow")) == b"abcdefg"
    assert file.size == 7
    assert file.sha256 == "7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a"


def test_writer_publishes_under_the_key_that_finish_is_given(store: CheckpointStore) -> None:
    with store.writer("staged/out/unknown") as writer:
        writer.write(b"abc")
        file = writer.finish("staged/out/1-7-0.arrow")
    assert file.key == "staged/out/1-7-0.arrow"
    assert store.list("") == ["staged/out/1-7-0.arrow"]


def test_writer_discards_what_was_not_finished(store: CheckpointStore) -> None:
    def fail_halfway() -> None:
        with store.writer("state/1-1/a.arrow") as writer:
            writer.write(b"abc")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert store.list("") == []


def test_writer_refuses_bytes_after_finish(store: CheckpointStore) -> None:
    with store.writer("state/1-1/a.arrow") as writer:
        writer.finish()
        with pytest.raises(ValueError, match=r"finished|closed"):
            writer.write(b"abc")
        with pytest.raises(ValueError, match=r"finished|closed"):
            writer.finish()
    assert bytes(store.get("state/1-1/a.arrow")) == b""


def test_get_names_the_key_when_it_is_missing(store: CheckpointStore) -> None:
    with pytest.raises(KeyMissing) as caught:
        store.get("state/1-1/a.arrow")
    assert caught.value.fields["key"] == "state/1-1/a.arrow"


def test_list_returns_sorted_keys_with_the_prefix_only(store: CheckpointStore) -> None:
    for key in ("state/1-2/b", "state/1-10/a", "staged/out/c", "state/1-1/a"):
        store.create(key, b"")
    assert store.list("state/1-1") == ["state/1-1/a", "state/1-10/a"]
    assert store.list("state/1-1/") == ["state/1-1/a"]
    assert store.list("state/1-1/a") == ["state/1-1/a"]
    assert store.list("log/") == []
    assert len(store.list("")) == 4


def test_delete_removes_a_key_and_forgives_a_missing_one(store: CheckpointStore) -> None:
    store.create("state/1-1/a", b"")
    store.delete("state/1-1/a")
    store.delete("state/1-1/a")
    assert store.list("") == []


@pytest.mark.parametrize("key", ["../a", "/etc/a", "a/../../b", "a//b", "", ".", "a/./b", "a\0b", "a/"])
def test_keys_that_leave_the_store_are_refused(store: CheckpointStore, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        store.create(key, b"")
    with pytest.raises(ValueError, match="is not a key"):
        store.get(key)
    with pytest.raises(ValueError, match="is not a key"):
        store.delete(key)
    with pytest.raises(ValueError, match="is not a key"), store.writer(key):
        pass
    assert store.list("") == []


def test_capabilities_say_what_each_store_outlives(tmp_path) -> None:
    memory, disk = MemoryStore().capabilities(), FilesystemStore(tmp_path).capabilities()
    assert (memory.durable, memory.survives) == (False, FailureDomain.TASK)
    assert (disk.durable, disk.conditional_create, disk.fencing) == (True, True, True)
    assert disk.survives is FailureDomain.HOST_RESTART


def test_read_verified_returns_the_bytes_when_they_are_the_recorded_ones(store: CheckpointStore) -> None:
    with store.writer("state/1-1/a") as writer:
        writer.write(b"x" * 200_000)
        file = writer.finish()
    assert bytes(read_verified(store, file)) == b"x" * 200_000


@pytest.mark.parametrize("size", [9, 200_000])
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_read_verified_refuses_a_flipped_byte_anywhere(store: CheckpointStore, size: int, where: float) -> None:
    """P12: a damaged state file is a hard error that names the safe way out."""
    with store.writer("state/1-1/a") as writer:
        writer.write(b"x" * size)
        file = writer.finish()
    damaged = bytearray(store.get("state/1-1/a"))
    damaged[min(int(where * size), size - 1)] ^= 1
    store.delete("state/1-1/a")
    store.create("state/1-1/a", bytes(damaged))
    with pytest.raises(CorruptState, match="differs from the digest") as caught:
        read_verified(store, file)
    assert "savepoint" in caught.value.hint


@pytest.mark.parametrize("data", [b"", b"xxxx", b"xxxxxx"])
def test_read_verified_refuses_another_size(store: CheckpointStore, data: bytes) -> None:
    """P12."""
    store.create("state/1-1/a", data)
    with pytest.raises(CorruptState, match=r"bytes, not the 5"):
        read_verified(store, StateFile("state/1-1/a", "0" * 64, 5))


def test_read_verified_refuses_a_missing_file(store: CheckpointStore) -> None:
    """P12: gone is as bad as damaged."""
    with pytest.raises(CorruptState, match="is missing"):
        read_verified(store, StateFile("state/1-1/a", "0" * 64, 5))


def test_prefixed_store_sees_and_names_only_its_part(store: CheckpointStore) -> None:
    part = PrefixedStore(store, "savepoints/a/")
    store.create("log/x", b"")
    part.create("one", b"1")
    with part.writer("two") as writer:
        writer.write(b"22")
        file = writer.finish()
    assert part.list("") == ["one", "two"]
    assert file.key == "two"
    assert bytes(store.get("savepoints/a/two")) == bytes(part.get("two"))
    part.delete("one")
    assert store.list("savepoints/") == ["savepoints/a/two"]
    assert part.capabilities() == store.capabilities()
