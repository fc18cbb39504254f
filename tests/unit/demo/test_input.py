"""What the demo finds out about its input: rows, disorder, the batch answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import krishiv_stream as ks
from krishiv_stream._demo._batch_answer import batch_answer
from krishiv_stream._demo._bids import write_bids
from krishiv_stream._demo._input import look_at
from krishiv_stream._demo._question import Question

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, *files: list[int | None], unit: str = "us") -> ks.ParquetSource:
    """Write files ``0.parquet`` and so on with a column `time` of these ticks."""
    for number, ticks in enumerate(files):
        pq.write_table(pa.table({"time": pa.array(ticks, pa.timestamp(unit))}), folder / f"{number}.parquet")
    return ks.ParquetSource(folder)


def disorder(source: ks.ParquetSource) -> int:
    """Return how far out of order its rows are."""
    return look_at(source, "time").disorder


def test_disorder_is_zero_when_rows_come_in_order(tmp_path: Path) -> None:
    assert disorder(write(tmp_path, [1, 2, 2], [2, 9])) == 0


def test_disorder_is_the_farthest_that_a_row_is_behind_an_earlier_one(tmp_path: Path) -> None:
    assert disorder(write(tmp_path, [5, 3, 10, 8, 11])) == 2


def test_disorder_counts_across_files_and_batches(tmp_path: Path) -> None:
    assert disorder(write(tmp_path, [1, 50], [20, 60], [55])) == 30


@pytest.mark.parametrize(("unit", "microseconds"), [("s", 3_000_000), ("ms", 3_000), ("us", 3), ("ns", 1)])
def test_disorder_is_in_microseconds_rounded_up(tmp_path: Path, unit: str, microseconds: int) -> None:
    assert disorder(write(tmp_path, [10, 7], unit=unit)) == microseconds


def test_disorder_passes_over_rows_without_a_time(tmp_path: Path) -> None:
    assert disorder(write(tmp_path, [None, 5, None, 4], [None])) == 1


@given(st.lists(st.lists(st.integers(0, 100), max_size=8), min_size=1, max_size=4))
def test_disorder_makes_no_row_late(tmp_path_factory: pytest.TempPathFactory, files: list[list[int]]) -> None:
    delay = disorder(write(tmp_path_factory.mktemp("files"), *files))
    times = [time for file in files for time in file]
    behind = [max(times[: number + 1]) - time for number, time in enumerate(times)]
    assert delay == max(behind, default=0)


def test_rows_are_counted_per_file(tmp_path: Path) -> None:
    facts = look_at(write(tmp_path, [1, 2], [], [None]), "time")
    assert facts.rows == {f"{tmp_path}/{number}.parquet": rows for number, rows in enumerate((2, 0, 1))}
    assert facts.total == 3


def test_bids_are_as_many_as_asked_for_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        question = write_bids(tmp_path / name, rows=10_001, seed=seed)
        tables.append(pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / name).iterdir())))
        assert question.pattern.startswith(str(tmp_path))
    assert [table.num_rows for table in tables] == [10_001] * 3
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def answer(folder: Path, columns: dict[str, Any], question: Question) -> list[tuple[Any, ...]]:
    """Return the rows of the batch answer over one file, window starts in seconds since 1970."""
    path = folder / "in.parquet"
    pq.write_table(pa.table(columns), path)
    frame = batch_answer(question, [str(path)])
    named = frame.with_columns(frame["window_start"].dt.epoch("s"), frame["window_end"].dt.epoch("s"))
    return sorted(named.rows(), key=repr)


def test_batch_answer_groups_by_null_keys_and_quotes_what_needs_it(tmp_path: Path) -> None:
    columns = {
        'the "key"': ["a", None, None, "a"],
        "When": pa.array([-1, 0, 9_999_999, 10_000_000], pa.timestamp("us")),
        "select": [1, None, 3, 4],
    }
    question = Question(pattern="", event_time="When", key='the "key"', value="select")
    found = answer(tmp_path, columns, question)
    assert found == [("a", -10, 0, 1, 1, 1), ("a", 10, 20, 1, 4, 4), (None, 0, 10, 1, 3, 3)]


@pytest.mark.parametrize(("above", "rows"), [(1.0, 2), (1.5, 2), (3.0, 1), (-1.0, 3)])
def test_batch_answer_keeps_values_above_the_bound(tmp_path: Path, above: float, rows: int) -> None:
    columns = {"k": [1, 1, 1, 1], "t": pa.array([0] * 4, pa.timestamp("ms")), "v": [1, None, 3, 4]}
    question = Question(pattern="", event_time="t", key="k", value="v", above=above)
    assert [row[3] for row in answer(tmp_path, columns, question)] == [rows]


def test_batch_answer_counts_rows_when_there_is_no_value(tmp_path: Path) -> None:
    columns = {"k": [1, 1, 2], "t": pa.array([0, 0, 11], pa.timestamp("s", tz="UTC"))}
    found = answer(tmp_path, columns, Question(pattern="", event_time="t", key="k"))
    assert found == [(1, 0, 10, 2), (2, 10, 20, 1)]


def test_batch_answer_adds_up_magnitudes_of_floats(tmp_path: Path) -> None:
    columns = {"k": np.array([0.0, -0.0]), "t": pa.array([0, 0], pa.timestamp("us")), "v": [1.5, -2.5]}
    found = answer(tmp_path, columns, Question(pattern="", event_time="t", key="k", value="v"))
    assert found == [(0.0, 0, 10, 2, -1.0, 1.5, 4.0)]
