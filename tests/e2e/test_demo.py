"""The demo as a user starts it: a process that starts, kills and starts again processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How the demo ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        assert self.out, self.err
        return json.loads(self.out)


def demo(*arguments: str) -> Outcome:
    """Run the demo with these flags."""
    command = [sys.executable, "-m", "krishiv_stream", "demo", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def own_files(folder: Path, rows: int) -> str:
    """Write files as a user might have them: text keys with nulls, values with gaps, times out of order, no zone."""
    numbers = np.random.default_rng(0)
    keys = np.array(["north", "south", "öst", "west's", None], dtype=object)[numbers.integers(0, 5, 2 * rows)]
    times = np.arange(2 * rows) * 1_000 + numbers.integers(0, 1_500_000, 2 * rows) - 30_000_000
    table = pa.table(
        {
            "Which Region": pa.array(keys, pa.string()),
            "measured": pa.array(numbers.normal(0, 1e3, 2 * rows), mask=numbers.random(2 * rows) < 0.1),
            "When": pa.array(times).cast(pa.timestamp("us")),
            "ignored": pa.nulls(2 * rows, pa.string()),
        }
    )
    folder.mkdir()
    for number in range(2):
        pq.write_table(table.slice(number * rows, rows), folder / f"part-{number}.parquet", row_group_size=7_000)
    return str(folder / "*.parquet")


@pytest.mark.slow
@pytest.mark.kill(kills=2)
def test_demo_survives_its_kills_and_its_output_is_the_batch_answer(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    flags = ("--rows", "100000", "--rate", "25000", "--kills", "2", "--seed", "7", "--allow-uncertified")
    outcome = demo(*flags, "--keep", str(kept), "--json")
    result = outcome.json
    assert outcome.code == 0
    assert result["exact"] is True
    assert len(result["kills"]) == 2
    assert all(kill["checkpoints"] > 0 and kill["unread"] > 0 for kill in result["kills"])
    assert (result["comparison"]["lost"], result["comparison"]["duplicated"]) == (0, 0)
    assert result["guarantee"]["level"] == "exactly_once"
    # Not by the demo's own word alone: another engine reads its input and its output.
    query = f"""
        select auction as key, epoch_us(date_time) // 10000000 as w, count(*), sum(price)::bigint, max(price)
        from read_parquet('{kept}/bids/*.parquet') where price > 1000 group by all order by all
    """
    output = f"""
        select key, epoch_us(window_start) // 10000000, rows, total, largest
        from read_parquet('{kept}/paced/output/*/*.parquet') order by all
    """
    expected = duckdb.sql(query).fetchall()
    assert len(expected) == result["comparison"]["expected"] > 1_000
    assert duckdb.sql(output).fetchall() == expected


@pytest.mark.kill(kills=1)
def test_demo_takes_a_users_own_files(tmp_path: Path) -> None:
    pattern = own_files(tmp_path / "my", rows=40_000)
    columns = ("--event-time", "When", "--key", "Which Region", "--value", "measured")
    kept = tmp_path / "kept"
    more = ("--rate", "35000", "--kills", "1", "--allow-uncertified", "--json", "--keep", str(kept))
    outcome = demo("--input", pattern, *columns, *more)
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert (result["rows"], result["files"], len(result["kills"])) == (80_000, 2, 1)
    assert 1_000_000 < result["delay"] < 1_500_000
    output = pl.read_parquet(f"{kept}/paced/output/*/*.parquet")
    assert set(output["key"]) == {"north", "south", "öst", "west's", None}
    assert output["rows"].sum() == pl.read_parquet(pattern)["measured"].count()


def test_demo_says_what_is_wrong_with_a_users_files(tmp_path: Path) -> None:
    pattern = own_files(tmp_path / "my", rows=1_000)
    (tmp_path / "my" / "part-2.parquet").write_bytes(b"PAR1 and no more")
    outcome = demo("--input", pattern, "--event-time", "When", "--key", "Which Region", "--allow-uncertified")
    assert outcome.code == 1
    assert "part-2.parquet" in outcome.err
    assert "hint" in outcome.err
