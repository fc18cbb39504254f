"""What is special about sinks that stage in the checkpoint store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitStatus, FilesystemStore, Mark, MemoryStore, StateFile, StoreFull
from krishiv_connectors import MarkMoved, OutputHeld, SinkContext, StagedSink
from krishiv_guarantees import ConfigurationError, RetriableError
from tests.unit.sinks.contract import LINEAGE, Attempt, Target, batch

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path

    from krishiv_checkpoint import BlobWriter


class ListSink(StagedSink):
    """Applies to a list: all that an author has to write."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, int, int, int, list[pa.RecordBatch]]] = []
        self.mark: dict[int, int] = {}
        self.trouble: list[Exception] = []

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        if self.trouble:
            raise self.trouble.pop()
        if self.mark.get(slot, 0) != previous:
            raise MarkMoved("moved")
        self.applied.append((slot, epoch, previous, token, list(batches)))
        self.mark[slot] = epoch

    def last_applied(self, lineage: str, slot: int) -> int | None:
        return self.mark.get(slot)

    def marks(self, job: str) -> Sequence[Mark]:
        return [Mark(LINEAGE, job, slot, epoch) for slot, epoch in self.mark.items()]


def place(sink: ListSink, store: MemoryStore | FilesystemStore | None) -> Target:
    return Target(sink=lambda: sink, rows=list, lose=lambda committable: None, store=store)


def test_staged_sink_keeps_an_epoch_under_its_key_and_hands_it_to_apply(tmp_path: Path) -> None:
    sink, store = ListSink(), FilesystemStore(tmp_path)
    with Attempt(place(sink, store), token=5) as attempt:
        attempt.stage(2, 3)
        attempt.write(2, 1, 2)
        assert store.list("") == []
        attempt.write(2, 3)
        committable = attempt.prepare(2, 4)
        assert store.list("") == ["staged/orders/5-4-2.arrow"]
        sink.mark[2] = 3
        attempt.commit(committable)
    assert sink.applied == [(2, 4, 3, 5, [batch(1, 2, 3)])]


def test_small_staged_batches_come_to_apply_together_and_large_ones_as_they_are() -> None:
    sink = ListSink()
    large = range(8_000)
    with Attempt(place(sink, MemoryStore())) as attempt:
        for ids in ([1], [2, 3], large, large, [4]):
            attempt.write(0, *ids)
        attempt.commit(attempt.prepare(0, 1))
    (applied,) = sink.applied
    assert applied[-1] == [batch(1, 2, 3, *large), batch(*large, 4)]


def test_rows_of_an_epoch_that_the_store_did_not_take_are_in_the_next() -> None:
    class AwayStore(MemoryStore):
        away = True

        @contextmanager
        def writer(self, key: str, *, final: bool = False) -> Generator[BlobWriter]:
            with super().writer(key) as writer:
                yield AwayWriter(writer, self)

    class AwayWriter:
        def __init__(self, writer: BlobWriter, store: AwayStore) -> None:
            self.write, self._finish, self._store = writer.write, writer.finish, store

        def finish(self, key: str | None = None) -> StateFile:
            if self._store.away:
                raise RetriableError("away")
            return self._finish(key)

    sink, store = ListSink(), AwayStore()
    with Attempt(place(sink, store)) as attempt:
        attempt.write(0, 1)
        for epoch in (1, 2):
            with pytest.raises(OutputHeld):
                attempt.prepare(0, epoch)
            attempt.write(0, 10 * epoch)
        store.away = False
        attempt.commit(attempt.stage(0, 3, 30))
        attempt.commit(attempt.stage(0, 4, 40))
    assert [(epoch, previous, batches) for _, epoch, previous, _, batches in sink.applied] == [
        (3, 0, [batch(1, 10, 20, 30)]),
        (4, 3, [batch(40)]),
    ]


def test_payload_is_the_file_in_the_store_or_null() -> None:
    store = MemoryStore()
    with Attempt(place(ListSink(), store)) as attempt:
        assert attempt.stage(0, 1).payload == b"null"
        file = msgspec.json.decode(attempt.stage(0, 2, 1).payload, type=StateFile)
        assert (file.key, file.size) == ("staged/orders/1-2-0.arrow", len(store.get(file.key)))


def test_staged_sink_calls_apply_with_nothing_when_an_epoch_is_empty() -> None:
    sink, store = ListSink(), MemoryStore()
    with Attempt(place(sink, store)) as attempt:
        attempt.writer(0).write(batch())
        assert attempt.commit(attempt.stage(0, 1)) == [CommitStatus.DONE]
    assert sink.applied == [(0, 1, 0, 1, [])]
    assert store.list("") == []


def test_staged_sink_discards_what_was_not_prepared_when_it_closes(tmp_path: Path) -> None:
    store = FilesystemStore(tmp_path)
    with Attempt(place(ListSink(), store)) as attempt:
        attempt.write(0, 1)
    assert store.list("") == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_staged_sink_needs_a_store() -> None:
    with pytest.raises(ConfigurationError, match="checkpoint store"), Attempt(place(ListSink(), None)):
        pass


def test_commit_is_tried_later_when_apply_has_passing_trouble() -> None:
    sink = ListSink()
    with Attempt(place(sink, MemoryStore())) as attempt:
        committable = attempt.stage(0, 1, 1)
        sink.trouble.append(RetriableError("not now", after=3.0))
        (outcome,) = attempt.outcomes(committable)
        assert (outcome.status, outcome.reason, outcome.after) == (CommitStatus.RETRY_LATER, "not now", 3.0)
        assert attempt.commit(committable) == [CommitStatus.DONE]


@pytest.mark.parametrize(
    ("winner", "status"), [(1, CommitStatus.FAILED), (2, CommitStatus.ALREADY_DONE), (3, CommitStatus.ALREADY_DONE)]
)
def test_commit_looks_at_the_mark_again_when_another_applier_came_first(winner: int, status: CommitStatus) -> None:
    class RacedSink(ListSink):
        def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
            self.mark[slot] = winner
            super().apply(slot, epoch, previous, token, batches)

    with Attempt(place(RacedSink(), MemoryStore())) as attempt:
        assert attempt.commit(attempt.stage(0, 2, 1)) == [status]


def test_writer_stays_failed_when_the_store_is_full() -> None:
    class FullStore(MemoryStore):
        def writer(self, key: str, *, final: bool = False):
            raise StoreFull("full")

    with Attempt(place(ListSink(), FullStore())) as attempt:
        for _ in range(2):
            with pytest.raises(StoreFull):
                attempt.write(0, 1)
        with pytest.raises(StoreFull):
            attempt.prepare(0, 1)


def test_staged_rows_keep_every_arrow_type() -> None:
    rows = pa.RecordBatch.from_pydict(
        {
            "choice": pa.array(["x", None]).dictionary_encode(),
            "view": pa.array(["a", "b" * 40], pa.string_view()),
            "pairs": pa.array([{"a": [1]}, None]),
        }
    )
    sink = ListSink()
    ctx = SinkContext(
        job="j", lineage=LINEAGE, sink_id="orders", slot=0, token=1, schema=rows.schema, store=MemoryStore()
    )
    sink.open(ctx)
    sink.write(rows)
    sink.write(rows.slice(1))
    payload = sink.prepare(1)
    sink.close()
    file = msgspec.json.decode(payload, type=StateFile)
    assert ctx.store is not None
    assert list(pa.ipc.open_stream(ctx.store.get(file.key))) == [rows, rows.slice(1)]


def test_a_closed_sink_writes_nothing() -> None:
    with Attempt(place(ListSink(), MemoryStore())) as attempt:
        writer = attempt.writer(0)
        with pytest.raises(ValueError, match="committer"):
            attempt.committer.write(batch(1))
    with pytest.raises(ValueError, match="not open"):
        writer.write(batch(1))
