"""What a Delta sink finds out before it commits: what was restored, removed, changed or left behind by others."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitStatus, FilesystemStore, MemoryStore
from krishiv_connectors import DeltaSink
from krishiv_connectors._errors import TableMismatch, UnencodableRow
from krishiv_connectors.delta._errors import DeltaUnfit
from krishiv_guarantees import FailureDomain, StoreCapabilities
from tests.support.delta import read_table
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch

if TYPE_CHECKING:
    from pathlib import Path


def place(table: Path, **options: Any) -> Target:
    store = MemoryStore() if options.get("mode") == "upsert" else None
    return Target(sink=lambda: DeltaSink(table, **options), rows=list, lose=lambda committable: None, store=store)


def ids(table: Path) -> list[int]:
    return sorted(read_table(str(table)).get_column("id").to_list())


def fill(attempt: Attempt, *epochs: int) -> None:
    """Commit an epoch with one row for each."""
    for epoch in epochs:
        assert attempt.commit(attempt.stage(0, epoch, epoch)) == [CommitStatus.DONE]


def foreign_append(table: Path, number: int) -> None:
    deltalake.write_deltalake(str(table), pa.Table.from_batches([batch(number)]), mode="append")


MODES = pytest.mark.parametrize("options", [{}, {"mode": "upsert", "keys": "id"}], ids=["append", "upsert"])


@MODES
@pytest.mark.parametrize("by", ["version", "time"])
def test_epochs_that_a_restore_took_away_are_not_held(tmp_path: Path, options: dict[str, Any], by: str) -> None:
    with Attempt(place(tmp_path, **options)) as attempt:
        fill(attempt, 1, 2)
        time.sleep(0.01)  # the clock of versions is milliseconds
        moment = datetime.now(UTC)
        time.sleep(0.01)
        fill(attempt, 3, 4)
        table = deltalake.DeltaTable(str(tmp_path))
        table.restore(2 if by == "version" else moment)
        assert table.transaction_version(f"krishiv/{LINEAGE}/orders" + ("/0" if options else "")) == 4
        assert attempt.committer.last_applied(LINEAGE, 0) == 2
        (outcome,) = attempt.outcomes(attempt.stage(0, 5, 5))
        assert outcome.status is CommitStatus.FAILED
        assert "2" in outcome.reason
    with Attempt(place(tmp_path, **options), token=2, previous={0: 2}) as later:
        assert [(mark.lineage, mark.epoch) for mark in later.committer.marks("shop")] == [(LINEAGE, 2)]
        fill(later, 6)
        assert later.committer.last_applied(LINEAGE, 0) == 6
    assert ids(tmp_path) == [1, 2, 6]


def test_restore_to_before_the_first_epoch_leaves_no_mark(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2)
    deltalake.DeltaTable(str(tmp_path)).restore(0)
    with Attempt(place(tmp_path), lineage="e" * 32) as anew:
        assert anew.committer.marks("shop") == []


def test_restore_of_a_restore_is_followed(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2, 3)
    for version in (1, 3, 4):  # 4 is the first restore, which holds epoch 1
        deltalake.DeltaTable(str(tmp_path)).restore(version)
    with Attempt(place(tmp_path), token=2) as attempt:
        assert attempt.committer.last_applied(LINEAGE, 0) == 1
    assert ids(tmp_path) == [1]


def test_restore_that_takes_nothing_away_changes_nothing(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2)
        for number in range(3):
            foreign_append(tmp_path, 100 + number)
        deltalake.DeltaTable(str(tmp_path)).restore(3)
        fill(attempt, 3)
    assert ids(tmp_path) == [1, 2, 3, 100]


def test_restored_version_that_is_no_longer_in_the_log_counts_as_empty(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2)
        table = deltalake.DeltaTable(str(tmp_path))
        table.restore(1)
        table.create_checkpoint()
        for version in range(3):
            (tmp_path / "_delta_log" / f"{version:020d}.json").unlink()
        assert attempt.committer.last_applied(LINEAGE, 0) is None


def test_files_that_a_restore_took_away_are_not_taken_for_uncommitted_ones(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2, 3)
        attempt.stage(0, 4, 4)
        deltalake.DeltaTable(str(tmp_path)).restore(2)
    with Attempt(place(tmp_path), token=2) as later:
        prepared = later.committer.list_prepared(LINEAGE)
        assert [item.epoch for item in prepared] == [4]
        later.committer.abort(prepared)
    deltalake.DeltaTable(str(tmp_path)).restore(3)
    assert ids(tmp_path) == [1, 2, 3]


def test_commits_of_others_are_given_way_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another commit comes between looking and committing: looked at again, then committed upon it."""
    create, interruptions = deltalake.DeltaTable.create_write_transaction, iter([100, 101, 102])

    def interrupted(self: Any, *arguments: Any, **options: Any) -> None:
        if (number := next(interruptions, None)) is not None:
            foreign_append(tmp_path, number)
        create(self, *arguments, **options)

    with Attempt(place(tmp_path)) as attempt:
        monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", interrupted)
        fill(attempt, 1)
    assert ids(tmp_path) == [1, 100, 101, 102]


def test_restore_between_looking_and_committing_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, restores = deltalake.DeltaTable.create_write_transaction, iter([1])

    def interrupted(self: Any, *arguments: Any, **options: Any) -> None:
        if (version := next(restores, None)) is not None:
            deltalake.DeltaTable(str(tmp_path)).restore(version)
        create(self, *arguments, **options)

    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2)
        monkeypatch.setattr(deltalake.DeltaTable, "create_write_transaction", interrupted)
        (outcome,) = attempt.outcomes(attempt.stage(0, 3, 3))
    assert outcome.status is CommitStatus.FAILED
    assert ids(tmp_path) == [1]


def test_columns_of_the_table_that_changed_since_prepare_are_seen(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        waiting = attempt.stage(0, 1, 1)
        other = pa.table({"id": ["text"], "name": ["x"], "price": [0.5]})
        deltalake.write_deltalake(str(tmp_path), other, mode="overwrite", schema_mode="overwrite")
        (outcome,) = attempt.outcomes(waiting)
    assert outcome.status is CommitStatus.FAILED
    assert "'id'" in outcome.reason
    assert read_table(str(tmp_path)).height == 1


def test_constraint_that_the_table_got_since_prepare_is_seen(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        waiting = attempt.stage(0, 1, 1)
        deltalake.DeltaTable(str(tmp_path)).alter.add_constraint({"late": "id > 5"})
        (outcome,) = attempt.outcomes(waiting)
    assert outcome.status is CommitStatus.FAILED
    assert "delta.constraints.late" in outcome.reason
    assert ids(tmp_path) == []


def test_partitions_of_the_table_that_changed_since_prepare_are_seen(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        waiting = attempt.stage(0, 1, 1)
        other = pa.table({"id": [7], "name": ["x"], "price": [0.5]})
        deltalake.write_deltalake(
            str(tmp_path), other, mode="overwrite", schema_mode="overwrite", partition_by=["name"]
        )
        (outcome,) = attempt.outcomes(waiting)
    assert outcome.status is CommitStatus.FAILED
    assert "partition" in outcome.reason


def test_table_that_several_make_at_once_is_made_once(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def begin(number: int) -> None:
        together.wait()
        with Attempt(place(tmp_path), lineage=f"{number:032x}", job=f"job-{number}") as attempt:
            fill(attempt, 1)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    assert ids(tmp_path) == [1, 1, 1, 1]


def test_commit_says_whose_it_is(tmp_path: Path) -> None:
    with Attempt(place(tmp_path), token=3) as attempt:
        fill(attempt, 9)
    told = deltalake.DeltaTable(str(tmp_path)).history(1)[0]
    assert (told["krishiv.job"], told["krishiv.epoch"], told["krishiv.token"]) == ("shop", "9", "3")


# ---------------------------------------------------------------- what the table asks for


def make(table: Path, schema: pa.Schema, **configuration: str) -> None:
    settings = {f"delta.{name}": value for name, value in configuration.items()}
    deltalake.DeltaTable.create(str(table), deltalake.Schema.from_arrow(schema), configuration=settings)


@MODES
def test_storage_that_writes_over_what_is_there_is_refused(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unsafe = StoreCapabilities(durable=True, conditional_create=False, fencing=False, survives=FailureDomain.HOST_LOSS)
    monkeypatch.setattr(FilesystemStore, "capabilities", lambda self: unsafe)
    with pytest.raises(DeltaUnfit, match="writes over") as raised, Attempt(place(tmp_path, **options)):
        pass
    assert raised.value.hint


@MODES
def test_null_in_a_column_that_takes_none_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    make(tmp_path, pa.schema([("id", pa.int64()), pa.field("name", pa.string(), nullable=False), ("price", "f8")]))
    with Attempt(place(tmp_path, **options)) as attempt:
        nameless = pa.RecordBatch.from_pylist([{"id": 1, "name": None, "price": 0.0}], schema=SCHEMA)
        with pytest.raises(UnencodableRow, match="name") as raised:
            attempt.writer(0).write(nameless)
    assert raised.value.hint


def test_table_that_only_grows_takes_no_upserts(tmp_path: Path) -> None:
    make(tmp_path, SCHEMA, appendOnly="true")
    DeltaSink(tmp_path).check(SCHEMA)
    with pytest.raises(DeltaUnfit, match="appendOnly") as raised:
        DeltaSink(tmp_path, mode="upsert", keys="id").check(SCHEMA)
    assert raised.value.hint


def test_table_with_an_invariant_is_refused(tmp_path: Path) -> None:
    rule = {"delta.invariants": json.dumps({"expression": {"expression": "id > 3"}})}
    make(tmp_path, pa.schema([pa.field("id", pa.int64(), metadata=rule)]))
    with pytest.raises(DeltaUnfit, match="invariant"):
        DeltaSink(tmp_path).check(pa.schema([("id", pa.int64())]))


def test_upsert_leaves_columns_alone_that_its_rows_have_not(tmp_path: Path) -> None:
    rows = pa.table({"id": [1, 2], "name": ["a", "b"], "price": [0.0, 0.0], "note": ["kept", "kept"]})
    deltalake.write_deltalake(str(tmp_path), rows)
    with Attempt(place(tmp_path, mode="upsert", keys="id")) as attempt:
        attempt.commit(attempt.stage(0, 1, 2, 3))
    found = {row["id"]: row["note"] for row in read_table(str(tmp_path)).to_dicts()}
    assert found == {1: "kept", 2: "kept", 3: None}


def test_upsert_obeys_changes(tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int64()), ("name", pa.string()), ("_op", pa.string())])
    sink = DeltaSink(tmp_path, mode="upsert", keys="id")
    sink.check(schema)
    from krishiv_checkpoint import Committable
    from krishiv_connectors import SinkContext

    store = MemoryStore()
    committer, writer = (DeltaSink(tmp_path, mode="upsert", keys="id") for _ in range(2))
    for each, slot in ((committer, None), (writer, 0)):
        each.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=slot, token=1, schema=schema, store=store))
    changes = [
        [(1, "a", "+I"), (2, "b", "+I"), (3, "c", "+I"), (3, "c", "-D")],
        [(1, "a", "-U"), (1, "A", "+U"), (2, "b", "-D"), (9, "z", "-D")],
    ]
    for epoch, rows in enumerate(changes, 1):
        writer.write(pa.RecordBatch.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema))
        assert isinstance(writer, type(committer))
        committable = Committable("s", 0, epoch, 1, epoch - 1, writer.prepare(epoch))  # type: ignore[attr-defined]
        assert committer.commit(epoch, [committable]).status is CommitStatus.DONE  # type: ignore[attr-defined]
    for each in (writer, committer):
        each.close()
    assert read_table(str(tmp_path)).rows() == [(1, "A")]


def test_columns_with_changes_are_plain_columns_of_an_append(tmp_path: Path) -> None:
    DeltaSink(tmp_path).check(pa.schema([("id", pa.int64()), ("_op", pa.string())]))
    make(tmp_path, pa.schema([("id", pa.int64())]))
    with pytest.raises(TableMismatch, match="_op"):
        DeltaSink(tmp_path).check(pa.schema([("id", pa.int64()), ("_op", pa.string())]))


# ---------------------------------------------------------------- what is left behind


def staged(table: Path) -> list[str]:
    return sorted(path.name for path in (table / "_staging").rglob("*.parquet"))


def age(table: Path, seconds: float) -> None:
    """Have all versions so far made some time ago: their files' times are what delta-rs goes by."""
    then = time.time() - seconds
    for path in (table / "_delta_log").glob("*.json"):
        os.utime(path, (then, then))


def test_vacuum_removes_what_was_compacted_and_nothing_that_is_needed(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2, 3)
        sink = DeltaSink(tmp_path)
        sink.optimize()
        assert sink.vacuum() == []
        age(tmp_path, 8 * 86_400)
        fill(attempt, 4)
        waiting = attempt.stage(0, 5, 5)
        before = staged(tmp_path)
        assert len(before) == 5
        assert len(sink.vacuum(dry_run=True)) == 3
        assert staged(tmp_path) == before
        assert len(sink.vacuum()) == 3
        assert sink.vacuum() == []
        assert len(staged(tmp_path)) == 2
        assert attempt.commit(waiting) == [CommitStatus.DONE]
    assert ids(tmp_path) == [1, 2, 3, 4, 5]


def test_vacuum_keeps_what_waits_again_after_a_restore(tmp_path: Path) -> None:
    """Three epochs were applied when the retention began; a restore left the first, and the second is written anew."""
    with Attempt(place(tmp_path)) as attempt:
        fill(attempt, 1, 2, 3)
    age(tmp_path, 8 * 86_400)
    deltalake.DeltaTable(str(tmp_path)).restore(1)
    with Attempt(place(tmp_path), token=2, previous={0: 1}) as later:
        waiting = later.stage(0, 2, 20)
        DeltaSink(tmp_path).vacuum()
        assert later.commit(waiting) == [CommitStatus.DONE]
    assert ids(tmp_path) == [1, 20]


def test_retention_that_is_not_understood_keeps_all(tmp_path: Path) -> None:
    make(tmp_path, SCHEMA)
    entry = tmp_path / "_delta_log" / f"{0:020d}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"] = {"delta.deletedFileRetentionDuration": "a while"}
    entry.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DeltaUnfit, match="a while"):
        DeltaSink(tmp_path).vacuum()
