"""The example from Parquet to S3, as its README says: its own commands, each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import duckdb
import pytest

from tests.services.s3.gateway import ACCESS_KEY, SECRET_KEY
from tests.support.objects import read_objects

if TYPE_CHECKING:
    from tests.services.s3.gateway import Gateway

pytestmark = [pytest.mark.server("s3"), pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
README = (ROOT / "examples" / "parquet_to_s3" / "README.md").read_text()
ORDERS = 100_000


def command(pattern: str) -> list[str]:
    """Return the one command line of the README that matches, to be run in any folder."""
    (line,) = re.findall(rf"^    ({pattern}.*)$", README, re.MULTILINE)
    words = line.split()
    front = {"python": [sys.executable], "krishiv-stream": [sys.executable, "-m", "krishiv_stream"]}[words[0]]
    return [*front, *(str(ROOT / word) if word.startswith("examples/") else word for word in words[1:])]


def environment(output: tuple[str, str]) -> dict[str, str]:
    """Return the environment of a command: this one, the bucket, and no settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KRISHIV_")}
    access = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
    url, endpoint = output
    return {**kept, **access, "S3_URL": url, "S3_ENDPOINT": endpoint}


def run(words: list[str], folder: Path, output: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        words, cwd=folder, env=environment(output), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def run_and_kill(words: list[str], folder: Path, output: tuple[str, str]) -> dict[str, Any]:
    """Run the job, kill it once it has committed results, and return what it said last."""
    process = subprocess.Popen(words, cwd=folder, env=environment(output), stdout=subprocess.PIPE, text=True)
    try:
        for text in cast("IO[str]", process.stdout):
            line: dict[str, Any] = json.loads(text)
            if line["rows_out"] and line.get("committed"):
                return line
    finally:
        process.kill()
        process.communicate()
    raise AssertionError("it ended before it was killed")


def written(output: tuple[str, str]) -> list[tuple[Any, ...]]:
    """Return the results in the bucket, in order."""
    url, endpoint = output
    server = {"endpoint": endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    frame = read_objects(url, server, "polars")
    if frame.is_empty():
        return []
    seconds = frame["window_start"].dt.epoch("s")
    return sorted(frame.select("country", seconds, "orders", "cents").rows())


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
def test_the_example_is_exact_after_a_kill(tmp_path: Path, s3: Gateway) -> None:
    output = (f"s3://{s3.new_bucket()}/revenue", s3.endpoint)
    run([*command("python .*fill"), str(ORDERS)], tmp_path, output)
    job = command("krishiv-stream run")
    killed = run_and_kill(job, tmp_path, output)
    assert 0 < killed["rows_in"] < ORDERS
    before = len(written(output))
    assert before > 0, "it was killed before readers saw anything"
    ended = json.loads(run(job, tmp_path, output).stdout.splitlines()[-1])
    assert (ended["state"], ended["guarantee"]) == ("finished", "exactly_once")
    assert 0 < ended["rows_in"] < ORDERS, "it went on, and did not begin anew"
    expected = batch_answer(tmp_path)
    assert sum(row[2] for row in expected) == ORDERS
    assert written(output) == expected
    assert len(expected) > before
    said = run(command("python .*read"), tmp_path, output).stderr
    assert said == f"{len(expected)} results over {ORDERS} orders; 0 results came more than once\n"
    again = json.loads(run(job, tmp_path, output).stdout.splitlines()[-1])
    assert (again["state"], again["rows_in"]) == ("finished", 0)
    assert written(output) == expected
