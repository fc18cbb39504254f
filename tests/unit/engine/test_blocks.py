"""Blocks come back as they went in, from memory and from RocksDB, and RocksDB keeps to its budget."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from krishiv_stream._engine.elements import size_of
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
    blocks = RocksBlocks(tmp_path / "state", 3 * size_of(batch(0)))
    for n in range(20):
        blocks.put(batch(n))
    assert blocks.memory_bytes <= 3 * size_of(batch(0))
    assert blocks.spilled_blocks == 17
    blocks.close()
    assert not (tmp_path / "state").exists()


def held(blocks, *numbers):
    return blocks.hold(numbers)


def test_held_blocks_can_be_read_after_they_were_dropped(blocks):
    numbers = [blocks.put(batch(n * 100)) for n in range(6)]
    holding = held(blocks, *numbers[:3])
    for number in numbers:
        blocks.drop(number)
    assert [part.equals(batch(n * 100)) for n, part in enumerate(holding)] == [True] * 3
    holding.release()
    assert blocks.memory_bytes == 0
    with pytest.raises(KeyError):
        blocks.get(numbers[0])


def test_blocks_held_twice_stay_until_both_have_released_them(tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 0)
    number = blocks.put(batch(1))
    first, second = held(blocks, number), held(blocks, number)
    blocks.drop(number)
    first.release()
    assert [part.num_rows for part in second] == [100]
    second.release()
    assert blocks.spilled_blocks == 0
    blocks.close()


def test_holding_blocks_on_disk_brings_none_of_them_into_memory(tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 0)
    holding = held(blocks, *[blocks.put(batch(n)) for n in range(5)])
    before = pa.total_allocated_bytes()
    assert blocks.memory_bytes == 0
    assert pa.total_allocated_bytes() == before
    assert sum(part.num_rows for part in holding) == 500
    holding.release()
    blocks.close()


def test_blocks_may_be_closed_while_they_are_held_and_closed_again(tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 0)
    holding = held(blocks, blocks.put(batch(1)))
    blocks.close()
    blocks.close()
    with pytest.raises(KeyError):
        list(holding)
    holding.release()
    assert not (tmp_path / "state").exists()


def test_blocks_are_read_by_one_thread_while_another_puts_spills_and_drops(tmp_path):
    """The task's thread goes on while the snapshot thread writes what it was given at the barrier."""
    blocks = RocksBlocks(tmp_path / "state", 20 * batch(0).nbytes)
    wrong: list[int] = []

    def check(holding, expected):
        wrong.extend(n for n, part in zip(expected, holding, strict=True) if not part.equals(batch(n)))
        holding.release()

    with ThreadPoolExecutor(1) as snapshots:
        for _ in range(20):
            firsts = list(range(0, 4_000, 100))
            numbers = [blocks.put(batch(n)) for n in firsts]
            snapshots.submit(check, blocks.hold(numbers), firsts).add_done_callback(lambda done: done.result())
            for number in numbers:
                blocks.drop(number)
    assert wrong == []
    assert (blocks.memory_bytes, blocks.spilled_blocks) == (0, 0)
    blocks.close()
