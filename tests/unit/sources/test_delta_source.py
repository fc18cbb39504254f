"""A Delta table is read exactly once over restarts: snapshots, versions, partitions, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pytest

from krishiv_connectors import DeltaSource, SourceContext
from krishiv_connectors._errors import FileVanished
from krishiv_connectors.delta._errors import DeltaMissing, DeltaUnfit, RowsRemoved, VersionGone
from tests.support.delta import warm_up

if TYPE_CHECKING:
    from collections.abc import Iterable
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
