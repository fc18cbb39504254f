"""Jobs into a table of PostgreSQL, and out of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg

from tests.fault.harness import Job, make_input

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMIT_STEPS", "RATE", "ROWS", "PostgresJob", "fill", "left_to_commit", "postgres_job", "within_commit"]

ROWS, RATE = 20_000, 16_000
COMMIT_STEPS = ("staged", "marked", "copied", "done")
"""Where ``commit.during`` is passed by each commit; "marked" when the mark is moved and "copied" when the rows are in,
within the open transaction; "done" when it is committed."""


@dataclass
class PostgresJob(Job):
    """A job that writes to a table."""

    def contents(self) -> list[tuple[Any, ...]]:
        """Return every row of the output and of the marks, with what the server knows of when they were written."""
        (sink,) = self.spec["sinks"].values()
        with psycopg.connect(sink.get("read_dsn", sink["dsn"])) as connection:
            rows = connection.execute(f"select xmin::text, ctid::text, * from {sink['table']}".encode()).fetchall()
            return [*rows, *connection.execute(b"select xmin::text, ctid::text, * from _krishiv_marks").fetchall()]

    def entries(self) -> list[str]:
        """Return the names of the entries in its log."""
        return sorted(path.name for path in self.log.glob("*.json"))

    @property
    def log(self) -> Path:
        """The folder of its log."""
        return Path(self.spec["session"]["data_dir"]) / "jobs" / "job" / "log"


def postgres_job(
    folder: Path,
    dsn: str,
    *,
    read_dsn: str | None = None,
    shape: str = "rows",
    source: str = "parquet",
    sink: str = "postgres",
    seed: int = 0,
    rate: int = RATE,
    options: Mapping[str, Any] | None = None,
    **session: Any,
) -> PostgresJob:
    """Return a job over fresh input.

    Parameters
    ----------
    dsn : str
        Where the job connects.
    read_dsn : str, optional
        Where readers from outside connect; by default as the job does.
    source, sink : "postgres" or "parquet"
        What it reads and writes.
    """
    pattern = make_input(folder / "in", rows=ROWS, seed=seed)
    answer = {"kind": "parquet", "pattern": pattern}
    target: dict[str, Any] = {"kind": "parquet", "path": str(folder / shape)}
    if sink == "postgres":
        target = {"kind": "postgres", "dsn": dsn, "table": f"out_{shape}", "options": dict(options or {})}
        target |= {"read_dsn": read_dsn or dsn}
    if source == "postgres":
        fill(read_dsn or dsn, pattern)
    table = {"kind": "postgres", "dsn": dsn, "query": "SELECT * FROM bids", "options": {"splits": 3}}
    spec = {
        "source": table if source == "postgres" else answer,
        "answer": answer,
        "rate": rate,
        "sinks": {shape: target},
        "session": {"data_dir": str(folder / "data"), "checkpoint_interval": "100ms", "parallelism": 2, **session},
    }
    return PostgresJob(folder, spec)


def fill(dsn: str, pattern: str) -> None:
    """Write the rows of Parquet files into a table ``bids``, as CSV."""
    rows = duckdb.sql(f"select id, auction, price, date_time from read_parquet('{pattern}')").pl()
    with psycopg.connect(dsn) as connection:
        connection.execute("create table bids (id int8 primary key, auction int8, price int8, date_time timestamptz)")
        with connection.cursor().copy("copy bids from stdin (format csv)") as copy:
            copy.write(rows.write_csv(include_header=False))


def within_commit(step: str, nth: int = 6) -> int:
    """Return which pass of ``commit.during`` is `step` of the `nth` commit: slots commit one after the other."""
    return len(COMMIT_STEPS) * (nth - 1) + COMMIT_STEPS.index(step) + 1


def left_to_commit(job: PostgresJob) -> dict[int, list[int]]:
    """Return, by slot, the epochs of which the newest manifest does not say that they are applied."""
    entries = [json.loads(path.read_bytes())["entry"] for path in sorted(job.log.glob("*.json"))]
    newest: dict[str, Any] = [entry for entry in entries if entry["type"] == "manifest"][-1]
    epochs: dict[int, list[int]] = {}
    for each in newest["pending"]:
        epochs.setdefault(each["slot"], []).append(each["epoch"])
    return epochs
