"""Blocks come back as they went in, from memory and from RocksDB, and RocksDB keeps to its budget."""

import pyarrow as pa
import pytest

from krishiv_stream._engine.state.blocks import MemoryBlocks, RocksBlocks


def batch(first: int, rows: int = 100) -> pa.RecordBatch:
    return pa.record_batch({"x": list(range(first, first + rows)), "s": [f"v{n}" for n in range(rows)]})


@pytest.fixture(params=["memory", "rocksdb in budget", "rocksdb over budget"])
def blocks(request, tmp_path):
    match request.param:
        case "memory":
            store = MemoryBlocks()
        case "rocksdb in budget":
            store = RocksBlocks(tmp_path / "state", 1 << 20)
        case _:
            store = RocksBlocks(tmp_path / "state", 2_000)
    yield store
    store.close()


def test_blocks_give_back_what_was_put(blocks):
    numbers = [blocks.put(batch(n * 100)) for n in range(10)]
    for n, number in enumerate(numbers):
        assert blocks.get(number).equals(batch(n * 100))


def test_blocks_forget_what_was_dropped(blocks):
    first, second = blocks.put(batch(0)), blocks.put(batch(100))
    blocks.drop(first)
    with pytest.raises(KeyError):
        blocks.get(first)
    assert blocks.get(second).equals(batch(100))


def test_blocks_count_the_bytes_in_memory(blocks):
    numbers = [blocks.put(batch(n)) for n in range(5)]
    for number in numbers:
        blocks.drop(number)
    assert blocks.memory_bytes == 0


def test_rocksdb_keeps_no_more_than_its_budget_in_memory(tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 3 * batch(0).nbytes)
    for n in range(20):
        blocks.put(batch(n))
    assert blocks.memory_bytes <= 3 * batch(0).nbytes
    assert blocks.spilled_blocks == 17
    blocks.close()
    assert not (tmp_path / "state").exists()
