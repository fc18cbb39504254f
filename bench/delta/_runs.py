"""What is run, each in a process of its own: ``python -m bench.delta._runs``, a `Run` in, a `Spent` out."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import deltalake
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import krishiv_stream as ks
from bench._sinks import DropSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["READING", "UPSERTING", "WRITING", "Run", "Spent", "check", "make_input", "spent_on"]

_BATCH = 65_536
"""Rows in a batch, as the engine reads them."""


class Run(msgspec.Struct, frozen=True):
    """One run.

    Parameters
    ----------
    name : str
        One of `WRITING`, `UPSERTING` or `READING`.
    table : str
        A folder: fresh, or the table that is read.
    files : str
        The pattern of the Parquet files.
    rows : int
        How many there are in them, and in the table that is read.
    work : str
        A folder for checkpoints.
    """

    name: str
    table: str
    files: str
    rows: int
    work: str


class Spent(msgspec.Struct, frozen=True):
    """What a run took.

    Parameters
    ----------
    seconds : float
        To after the last row is committed or read.
    cpu_seconds : float
        Of all threads in that time.
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
    command = [sys.executable, "-m", "bench.delta._runs"]
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


def check(table: str, rows: int) -> None:
    """Raise if the table does not hold every row once, as polars reads it."""
    import polars as pl

    ids = pl.scan_delta(table).select(pl.len(), pl.col("id").n_unique().alias("ids"), pl.col("id").max().alias("most"))
    found = ids.collect().row(0)
    if found != (rows, rows, rows - 1):
        raise AssertionError(f"{table} holds {found} rows, ids, greatest id; wanted: {rows}, each once")


# ---------------------------------------------------------------- into a table


def bare_one_commit(run: Run) -> None:
    """Write everything at once."""
    batches = _batches(run)
    first = next(batches)
    reader = pa.RecordBatchReader.from_batches(first.schema, _chained(first, batches))
    deltalake.write_deltalake(run.table, reader)


def bare_sixteen(run: Run) -> None:
    """Write as many batches at a time as ours has in an epoch of half a second or so."""
    _loop(run, 16)


def bare_each(run: Run) -> None:
    """Write batch by batch."""
    _loop(run, 1)


def _loop(run: Run, together: int) -> None:
    batches = _batches(run)
    while piece := list(islice(batches, together)):
        deltalake.write_deltalake(run.table, pa.Table.from_batches(piece), mode="append")


def append(run: Run) -> None:
    """Exactly once."""
    _durably(run, ks.DeltaSink(run.table))


def bare_merge(run: Run) -> None:
    """Merge sixteen batches at a time."""
    batches = _batches(run)
    while piece := list(islice(batches, 16)):
        rows = pa.Table.from_batches(piece)
        if not deltalake.DeltaTable.is_deltatable(run.table):
            deltalake.write_deltalake(run.table, rows)
            continue
        merger = deltalake.DeltaTable(run.table).merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
        merger.when_matched_update_all().when_not_matched_insert_all().execute()


def upsert(run: Run) -> None:
    """Exactly once, by key."""
    _durably(run, ks.DeltaSink(run.table, mode="upsert", keys="id"))


def _batches(run: Run) -> Iterator[pa.RecordBatch]:
    for path in sorted(Path(run.files).parent.glob("*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(_BATCH)


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _durably(run: Run, sink: ks.Sink) -> None:
    pipeline = ks.read(ks.ParquetSource(run.files), name="rows").write(sink, name="out")
    with tempfile.TemporaryDirectory(dir=run.work) as folder:
        session = ks.Session(
            profile="single-node-durable", data_dir=folder, checkpoint_interval="1s", allow_uncertified=True
        )
        session.run(pipeline, job="bench")


# ---------------------------------------------------------------- out of a table


def bare_read(run: Run) -> None:
    """Read with pyarrow's dataset over the table's files."""
    dataset = deltalake.DeltaTable(run.table).to_pyarrow_dataset()
    _expect(sum(batch.num_rows for batch in dataset.to_batches(batch_size=_BATCH)), run)


def read(run: Run) -> None:
    """Read a snapshot."""
    sink = DropSink()
    ks.Session().run(ks.read(ks.DeltaSource(run.table), name="rows").write(sink, name="out"), job="bench")
    _expect(sink.rows, run)


def _expect(found: int, run: Run) -> None:
    if found != run.rows:
        raise AssertionError(f"{run.name} read {found} of {run.rows} rows")


WRITING: dict[str, Callable[[Run], None]] = {
    "write_deltalake, 16 batches a commit": bare_sixteen,
    "write_deltalake, each batch a commit": bare_each,
    "write_deltalake, one commit": bare_one_commit,
    "ours, append, exactly once": append,
}
UPSERTING: dict[str, Callable[[Run], None]] = {"merge, 16 batches a commit": bare_merge, "ours, upsert": upsert}
READING: dict[str, Callable[[Run], None]] = {"pyarrow dataset": bare_read, "ours, a snapshot": read}


def main() -> None:
    """Run what stdin says."""
    run = msgspec.json.decode(sys.stdin.buffer.read(), type=Run)
    chosen = {**WRITING, **UPSERTING, **READING}[run.name]
    for name in ("datafusion", "deltalake.transaction", "polars", "pyarrow.dataset"):  # imports are not measured
        __import__(name)
    _ = (ks.DeltaSink, ks.DeltaSource, ks.ParquetSource, ks.Session)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    chosen(run)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    spent = Spent(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    sys.stdout.buffer.write(msgspec.json.encode(spent))


if __name__ == "__main__":
    main()
