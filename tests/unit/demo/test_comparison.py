"""The demo's comparison sees every way in which an output can differ from the batch answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from krishiv_stream._demo._comparison import compare, read_output

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


def rows(count: int, **more: list[Any]) -> pl.DataFrame:
    """Return the answer over `count` keys, the first of them null, in one window."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    columns = {
        "key": [None, *(f"k{number}" for number in range(1, count))],
        "window_start": [start] * count,
        "window_end": [start.replace(second=10)] * count,
        "rows": list(range(1, count + 1)),
        "total": [10 * number for number in range(count)],
        "largest": list(range(count)),
    }
    return pl.DataFrame({**columns, **more})


def differences(expected: pl.DataFrame, found: pl.DataFrame | None) -> dict[str, int]:
    """Return the kinds of difference that are there, and how often."""
    comparison = compare(expected, found)
    kinds = {kind: getattr(comparison, kind) for kind in ("lost", "duplicated", "changed", "unexpected")}
    assert comparison.equal == (not any(kinds.values()))
    return {kind: count for kind, count in kinds.items() if count}


def test_comparison_finds_nothing_when_only_the_order_differs() -> None:
    assert differences(rows(5), rows(5).reverse()) == {}


@pytest.mark.parametrize("row", range(5))
def test_comparison_counts_a_row_that_is_lost(row: int) -> None:
    found = rows(5).with_row_index().filter(pl.col("index") != row).drop("index")
    assert differences(rows(5), found) == {"lost": 1}


def test_comparison_counts_every_row_as_lost_when_there_is_no_output() -> None:
    assert differences(rows(5), None) == {"lost": 5}


@pytest.mark.parametrize("row", range(5))
def test_comparison_counts_a_row_that_comes_twice(row: int) -> None:
    assert differences(rows(5), pl.concat([rows(5), rows(5)[row : row + 1]])) == {"duplicated": 1}


@pytest.mark.parametrize("column", ["window_end", "rows", "total", "largest"])
@pytest.mark.parametrize("row", [0, 3])
def test_comparison_counts_a_row_with_another_value(column: str, row: int) -> None:
    answer = rows(5)
    values = answer[column].to_list()
    values[row] = values[row].replace(second=11) if column == "window_end" else values[row] + 1
    changed = pl.Series(column, values, answer[column].dtype)
    assert differences(answer, answer.with_columns(changed)) == {"changed": 1}


def test_comparison_tells_null_from_a_value() -> None:
    found = rows(5).with_columns(total=pl.when(pl.col("key") == "k2").then(None).otherwise("total"))
    assert differences(rows(5), found) == {"changed": 1}
    assert differences(found, rows(5)) == {"changed": 1}
    assert differences(found, found) == {}


def test_comparison_counts_a_row_that_should_not_be_there() -> None:
    extra = rows(5)[:1].with_columns(key=pl.lit("stranger"))
    assert differences(rows(5), pl.concat([rows(5), extra])) == {"unexpected": 1}


def test_comparison_tells_windows_of_one_key_apart() -> None:
    later = rows(5).with_columns(pl.col("window_start", "window_end").dt.offset_by("10s"))
    assert differences(rows(5), later) == {"lost": 5, "unexpected": 5}


def test_comparison_counts_each_kind_when_all_happen_at_once() -> None:
    answer = rows(6)
    found = pl.concat([answer[1:], answer[5:], answer[:1].with_columns(key=pl.lit("stranger"))])
    found = found.with_columns(rows=pl.when(pl.col("key") == "k2").then(0).otherwise("rows"))
    assert differences(answer, found) == {"lost": 1, "duplicated": 1, "changed": 1, "unexpected": 1}


def test_comparison_shows_rows_of_each_kind() -> None:
    comparison = compare(rows(5), pl.concat([rows(5)[1:], rows(5)[4:]]))
    assert [row["key"] for row in comparison.examples["lost"]] == ["None"]
    assert [row["key"] for row in comparison.examples["duplicated"]] == ["k4"]
    assert set(comparison.examples) == {"lost", "duplicated"}


@pytest.mark.parametrize(("error", "kinds"), [(1e-12, {}), (1e-6, {"changed": 2})])
def test_comparison_allows_sums_of_floats_only_what_the_order_of_additions_changes(
    error: float, kinds: dict[str, int]
) -> None:
    answer = rows(2, total=[1e-3, float("nan")], scale=[1.0, 1.0])
    found = rows(2, total=[1e-3 + error, float("nan") if not kinds else 0.0])
    assert differences(answer, found) == kinds


def test_comparison_takes_dictionary_text_for_text() -> None:
    found = rows(5).with_columns(pl.col("key").cast(pl.Categorical))
    assert differences(rows(5), found) == {}


def test_output_is_read_from_every_epoch(tmp_path: Path) -> None:
    assert read_output(tmp_path) is None
    for number in range(3):
        (tmp_path / f"epoch-{number}").mkdir()
        rows(2).write_parquet(tmp_path / f"epoch-{number}" / "part-0-0.parquet")
    found = read_output(tmp_path)
    assert found is not None
    assert differences(rows(2), found) == {"duplicated": 4}
