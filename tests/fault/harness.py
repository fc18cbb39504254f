"""Runs a job in child processes, kills it, runs it again, and has the output read by readers that are not ours."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tests.fault.child import SCHEMA
from tests.support import iceberg
from tests.support.delta import read_table
from tests.support.kafka_reader import read_topic
from tests.support.objects import READERS, read_objects

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parents[2]

WINDOWS = {"tumble": 10, "hop": 5}


def make_input(folder: Path, *, rows: int, files: int = 3, kind: str = "parquet", seed: int = 0) -> str:
    """Write `rows` bids over 60 s of event time, up to 2 s out of order, into `files` files; returns their pattern."""
    random_numbers = np.random.default_rng(seed)
    times = np.linspace(0, 60_000_000, rows, dtype=np.int64)
    jitter = random_numbers.integers(0, 2_000_000, rows)
    table = pa.table(
        {
            "id": np.arange(rows),
            "auction": random_numbers.integers(0, 50, rows),
            "price": random_numbers.integers(0, 1_000, rows),
            "date_time": pa.array(np.maximum(times - jitter, 0)).cast(pa.timestamp("us", tz="UTC")),
        },
        schema=SCHEMA,
    )
    folder.mkdir(parents=True)
    share = -(-rows // files)
    for number in range(files):
        _write(table.slice(number * share, share), folder / f"part-{number}.{kind}", kind)
    return str(folder / f"*.{kind}")


def _write(table: pa.Table, path: Path, kind: str) -> None:
    match kind:
        case "parquet":
            pq.write_table(table, path, row_group_size=2_000)
        case "csv":
            pa_csv.write_csv(table, path)
        case _:
            pl.from_arrow(table).write_ndjson(path)  # type: ignore[union-attr]  # a table gives a frame


@dataclass
class Run:
    """How one child process ended."""

    code: int
    lines: list[dict[str, Any]]
    stderr: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


@dataclass
class Job:
    """A job's spec, and the processes that ran it."""

    folder: Path
    spec: dict[str, Any]
    runs: list[Run] = field(default_factory=list)

    def run(self, failpoints: str = "", kill_after: float | None = None, timeout: float = 60) -> Run:
        """Run one process to its end: killed by a failpoint, after `kill_after` seconds of running, or finished."""
        with self.process(failpoints) as process:
            killer = _Killer(process, kill_after)
            lines = [json.loads(line) for line in killer.lines()]
            stderr = process.stderr.read() if process.stderr is not None else ""
            code = process.wait(timeout)
            killer.close()
        self.runs.append(Run(code, lines, stderr))
        return self.runs[-1]

    @contextmanager
    def process(self, failpoints: str = "") -> Generator[subprocess.Popen[str]]:
        """Start one process; it is killed if it is still there at the end of the block."""
        path = self.folder / f"spec-{len(self.runs)}.json"
        path.write_text(json.dumps(self.spec))
        environ = {**os.environ, "KRISHIV_FAILPOINTS": failpoints}
        command = [sys.executable, "-m", "tests.fault.child", str(path)]
        with subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def finish(self) -> None:
        """Run until the job is finished, without any more kills."""
        run = self.run()
        assert run.code == 0, run.stderr
        assert run.lines[-1]["state"] == "finished"

    def check(self) -> None:
        """Compare every output with the batch answer: rows lost and rows doubled are both zero."""
        for shape, sink in self.spec["sinks"].items():
            expected = expected_rows(self.spec.get("answer", self.spec["source"]), shape)
            for reader, actual in read_output(sink).items():
                lost, extra = _difference(expected, actual)
                assert (lost, extra) == (0, 0), f"{shape} read by {reader}: {lost} rows lost, {extra} too many"


class _Killer:
    """Kills a process some time after it said that its job started."""

    def __init__(self, process: subprocess.Popen[str], after: float | None) -> None:
        self._process = process
        self._after = after
        self._timer: threading.Timer | None = None

    def lines(self) -> list[str]:
        """Return every line that the process prints until it ends."""
        found: list[str] = []
        for line in self._process.stdout or ():
            found.append(line)
            if self._after is not None and self._timer is None:
                self._timer = threading.Timer(self._after, self._process.kill)
                self._timer.start()
        return found

    def close(self) -> None:
        """Forget the kill if the process ended before it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()


def expected_rows(source: dict[str, Any], shape: str) -> list[tuple[Any, ...]]:
    """Return the batch answer of `shape`, by duckdb over the input files."""
    reader = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_json"}[source["kind"]]
    rows = f"(select * from {reader}('{source['pattern']}') where price > 10)"
    if shape == "rows":
        return _sorted(duckdb.sql(f"select id, auction, price from {rows}").fetchall())
    starts = f"unnest(range({10 // WINDOWS[shape]}))" if shape == "hop" else "0"
    step = WINDOWS[shape]
    query = f"""
        with moments as (select *, epoch_us(date_time::timestamptz) as us, {starts} as back from {rows}),
        windows as (select *, (us // {step * 1_000_000} - back) * {step * 1_000_000} as start from moments)
        select auction, start, start + 10000000, count(*), sum(price)::bigint, max(price) from windows group by all
    """
    return _sorted(duckdb.sql(query).fetchall())


def read_output(sink: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of an output as each of two independent readers sees them."""
    if sink["kind"] == "kafka":
        return {"a plain consumer": _topic_rows(sink)}
    if sink["kind"] == "postgres":
        return {"a plain client": _table_rows(sink)}
    if sink["kind"] == "iceberg":
        place = (sink["catalog"], sink["table"], sink.get("client"))
        return {"polars": _frame_rows(iceberg.read_table(*place)), "pyiceberg": _frame_rows(iceberg.scan_table(*place))}
    if sink["kind"] == "objects":
        return {reader: _frame_rows(read_objects(sink["url"], sink["reader"], reader)) for reader in READERS}
    path = sink["path"]
    if sink["kind"] == "delta":
        return {"polars": _frame_rows(read_table(path, sink.get("client")))}
    if sink["kind"] == "sqlite":
        return {"sqlite3": _sqlite_rows(path)}
    if sink["kind"] == "parquet":
        pattern = f"{path}/**/*.parquet"
        by_duckdb = duckdb.sql(f"select * from read_parquet('{pattern}')").pl()
        by_polars = pl.read_parquet(pattern)
    else:
        pattern = f"{path}/**/*.ndjson"
        by_duckdb = duckdb.sql(f"select * from read_json('{pattern}')").pl()
        by_polars = pl.concat([pl.read_ndjson(file) for file in sorted(Path(path).rglob("*.ndjson"))])
    return {"duckdb": _frame_rows(by_duckdb), "polars": _frame_rows(by_polars)}


def _topic_rows(sink: dict[str, Any]) -> list[tuple[Any, ...]]:
    records = read_topic({"bootstrap.servers": sink["brokers"]}, sink["topic"])
    return _frame_rows(pl.read_ndjson(b"\n".join(record.value or b"" for record in records)))


def _table_rows(sink: dict[str, Any]) -> list[tuple[Any, ...]]:
    with psycopg.connect(sink.get("read_dsn", sink["dsn"])) as connection:
        cursor = connection.execute(f"select * from {sink['table']}".encode())
        names = [column.name for column in cursor.description or ()]
        frame = pl.DataFrame(cursor.fetchall(), schema=names, orient="row")
    return _frame_rows(frame)


def _sqlite_rows(path: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        cursor = connection.execute("select * from out")
        names = [column[0] for column in cursor.description]
        frame = pl.DataFrame(cursor.fetchall(), schema=names, orient="row")
    finally:
        connection.close()
    return _frame_rows(frame)


def _frame_rows(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    times = [name for name in ("window_start", "window_end") if name in frame.columns]
    return _sorted(frame.with_columns([_microseconds(frame, name) for name in times]).rows())


def _microseconds(frame: pl.DataFrame, name: str) -> pl.Expr:
    kind = frame.schema[name]
    if kind == pl.String:
        return pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC").dt.epoch("us")
    return pl.col(name).dt.epoch("us") if isinstance(kind, pl.Datetime) else pl.col(name)


def _sorted(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(int(value) for value in row) for row in rows)


def _difference(expected: list[tuple[Any, ...]], actual: list[tuple[Any, ...]]) -> tuple[int, int]:
    from collections import Counter

    wanted, found = Counter(expected), Counter(actual)
    return (wanted - found).total(), (found - wanted).total()


def random_moments(seed: int, count: int, longest: float) -> list[float]:
    """Return `count` moments, seconds after the start, drawn from `seed`."""
    numbers = random.Random(seed)
    return [numbers.uniform(0.05, longest) for _ in range(count)]
