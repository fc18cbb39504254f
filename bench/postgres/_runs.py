"""What is run, each in a process of its own: ``python -m bench.postgres._runs``, a `Run` in, a `Spent` out."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

import krishiv_stream as ks
from bench._sinks import DropSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["READING", "WRITING", "Run", "Spent", "check", "make_input", "spent_on"]

_BATCH = 65_536
"""Rows in a batch, as the engine reads them."""
_TOGETHER = 16
_DDL = "(id int8 {}, auction int8, price int8, date_time timestamptz, channel text)"


class Run(msgspec.Struct, frozen=True):
    """One run.

    Parameters
    ----------
    name : str
        One of `WRITING` or `READING`.
    dsn : str
    table : str
        A fresh one that is written, or the one that is read.
    files : str
        The pattern of the Parquet files.
    rows : int
        How many there are in them, and in the table that is read.
    work : str
        A folder for checkpoints.
    """

    name: str
    dsn: str
    table: str
    files: str
    rows: int
    work: str


class Spent(msgspec.Struct, frozen=True):
    """What a run took.

    Parameters
    ----------
    seconds : float
        From before the first connection is made to after the last row is committed or read.
    cpu_seconds : float
        Of all threads in that time. The server's are not in it.
    """

    seconds: float
    cpu_seconds: float


def spent_on(run: Run) -> Spent:
    """Run it in a fresh process and return what it took.

    Raises
    ------
    subprocess.CalledProcessError
        If it failed; its own words are on standard error.
    """
    command = [sys.executable, "-m", "bench.postgres._runs"]
    done = subprocess.run(command, input=msgspec.json.encode(run), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Spent)


def make_input(folder: Path, rows: int, files: int = 4) -> str:
    """Write `rows` rows into Parquet files, and return their pattern."""
    folder.mkdir(parents=True)
    share = rows // files
    for number in range(files):
        ids = np.arange(number * share, rows if number == files - 1 else (number + 1) * share)
        times = pa.array(1_700_000_000_000_000 + ids * 100).cast(pa.timestamp("us", tz="UTC"))
        channel = pa.array(["web", "app", "shop", "phone"]).take(pa.array(ids % 4))
        table = {"id": ids, "auction": ids * 7 % 10_000, "price": ids % 1_000, "date_time": times, "channel": channel}
        pq.write_table(pa.table(table), folder / f"part-{number}.parquet")
    return str(folder / "*.parquet")


def check(dsn: str, table: str, rows: int) -> None:
    """Raise if the table does not hold every row once."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"SELECT count(*), count(DISTINCT id), sum(id) FROM {table}".encode()).fetchone()
    if found != (rows, rows, rows * (rows - 1) // 2):
        raise AssertionError(f"{table} holds {found}, not {rows} rows once")


# ---------------------------------------------------------------- into a table


def bare_copy(run: Run) -> None:
    """COPY of what pgpq encodes, in one transaction."""
    with psycopg.connect(run.dsn) as connection:
        _copy(connection, run.table, list(_batches(run)))


def bare_copies(run: Run) -> None:
    """The same, in a transaction for every few batches, about as many as ours has in an epoch."""
    batches = _batches(run)
    with psycopg.connect(run.dsn) as connection:
        while gathered := list(islice(batches, _TOGETHER)):
            _copy(connection, run.table, gathered)
            connection.commit()


def append(run: Run) -> None:
    """Exactly once."""
    _durably(run, ks.PostgresSink(run.dsn, run.table))


def bare_upsert(run: Run) -> None:
    """COPY into a temporary table and a merge, in a transaction for each batch of 50,000."""
    columns = "id, auction, price, date_time, channel"
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", ")[1:])
    with psycopg.connect(run.dsn) as connection:
        connection.execute(f"CREATE TEMP TABLE batch ON COMMIT DELETE ROWS AS TABLE {run.table} WITH NO DATA".encode())
        connection.commit()
        for batch in _batches(run, 50_000):
            _copy(connection, "batch", [batch])
            merge = f"INSERT INTO {run.table} ({columns}) SELECT {columns} FROM batch ON CONFLICT (id)"
            connection.execute(f"{merge} DO UPDATE SET {changes}".encode())
            connection.commit()


def upsert(run: Run) -> None:
    """Effectively once."""
    _durably(run, ks.PostgresSink(run.dsn, run.table, mode="upsert", keys="id"))


def _copy(connection: Any, table: str, batches: list[pa.RecordBatch]) -> None:
    import pgpq

    encoder = pgpq.ArrowToPostgresBinaryEncoder(batches[0].schema)
    names = ", ".join(batches[0].schema.names)
    with connection.cursor().copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.write(encoder.write_header())
        for batch in batches:
            copy.write(encoder.write_batch(batch))
        copy.write(encoder.finish())


def _batches(run: Run, rows: int = _BATCH) -> Iterator[pa.RecordBatch]:
    for path in sorted(Path(run.files).parent.glob("*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(rows)


def _durably(run: Run, sink: ks.Sink) -> None:
    pipeline = ks.read(ks.ParquetSource(run.files), name="rows").write(sink, name="out")
    with tempfile.TemporaryDirectory(dir=run.work) as folder:
        session = ks.Session(
            profile="single-node-durable", data_dir=folder, checkpoint_interval="1s", allow_uncertified=True
        )
        session.run(pipeline, job="bench")


# ---------------------------------------------------------------- out of a table


def bare_read(run: Run) -> None:
    """One statement, by ADBC."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(run.dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {run.table} ORDER BY id")
        found = sum(batch.num_rows for batch in cursor.fetch_record_batch())
    _expect(found, run)


def read_one(run: Run) -> None:
    """One range."""
    _drop(run, 1)


def read_four(run: Run) -> None:
    """Four ranges."""
    _drop(run, 4)


def _drop(run: Run, splits: int) -> None:
    sink = DropSink()
    source = ks.PostgresSource(run.dsn, f"SELECT * FROM {run.table}", split_by="id", splits=splits)
    ks.Session().run(ks.read(source, name="rows").write(sink, name="out"), job="bench")
    _expect(sink.rows, run)


def _expect(found: int, run: Run) -> None:
    if found != run.rows:
        raise AssertionError(f"{run.name} read {found} of {run.rows} rows")


WRITING: dict[str, tuple[Callable[[Run], None], str]] = {
    "bare COPY, one transaction": (bare_copy, ""),
    "bare COPY, a transaction for 16 batches": (bare_copies, ""),
    "ours, append, exactly once": (append, ""),
    "bare upsert": (bare_upsert, "PRIMARY KEY"),
    "ours, upsert": (upsert, "PRIMARY KEY"),
}
"""What writes, and the constraint of the column `id` of the table that it writes to."""
READING: dict[str, Callable[[Run], None]] = {
    "bare read": bare_read,
    "ours, one range": read_one,
    "ours, four ranges": read_four,
}


def make_table(dsn: str, table: str, constraint: str = "") -> None:
    """Make an empty table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {table} {_DDL.format(constraint)}".encode())


def main() -> None:
    """Run what stdin says."""
    run = msgspec.json.decode(sys.stdin.buffer.read(), type=Run)
    chosen = READING[run.name] if run.name in READING else WRITING[run.name][0]
    for name in ("pgpq", "adbc_driver_postgresql.dbapi", "datafusion"):  # imports are not measured
        __import__(name)
    _ = (ks.PostgresSink, ks.PostgresSource, ks.ParquetSource, ks.Session)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    chosen(run)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    spent = Spent(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    sys.stdout.buffer.write(msgspec.json.encode(spent))


if __name__ == "__main__":
    main()
