"""The demo's command line: what it refuses, and what it does when the output is not exact."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from krishiv_stream._cli import main
from krishiv_stream._cli._exits import Exit
from krishiv_stream._demo import _course
from krishiv_stream._demo._comparison import read_output

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

SMALL = ("demo", "--rows", "3000", "--rate", "30000", "--kills", "0", "--seed", "1", "--allow-uncertified")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--key", "k"), "--key without --input"),
        (("--input", "x.parquet", "--key", "k"), "--event-time"),
        (("--input", "x.parquet", "--event-time", "t"), "--key"),
        (("--input", "x.parquet", "--event-time", "t", "--key", "k", "--above", "1"), "--value"),
        (("--rows", "0"), "--rows"),
        (("--kills", "-1"), "--kills"),
    ],
)
def test_demo_refuses_flags_that_make_no_sense(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == Exit.USAGE
    assert said in capsys.readouterr().err


def test_demo_names_the_missing_column_before_it_does_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"k": [1], "t": pa.array([0], pa.timestamp("us"))}), tmp_path / "in.parquet")
    columns = ("--event-time", "t", "--key", "kk")
    assert main(["demo", "--input", str(tmp_path / "*.parquet"), *columns]) == Exit.USAGE
    assert "'kk'" in capsys.readouterr().err


def test_demo_refuses_a_folder_that_holds_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert main([*SMALL, "--keep", str(tmp_path)]) == Exit.USAGE
    assert "KS-DEMO-FOLDER" in capsys.readouterr().err
    assert (tmp_path / "mine").exists()


def test_demo_fails_and_keeps_everything_when_a_row_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_the_last(folder: Path) -> pl.DataFrame | None:
        rows = read_output(folder)
        return None if rows is None else rows[:-1]

    monkeypatch.setattr(_course, "read_output", without_the_last)
    kept = tmp_path / "kept"
    assert main([*SMALL, "--json", "--keep", str(kept)]) == Exit.FAILED
    printed = capsys.readouterr()
    assert str(kept) in printed.err
    result = json.loads(printed.out)
    assert result["exact"] is False
    assert (result["comparison"]["lost"], result["comparison"]["duplicated"]) == (1, 0)
    assert (kept / "bids").is_dir()
    assert (kept / "paced" / "output").is_dir()
