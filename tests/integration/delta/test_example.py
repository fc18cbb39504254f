"""The example from Parquet files to a Delta table, as its README says: its own commands, each in its own process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import polars as pl
import pytest

from tests.support.delta import warm_up

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).parents[3]
README = (ROOT / "examples" / "parquet_to_delta" / "README.md").read_text()
ORDERS = 100_000

warm_up()


def command(pattern: str) -> list[str]:
    """Return the one command line of the README that matches, to be run in any folder."""
    (line,) = re.findall(rf"^    ({pattern}.*)$", README, re.MULTILINE)
    words = line.split()
    front = {"python": [sys.executable], "krishiv-stream": [sys.executable, "-m", "krishiv_stream"]}[words[0]]
    return [*front, *(str(ROOT / word) if word.startswith("examples/") else word for word in words[1:])]


def environment() -> dict[str, str]:
    """Return the environment of a command: this one, and no settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KRISHIV_")}


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done


def run_and_kill(words: list[str], folder: Path) -> dict[str, Any]:
    """Run the job, kill it once it has committed results, and return what it said last."""
    process = subprocess.Popen(words, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        for text in cast("IO[str]", process.stdout):
            line: dict[str, Any] = json.loads(text)
            if line["rows_out"] and line.get("committed"):
                return line
    finally:
        process.kill()
        process.communicate()
    raise AssertionError("it ended before it was killed")


def written(folder: Path) -> list[tuple[Any, ...]]:
    """Return the results in the table, in order."""
    seconds = pl.col("window_start").dt.epoch("s").alias("second")
    return pl.read_delta(str(folder / "revenue")).select("country", seconds, "orders", "cents").sort(pl.all()).rows()


def batch_answer(folder: Path) -> list[tuple[Any, ...]]:
    """Return revenue per country and minute, by duckdb over the files."""
    answer = f"""
        select country, epoch(time_bucket(interval '1 minute', placed))::bigint, count(*), sum(cents)::bigint
        from read_parquet('{folder}/orders/*.parquet') group by all order by all
    """
    with duckdb.connect() as database:
        return database.execute(answer).fetchall()


@pytest.mark.slow
@pytest.mark.kill
def test_the_example_is_exact_after_a_kill(tmp_path: Path) -> None:
    run([*command("python .*fill"), str(ORDERS)], tmp_path)
    job = command("krishiv-stream run")
    killed = run_and_kill(job, tmp_path)
    assert 0 < killed["rows_in"] < ORDERS
    before = len(written(tmp_path))
    assert before > 0, "it was killed before readers saw anything"
    ended = json.loads(run(job, tmp_path).stdout.splitlines()[-1])
    assert (ended["state"], ended["guarantee"]) == ("finished", "exactly_once")
    assert 0 < ended["rows_in"] < ORDERS, "it went on, and did not begin anew"
    expected = batch_answer(tmp_path)
    assert sum(row[2] for row in expected) == ORDERS
    assert written(tmp_path) == expected
    assert len(expected) > before
    said = run(command("python .*read"), tmp_path).stderr
    assert said == f"{len(expected)} results over {ORDERS} orders; 0 results came more than once\n"
    again = json.loads(run(job, tmp_path).stdout.splitlines()[-1])
    assert (again["state"], again["rows_in"]) == ("finished", 0)
    assert written(tmp_path) == expected
