"""State as Arrow IPC in a store: batches come back as they were, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_checkpoint import (
    CheckpointStore,
    CorruptState,
    FilesystemStore,
    MemoryStore,
    StateFile,
    StoreFull,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema([("key", pa.int64()), ("name", pa.string()), ("at", pa.timestamp("us", "UTC"))])


def batch(*rows: tuple[int | None, str | None]) -> pa.RecordBatch:
    keys, names = zip(*rows, strict=True) if rows else ((), ())
    return pa.record_batch(
        [pa.array(keys, pa.int64()), pa.array(names, pa.string()), pa.array(keys, pa.timestamp("us", "UTC"))],
        schema=SCHEMA,
    )


ROWS = st.lists(st.tuples(st.none() | st.integers(0, 2**40), st.none() | st.text(max_size=5)), max_size=5)


@given(st.lists(ROWS, max_size=4), st.sampled_from([None, "lz4", "zstd"]))
def test_batches_come_back_with_their_boundaries(rows: list, compression: str | None) -> None:
    store = MemoryStore()
    batches = [batch(*part) for part in rows]
    file = write_state(store, "state/1-1/a", batches, schema=SCHEMA, compression=compression)
    back = read_state(store, file)
    assert back == batches
    assert file.size == len(store.get("state/1-1/a"))


def test_batches_of_differing_dictionaries_come_back(store: CheckpointStore) -> None:
    """Keys are often dictionaries, and each batch has its own."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", "b"]))
    other = pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array(["x", "y"]))
    batches = [pa.record_batch([array], names=["k"]) for array in (column, other)]
    back = read_state(store, write_state(store, "state/1-1/a", batches))
    assert [b.column(0).to_pylist() for b in back] == [["a", "b", "a"], ["y", "x"]]


def test_no_batches_need_a_schema(store: CheckpointStore) -> None:
    with pytest.raises(ValueError, match="schema="):
        write_state(store, "state/1-1/a", [])
    assert read_state(store, write_state(store, "state/1-1/a", [], schema=SCHEMA)) == []


def test_restored_batches_point_into_the_mapped_file(tmp_path: Path) -> None:
    """Nothing is copied: Arrow allocates next to nothing for a large file."""
    store = FilesystemStore(tmp_path)
    table = pa.table({"a": pa.array(range(200_000), pa.int64())})
    file = write_state(store, "state/1-1/a", table.to_batches())
    before = pa.total_allocated_bytes()
    back = read_state(store, file)
    assert pa.total_allocated_bytes() - before < 100_000
    assert pa.Table.from_batches(back) == table


def test_restored_batches_outlive_their_file(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    table = pa.table({"a": pa.array(range(50_000), pa.int64())})
    back = read_state(store, write_state(store, "state/1-1/a", table.to_batches()))
    store.delete("state/1-1/a")
    assert pa.Table.from_batches(back) == table


@pytest.mark.parametrize("rows", [3, 50_000])
def test_a_flip_anywhere_in_a_state_file_is_found(store: CheckpointStore, rows: int) -> None:
    """P12: at the start, in the schema, in the buffers, in the padding, at the end."""
    file = write_state(store, "state/1-1/a", [batch(*((n, "x") for n in range(rows)))])
    sound = bytes(store.get("state/1-1/a"))
    for position in (0, 4, 50, 200, len(sound) // 2, len(sound) - 9, len(sound) - 1):
        damaged = bytearray(sound)
        damaged[position] ^= 0x10
        store.delete("state/1-1/a")
        store.create("state/1-1/a", bytes(damaged))
        with pytest.raises(CorruptState):
            read_state(store, file)


def test_a_truncated_state_file_is_found(store: CheckpointStore) -> None:
    """P12."""
    file = write_state(store, "state/1-1/a", [batch((1, "a"))])
    sound = bytes(store.get("state/1-1/a"))
    store.delete("state/1-1/a")
    store.create("state/1-1/a", sound[:-8])
    with pytest.raises(CorruptState, match="bytes, not the"):
        read_state(store, file)
    assert StateFile(file.key, file.sha256, file.size) == file


@pytest.mark.server("tmpfs")
def test_a_full_disk_leaves_no_half_state_file(small_disk: Path) -> None:
    store = FilesystemStore(small_disk / "job")
    table = pa.table({"a": pa.array(range(500_000), pa.int64())})
    with pytest.raises(StoreFull):
        write_state(store, "state/1-1/a", table.to_batches(max_chunksize=1_000))
    assert store.list("") == []
    assert [path for path in (small_disk / "job").rglob("*") if path.is_file()] == []
