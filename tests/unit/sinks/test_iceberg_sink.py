"""What is special about the Iceberg sink."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import LongType, NestedField, StringType

from krishiv_checkpoint import CommitStatus, Committable
from krishiv_connectors import IcebergSink, Secret, SinkContext
from krishiv_connectors._errors import MissingExtra, TableMismatch, UnencodableRow, UnsupportedColumn
from krishiv_connectors.iceberg._errors import (
    IcebergFailed,
    IcebergMissing,
    IcebergRefused,
    IcebergUnavailable,
    IcebergUnfit,
)
from krishiv_guarantees import ConfigurationError, PlanError
from tests.support.iceberg import catalog_of, read_table, table_of
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = "shop.orders"


def place(folder: Path, **options: Any) -> Target:
    return Target(sink=lambda: IcebergSink(catalog_of(folder), TABLE, **options), rows=list, lose=lambda _: None)


def write(folder: Path, batches: Sequence[pa.RecordBatch], epoch: int = 1, **options: Any) -> None:
    """Write `batches` as one epoch."""
    opened: list[IcebergSink] = []
    for slot in (None, 0):
        opened.append(IcebergSink(catalog_of(folder), TABLE, **options))
        opened[-1].open(
            SinkContext(job="j", lineage=LINEAGE, sink_id="orders", slot=slot, token=1, schema=batches[0].schema)
        )
    committer, writer = opened
    for each in batches:
        writer.write(each)
    committable = Committable("orders", 0, epoch, 1, epoch - 1, writer.prepare(epoch))
    assert committer.commit(epoch, [committable]).status is CommitStatus.DONE
    writer.close()
    committer.close()


def ids(folder: Path) -> list[int]:
    found = read_table(catalog_of(folder), TABLE)
    return sorted(found.get_column("id").to_list()) if found.width else []


def make(folder: Path, *fields: NestedField, **options: Any) -> None:
    """Make the table with pyiceberg alone."""
    with load_catalog("default", **catalog_of(folder)) as catalog:
        catalog.create_namespace("shop")
        catalog.create_table(TABLE, schema=Schema(*fields), **options)


def append(folder: Path, *rows: int) -> None:
    """Append as another writer."""
    with table_of(catalog_of(folder), TABLE) as table:
        table.append(pa.Table.from_batches([batch(*rows)]))


def snapshots(folder: Path) -> list[int]:
    with table_of(catalog_of(folder), TABLE) as table:
        return [snapshot.snapshot_id for snapshot in table.snapshots()]


# ---------------------------------------------------------------- types and files


def test_every_type_is_stored_as_documented(tmp_path: Path) -> None:
    rows = pa.record_batch(
        {
            "small": pa.array([1, None], pa.int8()),
            "unsigned": pa.array([2**32 - 1, None], pa.uint32()),
            "large": pa.array([-(2**63), 2**63 - 1]),
            "half": pa.array([0.5, None], pa.float32()),
            "flag": [True, None],
            "text": pa.array(["ü", None], pa.large_string()),
            "view": pa.array(["v", None], pa.string_view()),
            "choice": pa.array(["x", None]).dictionary_encode(),
            "raw": [b"\xff\x00", None],
            "fixed": pa.array([b"ab", None], pa.binary(2)),
            "day": [dt.date(2026, 1, 2), None],
            "clock": pa.array([1, None], pa.time32("ms")),
            "local": pa.array([1, None], pa.timestamp("ms")),
            "moment": pa.array([0, None], pa.timestamp("us", tz="Europe/Paris")),
            "price": pa.array([Decimal("1.20"), None], pa.decimal128(9, 2)),
            "huge": pa.array([Decimal("-1.20"), None], pa.decimal128(38, 2)),
            "many": pa.array([[1, 2], None], pa.list_(pa.int64())),
            "pair": pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())])),
            "dotted.name": pa.array(["d", None]),
        }
    )
    write(tmp_path, [rows])
    expected = {
        "small": 1,
        "unsigned": 2**32 - 1,
        "large": -(2**63),
        "half": 0.5,
        "flag": True,
        "text": "ü",
        "view": "v",
        "choice": "x",
        "raw": b"\xff\x00",
        "fixed": b"ab",
        "day": dt.date(2026, 1, 2),
        "clock": dt.time(0, 0, 0, 1000),
        "local": dt.datetime(1970, 1, 1, 0, 0, 0, 1000),
        "moment": dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        "price": Decimal("1.20"),
        "huge": Decimal("-1.20"),
        "many": [1, 2],
        "pair": {"a": 1},
        "dotted.name": "d",
    }
    nothing = {**dict.fromkeys(expected), "large": 2**63 - 1}
    with table_of(catalog_of(tmp_path), TABLE) as table:
        assert table.scan().to_arrow().to_pylist() == [expected, nothing]
    read = read_table(catalog_of(tmp_path), TABLE).to_dicts()
    assert read == [expected, {**nothing, "pair": read[1]["pair"]}]  # polars shows a struct without values, too


def test_maps_are_stored(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.int64())
    write(tmp_path, [pa.record_batch({"m": pa.array([[("a", 1)]], kind)})])
    with table_of(catalog_of(tmp_path), TABLE) as table:
        assert table.scan().to_arrow().to_pylist() == [{"m": [("a", 1)]}]


@pytest.mark.parametrize(
    "kind",
    [
        pa.uint64(),
        pa.timestamp("ns"),
        pa.time64("ns"),
        pa.duration("us"),
        pa.null(),
        pa.date64(),
        pa.decimal256(50, 2),
        pa.uuid(),
        pa.month_day_nano_interval(),
        pa.struct([]),
        pa.list_(pa.uint64()),
    ],
)
def test_types_that_iceberg_has_not_are_refused_before_the_job_runs(tmp_path: Path, kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn) as raised:
        IcebergSink(catalog_of(tmp_path), TABLE).check(pa.schema([("a", kind)]))
    assert raised.value.hint


def test_files_have_field_ids_and_end_at_their_target_size(tmp_path: Path) -> None:
    rows = pa.record_batch({"id": pa.array(range(150_000))})
    write(tmp_path, [rows] * 4, target_file_size=1)
    with table_of(catalog_of(tmp_path), TABLE) as table:
        files = [task.file for task in table.scan().plan_files()]
    assert [file.record_count for file in files] == [150_000] * 4
    schema = pa.parquet.read_schema(files[0].file_path.removeprefix("file://"))
    assert schema.field("id").metadata[b"PARQUET:field_id"] == b"1"
    assert read_table(catalog_of(tmp_path), TABLE).height == 600_000


def test_statistics_let_readers_skip_files(tmp_path: Path) -> None:
    for epoch, values in ((1, [1, 5]), (2, [6, 9])):
        write(tmp_path, [pa.record_batch({"id": values, "x": [float("nan"), 1.0]})], epoch)
    with table_of(catalog_of(tmp_path), TABLE) as table:
        assert [task.file.record_count for task in table.scan("id = 7").plan_files()] == [2]
        assert len(list(table.scan("id > 2").plan_files())) == 2
        assert list(table.scan("id > 10").plan_files()) == []
        (row,) = table.scan("id = 6").to_arrow().to_pylist()
    assert row["id"] == 6


# ---------------------------------------------------------------- partitions


@pytest.mark.parametrize("value", ["a/b", "c d", "e=%", "", None, "ü"])
def test_partition_values_come_back_as_they_were(tmp_path: Path, value: str | None) -> None:
    write(tmp_path, [pa.record_batch({"id": [1, 2], "p": pa.array([value, "other"], pa.string())})], partition_by="p")
    assert read_table(catalog_of(tmp_path), TABLE).sort("id").get_column("p").to_list() == [value, "other"]
    with table_of(catalog_of(tmp_path), TABLE) as table:
        parts = table.inspect.partitions().to_pylist()
    assert {part["partition"]["p"] for part in parts} == {value, "other"}


MOMENTS = ["1969-12-31T23:59:59.999999", "1970-01-01T00:00:00", "2024-02-29T13:30:00", "2026-12-31T23:00:00"]


@pytest.mark.parametrize(
    "term", ["at", "day(at)", "hour(at)", "month(at)", "year(at)", "date", "day(date)", "year(date)"]
)
def test_partition_values_are_those_that_iceberg_computes(tmp_path: Path, term: str) -> None:
    moments = [dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) for text in MOMENTS]
    rows = {
        "id": pa.array([*range(len(MOMENTS)), None]),
        "at": pa.array([*moments, None], pa.timestamp("us", tz="UTC")),
        "date": pa.array([*[moment.date() for moment in moments], None]),
    }
    write(tmp_path, [pa.record_batch(rows)], partition_by=term)
    with table_of(catalog_of(tmp_path), TABLE) as table:
        (field,) = table.spec().fields
        source = table.schema().find_field(field.source_id)
        compute = field.transform.transform(source.field_type)
        for task in table.scan().plan_files():
            held = pa.parquet.read_table(task.file.file_path.removeprefix("file://")).column(source.name)
            assert {_partition(compute, value) for value in held.to_pylist()} == {task.file.partition[0]}
        found = table.scan(f"{source.name} = '{_literal(rows[source.name][2].as_py())}'").to_arrow()
    assert found.column("id").to_pylist() == [2]
    assert read_table(catalog_of(tmp_path), TABLE).height == len(MOMENTS) + 1


def _partition(compute: Any, value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return compute(int((value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)))
    return compute((value - dt.date(1970, 1, 1)).days) if isinstance(value, dt.date) else compute(value)


def _literal(value: Any) -> str:
    return str(value.isoformat())


def test_partition_columns_that_do_not_go_are_refused(tmp_path: Path) -> None:
    sink = IcebergSink(catalog_of(tmp_path), TABLE, partition_by="nothing")
    with pytest.raises(PlanError, match="nothing"):
        sink.check(SCHEMA)
    with pytest.raises(UnsupportedColumn, match="price"):
        IcebergSink(catalog_of(tmp_path), TABLE, partition_by="price").check(SCHEMA)
    with pytest.raises(UnsupportedColumn, match="day"):
        IcebergSink(catalog_of(tmp_path), TABLE, partition_by="day(name)").check(SCHEMA)
    with pytest.raises(PlanError, match="twice"):
        IcebergSink(catalog_of(tmp_path), TABLE, partition_by=["id", "id"]).check(SCHEMA)


# ---------------------------------------------------------------- tables that exist


def test_table_with_other_columns_or_partitions_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [pa.record_batch({"id": [1], "p": ["x"]})], partition_by="p")

    def check(schema: pa.Schema, **options: Any) -> None:
        IcebergSink(catalog_of(tmp_path), TABLE, **options).check(schema)

    with pytest.raises(TableMismatch, match="'id' is int64"):
        check(pa.schema([("id", pa.string()), ("p", pa.string())]))
    with pytest.raises(TableMismatch, match="'more' is not in"):
        check(pa.schema([("id", pa.int64()), ("p", pa.string()), ("more", pa.int64())]))
    with pytest.raises(TableMismatch, match="partitioned by"):
        check(pa.schema([("id", pa.int64()), ("p", pa.string())]), partition_by="id")
    with pytest.raises(IcebergUnfit, match="partitioned by p"):
        check(pa.schema([("id", pa.int64())]))
    check(pa.schema([("id", pa.int32()), ("p", pa.string())]))


def test_required_columns_have_to_be_there_and_filled(tmp_path: Path) -> None:
    make(tmp_path, NestedField(1, "id", LongType(), required=True), NestedField(2, "note", StringType()))
    with pytest.raises(TableMismatch, match="'id' may not be null"):
        IcebergSink(catalog_of(tmp_path), TABLE).check(pa.schema([("note", pa.string())]))
    write(tmp_path, [pa.record_batch({"id": [1, 2]})])
    assert read_table(catalog_of(tmp_path), TABLE).rows() == [(1, None), (2, None)]
    with pytest.raises(UnencodableRow, match="'id'") as raised:
        write(tmp_path, [pa.record_batch({"id": pa.array([None], pa.int64())})], 2)
    assert raised.value.hint


def test_partition_fields_that_cannot_be_computed_here_are_refused(tmp_path: Path) -> None:
    spec = PartitionSpec(PartitionField(1, 1000, BucketTransform(4), "b"))
    make(tmp_path, NestedField(1, "id", LongType()), partition_spec=spec)
    with pytest.raises(IcebergUnfit, match=r"bucket\[4\]\(id\)") as raised:
        IcebergSink(catalog_of(tmp_path), TABLE).check(pa.schema([("id", pa.int64())]))
    assert raised.value.hint


def test_format_version_without_sequence_numbers_is_refused(tmp_path: Path) -> None:
    make(tmp_path, NestedField(1, "id", LongType()), properties={"format-version": "1"})
    with pytest.raises(IcebergUnfit, match="format version 1"):
        IcebergSink(catalog_of(tmp_path), TABLE).check(pa.schema([("id", pa.int64())]))


def test_table_that_is_missing_is_not_made_unless_it_may_be(tmp_path: Path) -> None:
    sink = IcebergSink(catalog_of(tmp_path), TABLE, create=False)
    with pytest.raises(IcebergMissing) as raised:
        sink.check(SCHEMA)
    assert raised.value.hint
    with pytest.raises(IcebergMissing):
        Attempt(place(tmp_path, create=False)).__enter__()
    IcebergSink(catalog_of(tmp_path), TABLE).check(SCHEMA)
    assert not (tmp_path / "warehouse").exists(), "a check makes nothing"


def test_files_written_before_the_partitioning_changed_are_added_as_they_are(tmp_path: Path) -> None:
    with Attempt(place(tmp_path, partition_by="name")) as attempt:
        committable = attempt.stage(0, 1, 1, 2)
        with table_of(catalog_of(tmp_path), TABLE) as table, table.update_spec() as update:
            update.remove_field("name")
        assert attempt.commit(committable) == [CommitStatus.DONE]
    with Attempt(place(tmp_path), token=2, previous={0: 1}) as attempt:
        assert attempt.commit(attempt.stage(0, 2, 3)) == [CommitStatus.DONE]
    assert ids(tmp_path) == [1, 2, 3]
    with table_of(catalog_of(tmp_path), TABLE) as table:
        assert sorted(row["id"] for row in table.scan("name = 'n2'").to_arrow().to_pylist()) == [2]
        assert len({task.file.spec_id for task in table.scan().plan_files()}) == 2


def test_files_written_before_a_column_was_renamed_and_one_added_are_added_as_they_are(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        committable = attempt.stage(0, 1, 1)
        with table_of(catalog_of(tmp_path), TABLE) as table, table.update_schema() as update:
            update.rename_column("name", "label")
            update.add_column("more", StringType())
        assert attempt.commit(committable) == [CommitStatus.DONE]
    assert read_table(catalog_of(tmp_path), TABLE).to_dicts() == [{"id": 1, "label": "n1", "price": 0.25, "more": None}]


def test_epoch_prepared_for_a_table_that_was_made_again_fails(tmp_path: Path) -> None:
    with Attempt(place(tmp_path)) as attempt:
        committable = attempt.stage(0, 1, 1)
        with load_catalog("default", **catalog_of(tmp_path)) as catalog:
            catalog.drop_table(TABLE)
        with Attempt(place(tmp_path), token=2):
            (outcome,) = attempt.outcomes(committable)
    assert outcome.status is CommitStatus.FAILED
    assert "made again" in outcome.reason


# ---------------------------------------------------------------- durability, secrets, errors


def test_what_the_catalog_points_at_is_on_the_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    write(tmp_path, [batch(1)])
    with table_of(catalog_of(tmp_path), TABLE) as table:
        snapshot = table.current_snapshot()
        needed = [table.metadata_location, snapshot.manifest_list]
        needed += [manifest.manifest_path for manifest in snapshot.manifests(table.io)]
        needed += [task.file.file_path for task in table.scan().plan_files()]
    files = {path.removeprefix("file://") for path in needed}
    directories = {str(Path(path).parent) for path in files}
    moved = {name for name in synced if "/.tmp/" in name}  # a data file is renamed to its place when it is on the disk
    assert {path for path in files if "/data/" not in path} <= synced
    assert moved
    assert directories <= synced


def test_secrets_of_the_catalog_do_not_print(tmp_path: Path) -> None:
    secret = f"sqlite:////nowhere/{'hush' * 3}/catalog.db"
    sink = IcebergSink({**catalog_of(tmp_path), "uri": Secret(secret)}, TABLE)
    with pytest.raises((IcebergUnavailable, IcebergFailed, IcebergMissing)) as raised:
        sink.check(SCHEMA)
    assert raised.value.__cause__ is None or secret not in str(raised.value.__cause__)
    for text in (str(raised.value), repr(sink.address), str(sink.address), repr(raised.value.fields)):
        assert "hush" not in text


@pytest.mark.parametrize(
    ("catalog", "table"), [({}, "a.b"), ({"type": "nonsense"}, "a.b"), ({"type": "sql"}, "a.b"), ("unheard-of", "a.b")]
)
def test_catalog_that_cannot_be_opened_says_what_it_needs(catalog: Any, table: str) -> None:
    with pytest.raises(IcebergMissing, match="catalog") as raised:
        IcebergSink(catalog, table).check(SCHEMA)
    assert "properties" in raised.value.hint


def test_arguments_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        IcebergSink(catalog_of(tmp_path), "orders")
    with pytest.raises(ConfigurationError, match="target_file_size"):
        IcebergSink(catalog_of(tmp_path), TABLE, target_file_size=0)
    with pytest.raises(ConfigurationError, match="name"):
        IcebergSink({"name": Secret("x")}, TABLE)


def test_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyiceberg.catalog", None)
    with pytest.raises(MissingExtra) as raised:
        IcebergSink(catalog_of(tmp_path), TABLE).check(SCHEMA)
    assert "krishiv-stream[iceberg]" in raised.value.hint


@pytest.mark.parametrize(
    ("error", "kind"),
    [("UnauthorizedError", IcebergRefused), ("ForbiddenError", IcebergRefused), ("ServerError", IcebergUnavailable)],
)
def test_errors_of_a_catalog_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, kind: type[Exception]
) -> None:
    import pyiceberg.exceptions

    def refuse(*args: Any) -> None:
        raise getattr(pyiceberg.exceptions, error)("no\nmore")

    monkeypatch.setattr(SqlCatalog, "load_table", refuse)
    with pytest.raises(kind) as raised:
        IcebergSink(catalog_of(tmp_path), TABLE).check(SCHEMA)
    assert raised.value.hint  # type: ignore[attr-defined]


def test_damaged_metadata_is_named(tmp_path: Path) -> None:
    write(tmp_path, [pa.record_batch({"id": [1]})])
    with table_of(catalog_of(tmp_path), TABLE) as table:
        Path(table.metadata_location.removeprefix("file://")).write_text("{")
    with pytest.raises(IcebergFailed) as raised:
        IcebergSink(catalog_of(tmp_path), TABLE).check(SCHEMA)
    assert raised.value.hint
