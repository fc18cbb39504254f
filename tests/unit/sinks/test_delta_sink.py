"""What is special about the Delta sink."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitStatus, MemoryStore
from krishiv_connectors import DeltaSink, SinkContext
from krishiv_connectors._errors import TableMismatch, UnencodableRow, UnsupportedColumn
from krishiv_connectors.delta._errors import DeltaFailed, DeltaUnfit
from krishiv_guarantees import ConfigurationError, PlanError
from tests.support.delta import read_table
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from krishiv_connectors import TwoPhaseSink


def place(table: Path, **options: Any) -> Target:
    store = MemoryStore() if options.get("mode") == "upsert" else None
    return Target(sink=lambda: DeltaSink(table, **options), rows=list, lose=lambda committable: None, store=store)


def opened(sink: TwoPhaseSink, schema: pa.Schema, slot: int | None) -> TwoPhaseSink:
    sink.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=slot, token=1, schema=schema))
    return sink


def write(table: Path, batches: Sequence[pa.RecordBatch], **options: Any) -> None:
    """Write `batches` as one epoch."""
    from krishiv_checkpoint import Committable

    schema = batches[0].schema
    committer, writer = (opened(DeltaSink(table, **options), schema, slot) for slot in (None, 0))
    for each in batches:
        writer.write(each)
    before = committer.last_applied(LINEAGE, 0) or 0
    committable = Committable("s", 0, before + 1, 1, before, writer.prepare(before + 1))
    assert committer.commit(before + 1, [committable]).status is CommitStatus.DONE
    writer.close()
    committer.close()


def log(table: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (table / "_delta_log" / f"{version:020d}.json").read_text().splitlines()]


def test_every_type_is_stored_as_documented(tmp_path: Path) -> None:
    rows = pa.record_batch(
        {
            "small": pa.array([1, None], pa.int8()),
            "large": pa.array([-(2**63), 2**63 - 1]),
            "half": pa.array([0.5, None], pa.float32()),
            "flag": [True, None],
            "text": pa.array(["ü", None], pa.large_string()),
            "view": pa.array(["v", None], pa.string_view()),
            "choice": pa.array(["x", None]).dictionary_encode(),
            "raw": [b"\xff\x00", None],
            "day": [dt.date(2026, 1, 2), None],
            "local": pa.array([1, None], pa.timestamp("ms")),
            "moment": pa.array([0, None], pa.timestamp("us", tz="Europe/Paris")),
            "price": pa.array([Decimal("1.20"), None], pa.decimal128(9, 2)),
            "many": pa.array([[1, 2], None], pa.list_(pa.int64())),
            "pair": pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())])),
        }
    )
    write(tmp_path, [rows])
    first, second = deltalake.DeltaTable(str(tmp_path)).to_pyarrow_table().to_pylist()
    assert first == {
        "small": 1,
        "large": -(2**63),
        "half": 0.5,
        "flag": True,
        "text": "ü",
        "view": "v",
        "choice": "x",
        "raw": b"\xff\x00",
        "day": dt.date(2026, 1, 2),
        "local": dt.datetime(1970, 1, 1, 0, 0, 0, 1000),
        "moment": dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        "price": Decimal("1.20"),
        "many": [1, 2],
        "pair": {"a": 1},
    }
    assert {name: value for name, value in second.items() if value is not None} == {"large": 2**63 - 1}


@pytest.mark.parametrize(
    "kind", [pa.uint64(), pa.uint8(), pa.timestamp("ns"), pa.float16(), pa.duration("us"), pa.null(), pa.time64("us")]
)
def test_types_that_delta_has_not_are_refused_before_the_job_runs(tmp_path: Path, kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn) as raised:
        DeltaSink(tmp_path).check(pa.schema([("a", kind)]))
    assert raised.value.hint


def test_one_commit_holds_the_files_of_all_slots_and_the_epoch(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        attempt.commit(attempt.stage(0, 7, 1, 2), attempt.stage(1, 7, 3))
    actions = log(tmp_path, 1)
    assert sum("add" in action for action in actions) == 2
    assert [action["txn"] for action in actions if "txn" in action] == [
        {"appId": f"krishiv/{LINEAGE}/orders", "version": 7}
    ]


def test_statistics_let_readers_skip_files(tmp_path: Path) -> None:
    moments = [dt.datetime(2026, 1, 1, 0, 0, 0, 1500, dt.UTC), None]
    write(tmp_path, [pa.record_batch({"id": [3, 9], "at": moments, "x": [float("nan"), 1.0], "long": ["z" * 99, "a"]})])
    (added,) = [action["add"] for action in log(tmp_path, 1) if "add" in action]
    stats = json.loads(added["stats"])
    assert stats["numRecords"] == 2
    assert (stats["minValues"]["id"], stats["maxValues"]["id"]) == (3, 9)
    assert stats["nullCount"] == {"id": 0, "at": 1, "x": 0, "long": 0}
    assert (stats["minValues"]["at"], stats["maxValues"]["at"]) == (
        "2026-01-01T00:00:00.001Z",
        "2026-01-01T00:00:00.002Z",
    )
    assert "long" not in stats["maxValues"]
    assert pl.scan_delta(str(tmp_path)).filter(pl.col("id") == 9).collect().height == 1


def test_files_end_at_their_target_size(tmp_path: Path) -> None:
    rows = pa.record_batch({"id": pa.array(range(150_000))})
    write(tmp_path, [rows] * 4, target_file_size=1)
    files = [action["add"] for action in log(tmp_path, 1) if "add" in action]
    assert len(files) == 4
    assert read_table(str(tmp_path)).height == 600_000


@pytest.mark.parametrize("value", ["a/b", "c d", "e=%", "", None, "ü"])
def test_partition_values_come_back_as_they_were(tmp_path: Path, value: str | None) -> None:
    write(tmp_path, [pa.record_batch({"id": [1], "p": pa.array([value], pa.string())})], partition_by="p")
    expected = value or None  # to Delta, an empty text is null
    assert deltalake.DeltaTable(str(tmp_path)).to_pyarrow_table().column("p").to_pylist() == [expected]
    assert read_table(str(tmp_path)).get_column("p").to_list() == [expected]


def test_columns_are_added_when_asked_and_refused_else(tmp_path: Path) -> None:
    write(tmp_path, [pa.record_batch({"id": [1]})])
    wider = pa.record_batch({"id": [2], "more": ["x"]})
    with pytest.raises(TableMismatch, match="more"):
        DeltaSink(tmp_path).check(wider.schema)
    write(tmp_path, [wider], schema_evolution="add_columns")
    assert sorted(read_table(str(tmp_path)).rows()) == [(1, None), (2, "x")]
    write(tmp_path, [pa.record_batch({"id": [3]})])
    assert read_table(str(tmp_path)).height == 3


def test_table_with_other_types_or_partitions_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [pa.record_batch({"id": [1], "p": ["x"]})], partition_by="p")
    with pytest.raises(TableMismatch, match="'id' is int64"):
        DeltaSink(tmp_path).check(pa.schema([("id", pa.string()), ("p", pa.string())]))
    with pytest.raises(TableMismatch, match="partitioned"):
        DeltaSink(tmp_path, partition_by="id").check(pa.schema([("id", pa.int64()), ("p", pa.string())]))
    with pytest.raises(PlanError):
        DeltaSink(tmp_path / "new", partition_by="nothing").check(pa.schema([("id", pa.int64())]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"delta.columnMapping.mode": "name"}, "column mapping"),
        ({"delta.constraints.positive": "id > 0"}, "constraint"),
    ],
)
def test_tables_whose_promises_could_be_broken_are_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    schema = deltalake.Schema.from_arrow(pa.schema([("id", pa.int64())]))
    deltalake.DeltaTable.create(str(tmp_path), schema, configuration={}, mode="ignore")
    entry = tmp_path / "_delta_log" / f"{0:020d}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"] = settings
    entry.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DeltaUnfit, match=said) as raised:
        DeltaSink(tmp_path).check(pa.schema([("id", pa.int64())]))
    assert raised.value.hint


def test_last_row_of_a_key_wins_in_an_epoch_and_over_epochs(tmp_path: Path) -> None:
    with Attempt(place(tmp_path, mode="upsert", keys=["id"])) as attempt:
        row = pa.RecordBatch.from_pylist
        attempt.writer(0).write(row([{"id": n, "name": "old", "price": 0.0} for n in (1, 1, 2)], schema=SCHEMA))
        attempt.writer(0).write(row([{"id": 1, "name": "new", "price": 1.0}], schema=SCHEMA))
        attempt.commit(attempt.prepare(0, 1))
        assert sorted(read_table(str(tmp_path)).rows()) == [(1, "new", 1.0), (2, "old", 0.0)]
        attempt.commit(attempt.stage(0, 2, 2, 3))
    assert sorted(read_table(str(tmp_path)).rows()) == [(1, "new", 1.0), (2, "n2", 0.5), (3, "n3", 0.75)]


def test_row_without_a_key_is_refused(tmp_path: Path) -> None:
    with Attempt(place(tmp_path, mode="upsert", keys=["id"])) as attempt:
        nobody = pa.RecordBatch.from_pylist([{"id": None, "name": "x", "price": 0.0}], schema=SCHEMA)
        with pytest.raises(UnencodableRow) as raised:
            attempt.writer(0).write(nobody)
    assert raised.value.hint


def test_optimize_and_vacuum_leave_marks_and_what_waits_for_its_commit(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        for epoch in (1, 2, 3):
            attempt.commit(attempt.stage(0, epoch, epoch))
        waiting = attempt.stage(0, 4, 4)
        assert DeltaSink(tmp_path).optimize()["numFilesRemoved"] == 3
        table = deltalake.DeltaTable(str(tmp_path))
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        table.create_checkpoint()
        assert attempt.commit(waiting) == [CommitStatus.DONE]
        assert attempt.committer.last_applied(LINEAGE, 0) == 4
    assert sorted(read_table(str(tmp_path)).get_column("id")) == [1, 2, 3, 4]


def test_epoch_behind_a_lost_mark_fails(tmp_path: Path) -> None:
    with Attempt(place(tmp_path), previous={0: 5}) as attempt:
        (outcome,) = attempt.outcomes(attempt.stage(0, 6, 1))
    assert outcome.status is CommitStatus.FAILED
    assert "epoch 0, not 5" in outcome.reason


def test_rivals_that_read_the_same_mark_add_an_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Attempt(place(tmp_path)) as one, Attempt(place(tmp_path), token=2) as two:
        first, again = one.stage(0, 1, 1), two.stage(0, 1, 1)
        two.committer.last_applied(LINEAGE, 0)
        one.commit(first)
        with monkeypatch.context() as patch:  # as if it had looked just before
            patch.setattr(deltalake.DeltaTable, "update_incremental", lambda self: None)
            (outcome,) = two.outcomes(again)
        assert outcome.status is CommitStatus.RETRY_LATER
        assert two.commit(again) == [CommitStatus.ALREADY_DONE]
    assert read_table(str(tmp_path)).height == 1


@pytest.mark.parametrize(
    "options", [{"mode": "upsert"}, {"keys": "id"}, {"mode": "replace"}, {"schema_evolution": "x"}]
)
def test_arguments_that_do_not_go_together_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeltaSink(tmp_path, **options)


def test_damaged_log_is_named(tmp_path: Path) -> None:
    write(tmp_path, [batch(1)])
    (tmp_path / "_delta_log" / f"{1:020d}.json").write_text("{")
    with pytest.raises(DeltaFailed) as raised:
        DeltaSink(tmp_path).check(SCHEMA)
    assert raised.value.hint
