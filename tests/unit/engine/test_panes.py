"""Pane snapshots: each row is written once, failed epochs are written again, dropped panes are not restored."""

import pyarrow as pa
import pytest

from krishiv_checkpoint import MemoryStore, OperatorSnapshot
from krishiv_stream._engine.state.blocks import MemoryBlocks, RocksBlocks
from krishiv_stream._engine.state.panes import Panes


def batch(first: int, rows: int = 10) -> pa.RecordBatch:
    return pa.record_batch({"x": list(range(first, first + rows))})


def values(panes: Panes) -> dict[int, list[int]]:
    found = {pane: [x for part in panes.read(pane) for x in part["x"].to_pylist()] for pane in panes.starts()}
    return {pane: sorted(xs) for pane, xs in found.items()}


class Checkpoints:
    """Takes snapshots of panes into a store, and restores them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.written: list[int] = []

    def take(self, panes: Panes, epoch: int, completed: int) -> OperatorSnapshot:
        taken = panes.snapshot(epoch, completed)
        self.written.append(sum(part.num_rows for part in taken.batches))
        segments, files = taken.write(self.store, f"state/1-{epoch}/w-0-0.arrow")
        return OperatorSnapshot("w", 0, (0, 128), {"panes": panes.starts(), "segments": segments}, files)

    def take_lazily(self, panes: Panes, epoch: int) -> OperatorSnapshot:
        """Take a snapshot and look at no row of it before it is written."""
        segments, files = panes.snapshot(epoch, 0).write(self.store, f"state/1-{epoch}/w-0-0.arrow")
        return OperatorSnapshot("w", 0, (0, 128), {"panes": panes.starts(), "segments": segments}, files)

    def restore(self, snapshot: OperatorSnapshot, select=None) -> Panes:
        panes = Panes(MemoryBlocks())
        panes.restore(snapshot, self.store, select)
        return panes


@pytest.fixture
def panes() -> Panes:
    return Panes(MemoryBlocks())


@pytest.fixture
def checkpoints() -> Checkpoints:
    return Checkpoints()


def test_snapshot_restores_the_rows_of_every_pane(panes, checkpoints):
    panes.append(0, batch(0))
    panes.append(10, batch(100))
    restored = checkpoints.restore(checkpoints.take(panes, 1, 0))
    assert values(restored) == values(panes)
    assert restored.rows == 20


def test_snapshot_writes_each_row_once_when_epochs_complete(panes, checkpoints):
    for epoch in (1, 2, 3):
        panes.append(0, batch(epoch * 100))
        last = checkpoints.take(panes, epoch, completed=epoch - 1)
    assert checkpoints.written == [10, 10, 10]
    assert len(last.files) == 3
    assert values(checkpoints.restore(last)) == values(panes)


def test_snapshot_writes_rows_again_when_their_epoch_failed(panes, checkpoints):
    panes.append(0, batch(0))
    checkpoints.take(panes, 1, completed=0)
    panes.append(0, batch(100))
    after = checkpoints.take(panes, 2, completed=0)
    assert checkpoints.written == [10, 20]
    assert [file.key for file in after.files] == ["state/1-2/w-0-0.arrow"]
    assert values(checkpoints.restore(after)) == values(panes)


def test_snapshot_lets_go_of_files_whose_panes_are_all_closed(panes, checkpoints):
    panes.append(0, batch(0))
    checkpoints.take(panes, 1, completed=0)
    panes.append(10, batch(100))
    panes.drop(0)
    after = checkpoints.take(panes, 2, completed=1)
    assert [file.key for file in after.files] == ["state/1-2/w-0-0.arrow"]
    assert values(checkpoints.restore(after)) == {10: list(range(100, 110))}


def test_restore_leaves_out_panes_that_were_closed_at_the_barrier(panes, checkpoints):
    panes.append(0, batch(0))
    panes.append(10, batch(100))
    checkpoints.take(panes, 1, completed=0)
    panes.drop(0)
    restored = checkpoints.restore(checkpoints.take(panes, 2, completed=1))
    assert values(restored) == {10: list(range(100, 110))}


def test_snapshot_after_a_restore_refers_to_the_old_files(panes, checkpoints):
    panes.append(0, batch(0))
    restored = checkpoints.restore(checkpoints.take(panes, 1, completed=0))
    restored.append(0, batch(100))
    after = checkpoints.take(restored, 2, completed=0)
    assert checkpoints.written == [10, 10]
    assert len(after.files) == 2


def test_restore_of_a_part_takes_over_only_its_rows_and_writes_them_anew(panes, checkpoints):
    panes.append(0, batch(0))
    snapshot = checkpoints.take(panes, 1, completed=0)
    even = checkpoints.restore(
        snapshot, lambda part: part.filter(pa.array([x % 2 == 0 for x in part["x"].to_pylist()]))
    )
    assert values(even) == {0: [0, 2, 4, 6, 8]}
    after = checkpoints.take(even, 2, completed=1)
    assert checkpoints.written == [10, 5]
    assert len(after.files) == 1


def test_many_small_segments_become_one(panes, checkpoints):
    for epoch in range(1, 60):
        panes.append(0, batch(epoch * 100))
        last = checkpoints.take(panes, epoch, completed=epoch - 1)
        assert len(last.files) <= 33
    assert values(checkpoints.restore(last)) == values(panes)


def test_tiny_batches_do_not_pile_up_as_chunks(panes, checkpoints):
    for number in range(1_000):
        panes.append(0, batch(number * 10))
    assert sum(1 for _ in panes.read(0)) < 80
    assert values(panes) == {0: list(range(10_000))}


def test_batches_taken_by_a_snapshot_are_not_disturbed_by_what_comes_after(panes, checkpoints):
    panes.append(0, batch(0))
    taken = panes.snapshot(1, 0)
    panes.drop(0)
    segments, files = taken.write(checkpoints.store, "state/1-1/w-0-0.arrow")
    restored = checkpoints.restore(OperatorSnapshot("w", 0, (0, 128), {"panes": [0], "segments": segments}, files))
    assert values(restored) == {0: list(range(10))}


def test_a_few_rows_of_a_large_batch_do_not_keep_all_of_it_in_memory(panes):
    """A device with a wrong clock puts one row of every batch far into the future."""
    before = pa.total_allocated_bytes()
    for number in range(100):
        large = pa.record_batch({"x": pa.array(range(number, number + 20_000), pa.int64())})
        panes.append(0, large.slice(5, 1))
    del large
    assert pa.total_allocated_bytes() - before < 100_000
    assert panes.rows == 100


def test_a_snapshot_of_rows_on_disk_is_written_one_block_at_a_time(tmp_path, checkpoints):
    most = 0

    class Watched(RocksBlocks):
        def get(self, block):
            nonlocal most
            most = max(most, pa.total_allocated_bytes() - before)
            return super().get(block)

    panes = Panes(Watched(tmp_path / "state", 0))
    before = pa.total_allocated_bytes()
    for number in range(50):
        panes.append(0, batch(number * 10_000, 10_000))
    snapshot = checkpoints.take_lazily(panes, 1)
    assert most <= 2 * batch(0, 10_000).nbytes
    assert len(values(checkpoints.restore(snapshot))[0]) == 500_000
    panes.close()


def test_rows_whose_window_closed_before_they_were_written_are_still_in_the_snapshot(tmp_path, checkpoints):
    panes = Panes(RocksBlocks(tmp_path / "state", 0))
    panes.append(0, batch(0))
    taken = panes.snapshot(1, 0)
    panes.drop(0)
    segments, files = taken.write(checkpoints.store, "state/1-1/w-0-0.arrow")
    restored = checkpoints.restore(OperatorSnapshot("w", 0, (0, 128), {"panes": [0], "segments": segments}, files))
    assert values(restored) == {0: list(range(10))}
    panes.close()


def test_a_snapshot_that_cannot_be_written_lets_go_of_its_rows(tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 0)
    panes = Panes(blocks)
    panes.append(0, batch(0))
    taken = panes.snapshot(1, 0)
    panes.drop(0)
    with pytest.raises(AttributeError):
        taken.write(None, "key")
    assert blocks.spilled_blocks == 0
    panes.close()
