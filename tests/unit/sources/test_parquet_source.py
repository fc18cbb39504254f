"""Parquet files: positions, projection, following, and everything that can be wrong with a file."""

from __future__ import annotations

import copy
import os
import pickle
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from krishiv_connectors._errors import FileChanged, FileVanished, NoMatchingFiles, SchemaChanged, UnreadableFile
from krishiv_connectors.files import ParquetSource, _parquet_file
from tests.unit.sources.support import (
    available,
    batches,
    context,
    keep_times,
    make_old,
    position_after,
    read_all,
    read_in_lives,
    read_split,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(count: int, first: int = 0) -> pa.Table:
    """Return rows of several types, with nulls."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "text": pa.array([None if n % 7 == 3 else f"value {n % 50}" for n in numbers], pa.string()),
            "tag": pa.array([None if n % 5 == 1 else f"t{n % 3}" for n in numbers]).dictionary_encode(),
            "price": pa.array([n / 3 for n in numbers], pa.float64()),
            "date_time": pa.array([START + timedelta(seconds=n) for n in numbers], pa.timestamp("us", tz="UTC")),
        }
    )


def write(path: Path, table: pa.Table, row_group: int = 100, **options: Any) -> Path:
    """Write a file with small row groups."""
    pq.write_table(table, path, row_group_size=row_group, **options)
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files decoded in chunks of 64 rows, so that small files have several."""
    monkeypatch.setattr(_parquet_file, "CHUNK_ROWS", 64)


def test_source_reads_all_rows_of_all_files_in_order(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", rows(250, 300))
    write(tmp_path / "a.parquet", rows(300))
    assert read_all(ParquetSource(tmp_path)).to_pylist() == rows(550).to_pylist()


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    row_group=st.sampled_from([7, 30, 64, 100, 128, 1000]),
    lives=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 150)), max_size=4),
)
def test_resuming_anywhere_equals_reading_through(tmp_path: Path, row_group: int, lives: list[tuple[int, int]]) -> None:
    table = rows(500)
    path = tmp_path / f"{row_group}.parquet"
    if not path.exists():
        write(path, table, row_group)
    source = ParquetSource(path)
    assert read_in_lives(source, source.splits()[0], lives) == table.to_pylist()


@pytest.mark.usefixtures("small_chunks")
def test_resuming_at_every_row_equals_reading_through(tmp_path: Path) -> None:
    table = rows(150)
    source = ParquetSource(write(tmp_path / "a.parquet", table, 40))
    (split,) = source.splits()
    for row in range(1, 151):
        position = position_after(source, split, row)
        assert (position["group"], position["row"]) == ((row // 40, row % 40) if row < 150 else (4, 0))
        rest = read_split(source, split, position)
        assert rest.to_pylist() == table.slice(row).to_pylist()


def test_restart_reads_no_row_group_before_the_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", rows(200_000), 70_000))
    (split,) = source.splits()
    position = position_after(source, split, 150_000)
    read: list[int] = []
    iter_batches = pq.ParquetFile.iter_batches

    def watched(self: pq.ParquetFile, size: int, *, row_groups: list[int], columns: list[str]) -> object:
        read.extend(row_groups)
        return iter_batches(self, size, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert read_split(source, split, position).column("id").to_pylist() == list(range(150_000, 200_000))
    assert read == [2]


def test_position_at_the_beginning_is_none(tmp_path: Path) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", rows(5)))
    with closing(source.open(source.splits()[0], None, context())) as reader:
        assert reader.position() is None


def test_only_the_columns_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(100).append_column("price.total", pa.array([1] * 100))
    source = ParquetSource(write(tmp_path / "a.parquet", table))
    asked: list[list[str]] = []
    iter_batches = pq.ParquetFile.iter_batches

    def watched(self: pq.ParquetFile, size: int, *, row_groups: list[int], columns: list[str]) -> object:
        asked.append(columns)
        return iter_batches(self, size, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    read = read_all(source, context(columns=("id", "price")))
    assert read.equals(table.select(["id", "price"]))
    assert asked == [["id", "price"]]
    assert read_all(source, context(columns=("price.total",))).column_names == ["price.total"]
    assert read_all(source, context(columns=())).num_rows == 100


def test_batches_have_exactly_the_schema_of_the_source(tmp_path: Path) -> None:
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False)], metadata={"made": "by hand"})
    write(tmp_path / "a.parquet", pa.table({"id": [1]}, schema=strict))
    write(tmp_path / "b.parquet", pa.table({"id": [2]}))
    source = ParquetSource(tmp_path)
    assert source.schema() == pa.schema([("id", pa.int64())])
    for split in source.splits():
        with closing(source.open(split, None, context())) as reader:
            for batch in batches(reader):
                assert batch.schema.equals(source.schema(), check_metadata=True)


def test_given_schema_picks_columns_and_lets_files_hold_more(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(10))
    write(tmp_path / "b.parquet", rows(10, 10).drop_columns(["text"]))
    source = ParquetSource(tmp_path, schema=pa.schema([("id", pa.int64())]))
    assert read_all(source).column("id").to_pylist() == list(range(20))


def test_file_without_rows_is_finished_at_once(tmp_path: Path) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", rows(0)))
    assert read_all(source).num_rows == 0


@pytest.mark.parametrize(
    ("other", "column", "says"),
    [
        (rows(5).drop_columns(["price"]), "price", "has no column 'price'"),
        (rows(5).set_column(0, "id", pa.array(["x"] * 5)), "id", "as string, not as int64"),
        (rows(5).append_column("more", pa.array([1] * 5)), "more", "that the files before it lack"),
    ],
)
def test_other_columns_in_a_later_file_name_the_file_and_the_column(
    tmp_path: Path, other: pa.Table, column: str, says: str
) -> None:
    write(tmp_path / "a.parquet", rows(5))
    write(tmp_path / "b.parquet", other)
    source = ParquetSource(tmp_path)
    with pytest.raises(SchemaChanged, match=says) as caught:
        source.open(source.splits()[1], None, context())
    assert caught.value.code == "KS-FILE-SCHEMA"
    assert caught.value.fields == {"path": str(tmp_path / "b.parquet"), "column": column}


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(SchemaChanged, match="two columns named 'a'"):
        ParquetSource(write(tmp_path / "a.parquet", table)).schema()


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_truncated_file_is_unreadable_by_name(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "a.parquet", rows(500))
    schema = ParquetSource(path).schema()
    os.truncate(path, kept if kept >= 0 else path.stat().st_size + kept)
    source = ParquetSource(path, schema=schema)
    with pytest.raises(UnreadableFile, match="truncated, or no Parquet file") as caught:
        source.open(source.splits()[0], None, context())
    assert caught.value.code == "KS-FILE-UNREADABLE"
    assert caught.value.fields == {"path": str(path)}
    with pytest.raises(UnreadableFile):
        ParquetSource(path).schema()


@pytest.mark.usefixtures("small_chunks")
def test_corrupt_page_gives_the_rows_before_it_and_then_its_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300), 100, write_page_checksum=True)
    good = path.read_bytes()
    spoil(path, group=2)
    source = ParquetSource(path)
    (split,) = source.splits()
    found: list[int] = []
    with closing(source.open(split, None, context())) as reader:
        ids = (number for batch in batches(reader) for number in batch.column("id").to_pylist())
        with pytest.raises(UnreadableFile) as caught:
            found.extend(ids)
        position = reader.position()
    assert found == list(range(200))
    assert caught.value.fields == {"path": str(path)}
    path.write_bytes(good)
    assert read_split(source, split, position).column("id").to_pylist() == list(range(200, 300))


def spoil(path: Path, group: int) -> None:
    """Change a byte in the middle of a row group."""
    column = pq.read_metadata(path).row_group(group).column(3)
    with path.open("r+b") as file:
        file.seek(column.data_page_offset + column.total_compressed_size - 20)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 255]))


def test_file_that_vanished_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(10))
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 3)
    path.unlink()
    for start in (None, position):
        with pytest.raises(FileVanished, match=r"a\.parquet") as caught:
            source.open(split, start, context())
        assert caught.value.code == "KS-FILE-VANISHED"


def test_file_deleted_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    with closing(source.open(source.splits()[0], None, context(10))) as reader:
        found = available(reader, 10)
        path.unlink()
        found += [row for batch in batches(reader) for row in batch.to_pylist()]
    assert found == rows(300).to_pylist()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("changed_row", [0, 99, 119])
def test_changed_rows_before_the_position_are_refused(tmp_path: Path, changed_row: int) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 120)
    ids = list(range(300))
    ids[changed_row] = 150
    write(path, rows(300).set_column(0, "id", pa.array(ids)))
    with pytest.raises(FileChanged, match=r"a\.parquet") as caught:
        source.open(split, position, context())
    assert caught.value.code == "KS-FILE-CHANGED"
    assert caught.value.fields == {"path": str(path)}


def test_change_that_the_footer_does_not_show_is_refused(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    table = rows(300).select(["id"])
    path = write(tmp_path / "a.parquet", table, **plain)
    before = path.stat()
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 120)
    write(path, pa.table({"id": list(range(1, 301))}), **plain)
    make_old(path)
    assert path.stat().st_size == before.st_size
    with pytest.raises(FileChanged):
        source.open(split, position, context())


def test_footer_that_changed_in_an_untouched_looking_file_is_looked_into(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    path = write(tmp_path / "a.parquet", pa.table({"id": list(range(300))}), **plain)
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 120)
    keep_times(path, lambda: write(path, pa.table({"id": list(range(1, 301))}), **plain))
    with pytest.raises(FileChanged):
        source.open(split, position, context())


@pytest.mark.usefixtures("small_chunks")
def test_file_mended_behind_the_position_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 120)
    mended = pa.concat_tables([rows(120), rows(280, 1_000)])
    write(path, mended)
    assert read_split(source, split, position).to_pylist() == mended.slice(120).to_pylist()


@pytest.mark.usefixtures("small_chunks")
def test_second_mending_is_checked_against_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 70)
    mended = pa.concat_tables([rows(128), rows(172, 1_000)])
    write(path, mended)
    with closing(source.open(split, position, context(30))) as reader:
        available(reader, 90)
        position = reader.position()
    write(path, rows(300))
    with pytest.raises(FileChanged):
        source.open(split, position, context())
    write(path, mended)
    assert read_split(source, split, position).to_pylist() == mended.slice(160).to_pylist()


def test_file_that_is_shorter_than_the_position_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    (split,) = source.splits()
    position = position_after(source, split, 250)
    write(path, rows(200))
    with pytest.raises(FileChanged):
        source.open(split, position, context())


def test_unread_file_may_be_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(10))
    source = ParquetSource(path)
    (split,) = source.splits()
    write(path, rows(20, 5))
    assert read_split(source, split, None).to_pylist() == rows(20, 5).to_pylist()


def test_file_written_to_while_it_is_read_is_refused_at_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(300))
    source = ParquetSource(path)
    with closing(source.open(source.splits()[0], None, context(10))) as reader:
        available(reader, 10)
        make_old(path)
        with pytest.raises(FileChanged, match="while it was read"):
            list(batches(reader))
        assert not reader.finished


def test_follow_finds_new_files_and_keeps_old_ones(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", rows(5))
    source = ParquetSource(tmp_path, follow=True)
    first = source.splits()
    write(tmp_path / "c.parquet", rows(5))
    assert [split.id for split in source.splits()] == [first[0].id, str(tmp_path / "c.parquet")]
    (tmp_path / "b.parquet").unlink()
    assert [split.id for split in source.splits()] == [str(tmp_path / "c.parquet")]


def test_follow_awaits_a_file_without_a_footer(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", rows(50)).read_bytes()
    path = tmp_path / "in" / "a.parquet"
    path.parent.mkdir()
    path.write_bytes(whole[: len(whole) // 2])
    source = ParquetSource(path.parent, follow=True, schema=ParquetSource(tmp_path / "whole").schema())
    (split,) = source.splits()
    assert source.event_time_minimum(split, "date_time") is None
    with closing(source.open(split, None, context())) as reader:
        assert reader.read() is None
        assert not reader.finished
        assert reader.position() is None
        path.write_bytes(whole)
        found = [row for batch in batches(reader) for row in batch.to_pylist()]
    assert found == rows(50).to_pylist()


def test_follow_says_when_an_awaited_file_vanished(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    source = ParquetSource(tmp_path, follow=True, schema=pa.schema([("id", pa.int64())]))
    with closing(source.open(source.splits()[0], None, context())) as reader:
        until(reader, lambda: True)
        path.unlink()
        with pytest.raises(FileVanished):
            reader.read()


def test_follow_without_a_complete_file_asks_for_a_schema(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(NoMatchingFiles, match="columns are not known") as caught:
        ParquetSource(tmp_path, follow=True).schema()
    assert "schema=" in caught.value.hint


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_event_time_minimum_is_in_microseconds(tmp_path: Path, unit: str) -> None:
    times = [START + timedelta(seconds=n) for n in (5, 2, 9)]
    table = pa.table({"id": [1, 2, 3], "t": pa.array(times, pa.timestamp(unit, tz="UTC"))})
    source = ParquetSource(write(tmp_path / "a.parquet", table, 2))
    (split,) = source.splits()
    assert source.event_time_minimum(split, "t") == int((START.timestamp() + 2) * 1_000_000)


def test_event_time_minimum_is_unknown_without_statistics_or_timestamps(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", rows(10), write_statistics=False)
    write(tmp_path / "b.parquet", rows(10))
    source = ParquetSource(tmp_path)
    first, second = source.splits()
    assert source.event_time_minimum(first, "date_time") is None
    assert source.event_time_minimum(second, "id") is None
    assert source.event_time_minimum(second, "absent") is None


def test_event_time_minimum_passes_over_groups_of_nulls(tmp_path: Path) -> None:
    times = pa.array([None, None, START, START], pa.timestamp("us", tz="UTC"))
    source = ParquetSource(write(tmp_path / "a.parquet", pa.table({"t": times}), 2))
    assert source.event_time_minimum(source.splits()[0], "t") == int(START.timestamp() * 1_000_000)


def test_capabilities_depend_on_follow(tmp_path: Path) -> None:
    bounded, unbounded = ParquetSource(tmp_path), ParquetSource(tmp_path, follow=True)
    assert bounded.capabilities().bounded
    assert not bounded.capabilities().discovers_splits
    assert not unbounded.capabilities().bounded
    assert unbounded.capabilities().discovers_splits
    assert unbounded.capabilities().exact_positions
    assert bounded.guarantee_config() != unbounded.guarantee_config()
    assert bounded.sequential


def test_source_is_configuration_that_can_be_copied_and_sent(tmp_path: Path) -> None:
    source = ParquetSource(write(tmp_path / "a.parquet", rows(10)))
    source.schema()
    for twin in (copy.copy(source), pickle.loads(pickle.dumps(source))):  # noqa: S301  our own bytes
        assert read_all(twin).to_pylist() == rows(10).to_pylist()
    assert repr(source) == f"ParquetSource('{tmp_path / 'a.parquet'}')"
