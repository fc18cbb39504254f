"""A Delta table is read exactly once over restarts: snapshots, versions, partitions, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pytest

from krishiv_connectors import DeltaSource, SourceContext
from krishiv_connectors._errors import FileVanished, SchemaChanged
from krishiv_connectors.delta._errors import DeltaMissing, DeltaUnfit, RowsRemoved, VersionGone, is_passing
from tests.support.delta import warm_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from krishiv_connectors import Reader

warm_up()


def append(table: Path, ids: Iterable[int], **options: Any) -> None:
    values = list(ids)
    rows = pa.table({"id": pa.array(values, pa.int64()), "day": [f"d/{n % 3}" if n % 3 else None for n in values]})
    deltalake.write_deltalake(str(table), rows, mode="append", **options)


def read_all(reader: Reader[Any], most: int = 1_000) -> list[int]:
    """Read until the reader is finished, or has nothing for a while."""
    found: list[int] = []
    for _ in range(most):
        if reader.finished:
            break
        batch = reader.read()
        if batch is not None:
            found += batch.column("id").to_pylist()
    return found


def ids_of(source: DeltaSource, **options: Any) -> list[int]:
    found: list[int] = []
    for split in source.splits():
        reader = source.open(split, None, SourceContext(**options))
        found += read_all(reader)
        reader.close()
    return sorted(found)


def test_snapshot_is_read_whole_and_ends(tmp_path: Path) -> None:
    for first in (0, 10, 20):
        append(tmp_path, range(first, first + 10))
    assert ids_of(DeltaSource(tmp_path)) == list(range(30))


def test_time_travel_and_what_versions_add(tmp_path: Path) -> None:
    for first in (0, 10, 20):
        append(tmp_path, range(first, first + 10))
    assert ids_of(DeltaSource(tmp_path, version=1)) == list(range(20))
    assert ids_of(DeltaSource(tmp_path, start_version=1)) == list(range(10, 30))


def test_partition_columns_come_from_the_log(tmp_path: Path) -> None:
    append(tmp_path, range(6), partition_by=["day"])
    source = DeltaSource(tmp_path, splits=1)
    reader = source.open(source.splits()[0], None, SourceContext())
    rows: list[dict[str, Any]] = []
    while not reader.finished:
        batch = reader.read()
        rows += [] if batch is None else batch.to_pylist()
    reader.close()
    assert {row["id"]: row["day"] for row in rows} == {n: f"d/{n % 3}" if n % 3 else None for n in range(6)}


@pytest.mark.parametrize("stop", range(1, 12))
def test_reading_goes_on_at_any_position(tmp_path: Path, stop: int) -> None:
    for first in (0, 7, 14):
        append(tmp_path, range(first, first + 7))
    source = DeltaSource(tmp_path, splits=2)
    found: list[int] = []
    for split in source.splits():
        context = SourceContext(batch_rows=3)
        reader = source.open(split, None, context)
        for _ in range(stop):
            batch = reader.read()
            found += [] if batch is None else batch.column("id").to_pylist()
        position = json.loads(json.dumps(reader.position()))
        reader.close()
        append(tmp_path, [100])  # no part of the snapshot that was begun
        again = DeltaSource(tmp_path, splits=2).open(split, position, context)
        found += read_all(again)
        again.close()
    assert sorted(found) == list(range(21))


def test_followed_table_gives_what_later_versions_add_and_passes_over_compaction(tmp_path: Path) -> None:
    append(tmp_path, range(5))
    source = DeltaSource(tmp_path, follow=True, splits=1)
    (split,) = source.splits()
    reader = source.open(split, None, SourceContext())
    assert sorted(read_all(reader, 20)) == [0, 1, 2, 3, 4]
    append(tmp_path, range(5, 8))
    deltalake.DeltaTable(str(tmp_path)).optimize.compact()
    append(tmp_path, [8])
    reader.close()
    again = source.open(split, reader.position(), SourceContext())
    assert sorted(read_all(again, 50)) == [5, 6, 7, 8]
    again.close()


def test_version_that_takes_rows_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    append(tmp_path, range(5))
    deltalake.DeltaTable(str(tmp_path)).delete("id = 3")
    source = DeltaSource(tmp_path, start_version=0, splits=1)
    reader = source.open(source.splits()[0], None, SourceContext())
    with pytest.raises(RowsRemoved, match="version 1") as raised:
        read_all(reader)
    assert "start_version=2" in (raised.value.hint or "")
    reader.close()


def test_version_that_was_cleaned_up_is_an_error(tmp_path: Path) -> None:
    append(tmp_path, [1])
    append(tmp_path, [2])
    source = DeltaSource(tmp_path, start_version=0, splits=1)
    split = source.splits()[0]
    deltalake.DeltaTable(str(tmp_path)).create_checkpoint()
    (tmp_path / "_delta_log" / f"{0:020d}.json").unlink()
    reader = source.open(split, None, SourceContext())
    with pytest.raises(VersionGone):
        read_all(reader)
    reader.close()


def test_file_that_vacuum_removed_is_named(tmp_path: Path) -> None:
    append(tmp_path, [1])
    source = DeltaSource(tmp_path, splits=1)
    split = source.splits()[0]
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    reader = source.open(split, None, SourceContext())
    with pytest.raises(FileVanished) as raised:
        read_all(reader)
    assert raised.value.hint
    reader.close()


def test_added_columns_are_null_before_they_were_there(tmp_path: Path) -> None:
    append(tmp_path, [1])
    more = pa.table({"id": [2], "day": ["x"], "price": [1.5]})
    deltalake.write_deltalake(str(tmp_path), more, mode="append", schema_mode="merge")
    source = DeltaSource(tmp_path, splits=1)
    reader = source.open(source.splits()[0], None, SourceContext(columns=("id", "price")))
    rows: list[dict[str, Any]] = []
    while not reader.finished:
        batch = reader.read()
        rows += [] if batch is None else batch.to_pylist()
    reader.close()
    assert sorted(rows, key=lambda row: row["id"]) == [{"id": 1, "price": None}, {"id": 2, "price": 1.5}]


def test_there_must_be_a_table(tmp_path: Path) -> None:
    with pytest.raises(DeltaMissing) as raised:
        DeltaSource(tmp_path / "nothing").schema()
    assert raised.value.hint
    append(tmp_path / "t", [1])
    with pytest.raises(DeltaMissing):
        DeltaSource(tmp_path / "t", version=7).splits()


def test_column_mapping_is_refused(tmp_path: Path) -> None:
    append(tmp_path, [1], configuration={"delta.columnMapping.mode": "name"})
    with pytest.raises(DeltaUnfit, match="column mapping"):
        DeltaSource(tmp_path).schema()


MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678, dt.UTC)
PARTITIONS = {
    "moment": (pa.timestamp("us", "UTC"), MOMENT),
    "local": (pa.timestamp("us"), MOMENT.replace(tzinfo=None)),
    "day": (pa.date32(), dt.date(2026, 1, 2)),
    "price": (pa.decimal128(9, 2), Decimal("1.20")),
    "half": (pa.float64(), 0.5),
    "flag": (pa.bool_(), False),
    "small": (pa.int8(), -7),
    "text": (pa.string(), "a b/ü%=&"),
}


@pytest.mark.parametrize("begin", [{}, {"start_version": 0}], ids=["snapshot", "versions"])
@pytest.mark.parametrize("name", PARTITIONS)
def test_partition_values_of_others_come_back_as_they_were(tmp_path: Path, name: str, begin: dict[str, Any]) -> None:
    kind, value = PARTITIONS[name]
    table = pa.table({"id": [1, 2], name: pa.array([value, None], kind)})
    deltalake.write_deltalake(str(tmp_path), table, partition_by=[name])
    assert {row["id"]: row[name] for row in rows_of(DeltaSource(tmp_path, **begin))} == {1: value, 2: None}


def rows_of(source: DeltaSource, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for split in source.splits():
        reader = source.open(split, None, SourceContext(**options))
        while not reader.finished:
            batch = reader.read()
            found += [] if batch is None else batch.to_pylist()
        reader.close()
    return found


def test_partition_value_as_others_write_moments_is_understood(tmp_path: Path) -> None:
    kind, value = PARTITIONS["moment"]
    deltalake.write_deltalake(str(tmp_path), pa.table({"id": [1], "p": pa.array([value], kind)}), partition_by=["p"])
    entry = tmp_path / "_delta_log" / f"{0:020d}.json"
    entry.write_text(entry.read_text().replace('"2026-01-02 03:04:05.000678"', '"2026-01-02T03:04:05.000678Z"'))
    assert rows_of(DeltaSource(tmp_path, start_version=0)) == [{"id": 1, "p": value}]
    assert rows_of(DeltaSource(tmp_path)) == [{"id": 1, "p": value}]


def test_binary_partition_column_is_refused(tmp_path: Path) -> None:
    deltalake.write_deltalake(str(tmp_path), pa.table({"id": [1], "p": [b"\xff"]}), partition_by=["p"])
    with pytest.raises(DeltaUnfit, match="binary"):
        DeltaSource(tmp_path).schema()


def test_files_come_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    for first in range(8):
        append(tmp_path, [first, 100 + first])
        time.sleep(0.002)  # the log counts milliseconds
    assert [row["id"] for row in rows_of(DeltaSource(tmp_path, splits=1)) if row["id"] < 100] == list(range(8))


def followed(table: Path, **options: Any) -> Reader[Any]:
    source = DeltaSource(table, follow=True, splits=1, **options)
    source.schema()
    (split,) = source.splits()
    return source.open(split, None, SourceContext())


WIDER = pa.table({"id": [2], "day": ["x"], "price": [1.5]})


def test_version_that_adds_a_column_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    append(tmp_path, [1])
    reader = followed(tmp_path)
    deltalake.write_deltalake(str(tmp_path), WIDER, mode="append", schema_mode="merge")
    with pytest.raises(SchemaChanged, match="price") as raised:
        read_all(reader, 40)
    assert "schema=" in (raised.value.hint or "")
    reader.close()


@pytest.mark.parametrize("more", [False, True])
def test_columns_that_were_given_are_read_whatever_is_added(tmp_path: Path, more: bool) -> None:
    append(tmp_path, [1])
    given = pa.schema([("id", pa.int64()), *([("price", pa.float64())] if more else [])])
    reader = followed(tmp_path, schema=given)
    deltalake.write_deltalake(str(tmp_path), WIDER, mode="append", schema_mode="merge")
    found: list[dict[str, Any]] = []
    for _ in range(40):
        batch = reader.read()
        found += [] if batch is None else batch.to_pylist()
    reader.close()
    assert found == ([{"id": 1, "price": None}, {"id": 2, "price": 1.5}] if more else [{"id": 1}, {"id": 2}])


def edit_log(table: Path, version: int, change: Callable[[dict[str, Any]], None]) -> None:
    entry = table / "_delta_log" / f"{version:020d}.json"
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        change(action)
    entry.write_text("\n".join(map(json.dumps, actions)))


def new_version(table: Path, action: dict[str, Any]) -> None:
    log = table / "_delta_log"
    version = len(list(log.glob("*.json")))
    (log / f"{version:020d}.json").write_text(json.dumps(action))


def metadata(table: Path) -> dict[str, Any]:
    lines = (table / "_delta_log" / f"{0:020d}.json").read_text().splitlines()
    found: dict[str, Any] = next(action["metaData"] for action in map(json.loads, lines) if "metaData" in action)
    return found


def test_version_that_changes_a_type_is_an_error(tmp_path: Path) -> None:
    append(tmp_path, [1])
    reader = followed(tmp_path)
    changed = metadata(tmp_path)
    changed["schemaString"] = changed["schemaString"].replace('"long"', '"string"')
    new_version(tmp_path, {"metaData": changed})
    with pytest.raises(SchemaChanged, match="'id' string"):
        read_all(reader, 40)
    reader.close()


def test_version_that_maps_columns_is_refused(tmp_path: Path) -> None:
    append(tmp_path, [1])
    reader = followed(tmp_path)
    new_version(tmp_path, {"metaData": {**metadata(tmp_path), "configuration": {"delta.columnMapping.mode": "name"}}})
    with pytest.raises(DeltaUnfit, match="column mapping"):
        read_all(reader, 40)
    reader.close()


def test_deletion_vectors_of_a_later_version_are_refused(tmp_path: Path) -> None:
    append(tmp_path, [1])
    reader = followed(tmp_path)
    append(tmp_path, [2])

    def mark(action: dict[str, Any]) -> None:
        if "add" in action:
            action["add"]["deletionVector"] = {"storageType": "u", "pathOrInlineDv": "x" * 20, "sizeInBytes": 1}

    edit_log(tmp_path, 1, mark)
    with pytest.raises(DeltaUnfit, match="deletion vectors"):
        read_all(reader, 40)
    reader.close()


def test_snapshot_that_was_cleaned_up_is_an_error_that_says_so(tmp_path: Path) -> None:
    for _ in range(3):
        append(tmp_path, [1])
    source = DeltaSource(tmp_path, version=1, splits=1)
    (split,) = source.splits()
    source.schema()
    deltalake.DeltaTable(str(tmp_path)).create_checkpoint()
    for version in range(3):
        (tmp_path / "_delta_log" / f"{version:020d}.json").unlink(missing_ok=True)
    reader = source.open(split, None, SourceContext())
    with pytest.raises(VersionGone, match="version 1"):
        read_all(reader)
    reader.close()


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        (
            "Generic S3 error: Error performing PUT http://h/500/503.json in 1s - HTTP error: error sending request",
            True,
        ),
        ("Server returned non-2xx status code: 503 Service Unavailable", True),
        ("operation timed out", True),
        ("cannot parse /t/_delta_log/00000000000000000500.json", False),
        ("Invalid data found in part-503.parquet", False),
    ],
)
def test_trouble_that_passes_is_told_from_trouble_that_stays(text: str, passing: bool) -> None:
    assert is_passing(OSError(text)) is passing
