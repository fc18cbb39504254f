"""Iceberg tables as a source: snapshots, and what later ones add."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.types import StringType

from krishiv_connectors import IcebergSource, SourceContext
from krishiv_connectors._errors import FileVanished, SchemaChanged
from krishiv_connectors.iceberg._errors import IcebergMissing, SnapshotGone, SnapshotTakesRows
from krishiv_guarantees import ConfigurationError
from tests.support.iceberg import catalog_of, table_of, warm_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krishiv_connectors import Split

warm_up()

TABLE = "shop.orders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table of ``id`` and ``name``, empty."""
    with load_catalog("default", **catalog_of(tmp_path)) as catalog:
        catalog.create_namespace("shop")
        catalog.create_table(TABLE, schema=pa.schema([("id", pa.int64()), ("name", pa.string())]))
    return tmp_path


def append(folder: Path, *ids: int) -> int:
    with table_of(catalog_of(folder), TABLE) as table:
        table.append(pa.table({"id": list(ids), "name": [f"n{number}" for number in ids]}))
        return int(table.current_snapshot().snapshot_id)


def change(folder: Path, do: Any) -> int:
    with table_of(catalog_of(folder), TABLE) as table:
        do(table)
        return int(table.current_snapshot().snapshot_id)


class Reading:
    """A source that is read, split by split, the way a subtask does it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.source = IcebergSource(catalog_of(folder), TABLE, **options)
        self.context = SourceContext(batch_rows=options.pop("batch_rows", 3))

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def rows(self, split: Split, position: Any = None, limit: int | None = None) -> Iterator[tuple[Any, int]]:
        """Give each batch's position after it and its ids until nothing comes."""
        reader = self.source.open(split, position, self.context)
        try:
            idle = 0
            while not reader.finished and idle < 4:
                batch = reader.read()
                idle = 0 if batch is not None else idle + 1
                if batch is not None:
                    yield reader.position(), batch.column("id").to_pylist()
            self.ended = reader.finished
            self.at = reader.position()
        finally:
            reader.close()

    def all(self) -> list[int]:
        """Return the ids of all splits."""
        return sorted(n for split in self.source.splits() for _, ids in self.rows(split) for n in ids)


def test_snapshot_is_read_as_it_was(folder: Path) -> None:
    first = append(folder, 1, 2)
    append(folder, 3)
    with Reading(folder) as now, Reading(folder, snapshot_id=first) as then:
        assert now.all() == [1, 2, 3]
        assert then.all() == [1, 2]
        assert then.ended


def test_every_position_leads_to_exactly_the_rest(folder: Path) -> None:
    for start in range(0, 40, 10):
        append(folder, *range(start, start + 10))
    with Reading(folder, splits=2) as reading:
        for split in reading.source.splits():
            read = list(reading.rows(split))
            everything = [n for _, ids in read for n in ids]
            assert len(everything) == 20
            seen = 0
            for position, ids in read:
                seen += len(ids)
                assert [n for _, rest in reading.rows(split, position) for n in rest] == everything[seen:]


def test_later_snapshots_are_read_as_they_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krishiv_connectors.iceberg._iceberg_reader._LOOK", 0.0)
    append(folder, 1)
    with Reading(folder, follow=True, splits=1) as reading:
        (split,) = reading.source.splits()
        assert [ids for _, ids in reading.rows(split)] == [[1]]
        at = reading.at
        append(folder, 2)
        append(folder, 3)
        assert [ids for _, ids in reading.rows(split, at)] == [[2], [3]]
        assert not reading.ended
        assert [ids for _, ids in reading.rows(split, reading.at)] == []


def test_following_begins_in_a_table_that_is_empty_or_behind_a_snapshot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_connectors.iceberg._iceberg_reader._LOOK", 0.0)
    with Reading(folder, follow=True, splits=1) as reading:
        (split,) = reading.source.splits()
        assert list(reading.rows(split)) == []
        first = append(folder, 1)
        append(folder, 2)
        assert [ids for _, ids in reading.rows(split, reading.at)] == [[1], [2]]
    with Reading(folder, follow=True, start_snapshot_id=first, splits=1) as reading:
        (split,) = reading.source.splits()
        assert [ids for _, ids in reading.rows(split)] == [[2]]


@pytest.mark.parametrize(
    "take",
    [
        lambda table: table.delete("id = 1"),
        lambda table: table.overwrite(pa.table({"id": [9], "name": ["n"]})),
        lambda table: table.delete("id > 0"),
    ],
    ids=["delete", "overwrite", "delete everything"],
)
def test_snapshot_that_takes_rows_away_stops_a_job_that_follows(
    folder: Path, take: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_connectors.iceberg._iceberg_reader._LOOK", 0.0)
    append(folder, 1, 2)
    with Reading(folder, follow=True, splits=1) as reading:
        (split,) = reading.source.splits()
        list(reading.rows(split))
        change(folder, take)
        with pytest.raises(SnapshotTakesRows) as raised:
            list(reading.rows(split, reading.at))
    assert raised.value.hint


def test_snapshot_that_was_expired_or_taken_back_stops_a_job_that_follows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_connectors.iceberg._iceberg_reader._LOOK", 0.0)
    first = append(folder, 1)
    second = append(folder, 2)
    with Reading(folder, follow=True, splits=1) as reading:
        (split,) = reading.source.splits()
        list(reading.rows(split))
        at = reading.at
        change(folder, lambda table: table.manage_snapshots().rollback_to_snapshot(first).commit())
        with pytest.raises(SnapshotGone):
            list(reading.rows(split, at))
        append(folder, 3)
        with pytest.raises(SnapshotGone):
            list(reading.rows(split, at))
    with Reading(folder, snapshot_id=second, splits=1) as reading:
        (split,) = reading.source.splits()
        reading.source.schema()
        change(folder, lambda table: table.maintenance.expire_snapshots().by_id(second).commit())
        with pytest.raises(SnapshotGone) as raised:
            list(reading.rows(split))
    assert raised.value.hint


def test_rows_that_were_expired_before_they_were_read_are_missed_loudly(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_connectors.iceberg._iceberg_reader._LOOK", 0.0)
    with Reading(folder, follow=True, splits=1) as reading:
        (split,) = reading.source.splits()
        first = append(folder, 1)
        append(folder, 2)
        change(folder, lambda table: table.maintenance.expire_snapshots().by_id(first).commit())
        with pytest.raises(SnapshotGone):
            list(reading.rows(split))


def test_columns_that_a_file_lacks_are_null_and_renamed_ones_keep_their_values(folder: Path) -> None:
    append(folder, 1)

    def evolve(table: Any) -> None:
        with table.update_schema() as update:
            update.rename_column("name", "label")
            update.add_column("more", StringType())

    change(folder, evolve)
    with Reading(folder, splits=1) as reading:
        schema = reading.source.schema()
        assert schema == pa.schema([("id", pa.int64()), ("label", pa.string()), ("more", pa.string())])
        (split,) = reading.source.splits()
        reader = reading.source.open(split, None, reading.context)
        batch = None
        while batch is None:
            batch = reader.read()
        assert batch.to_pylist() == [{"id": 1, "label": "n1", "more": None}]
        reader.close()


def test_columns_that_were_dropped_are_named(folder: Path) -> None:
    append(folder, 1)
    with Reading(folder, splits=1) as reading:
        (split,) = reading.source.splits()
        reading.source.schema()

        def drop(table: Any) -> None:
            with table.update_schema() as update:
                update.delete_column("name")

        change(folder, drop)
        with pytest.raises(SchemaChanged) as raised:
            list(reading.rows(split))
    assert raised.value.hint


def test_only_the_columns_asked_for_are_read(folder: Path) -> None:
    append(folder, 1)
    source = IcebergSource(catalog_of(folder), TABLE, splits=1)
    context = SourceContext(columns=("name",))
    reader = source.open(source.splits()[0], None, context)
    batch = None
    while batch is None:
        batch = reader.read()
    assert batch.to_pylist() == [{"name": "n1"}]
    reader.close()
    context.close()


def test_data_file_that_is_gone_is_named(folder: Path) -> None:
    append(folder, 1)
    with table_of(catalog_of(folder), TABLE) as table:
        (task,) = table.scan().plan_files()
        Path(task.file.file_path.removeprefix("file://")).unlink()
    with Reading(folder, splits=1) as reading, pytest.raises(FileVanished) as raised:
        reading.all()
    assert raised.value.hint


def test_what_is_not_there_is_refused_before_the_job_runs(folder: Path) -> None:
    with pytest.raises(IcebergMissing):
        IcebergSource(catalog_of(folder), "shop.nothing").splits()
    with pytest.raises(IcebergMissing, match="no snapshot 7"):
        IcebergSource(catalog_of(folder), TABLE, snapshot_id=7).splits()
    with pytest.raises(ConfigurationError, match="start_snapshot_id"):
        IcebergSource(catalog_of(folder), TABLE, start_snapshot_id=7)
    with pytest.raises(ConfigurationError, match="splits"):
        IcebergSource(catalog_of(folder), TABLE, splits=0)


def test_capabilities_say_whether_it_ends(folder: Path) -> None:
    assert IcebergSource(catalog_of(folder), TABLE).capabilities().bounded
    followed = IcebergSource(catalog_of(folder), TABLE, follow=True)
    assert not followed.capabilities().bounded
    assert followed.capabilities().exact_positions
    assert followed.guarantee_config() == {"follow": True}
