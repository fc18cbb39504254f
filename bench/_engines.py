"""The same query by each engine, measured inside the process that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from datafusion import ParquetWriterOptions, SessionConfig, SessionContext

import krishiv_stream as ks
from bench._measured import Engine, Measured, Output, Run, Stopwatch
from bench._queries import QUERIES
from bench._sinks import DropSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

__all__ = ["run"]

_WATERMARK_DELAY = "4s"
_LOOP_ROWS = 65_536


def run(what: Run) -> Measured:
    """Run `what` and measure it."""
    match what.engine:
        case Engine.OURS:
            return _ours(what)
        case Engine.BATCH:
            return _batch(what, [Path(what.files)])
        case Engine.BATCH_PER_FILE:
            return _batch(what, sorted(Path(what.files).iterdir()))
        case Engine.LOOP:
            return _loop(what)


def _ours(what: Run) -> Measured:
    files, query = Path(what.files), QUERIES[what.query]
    rows, sink = _count(files), _sink(what)
    bids = ks.read(
        ks.ParquetSource(files),
        event_time="date_time",
        watermark=ks.bounded_delay(_WATERMARK_DELAY) if query.windowed else None,
        name="bids",
    )
    pipeline = query.pipeline(bids).write(sink, name="results")
    watch = Stopwatch()
    with _session(what) as session, session.start(pipeline, job="bench") as handle:
        handle.wait()
        status = handle.status()
        return watch.measured(rows, status.rows_out, status.epoch_completed)


def _session(what: Run) -> ks.Session:
    if what.checkpoint_interval is None:
        return ks.Session(profile="dev-local", checkpoint_interval=None)
    return ks.Session(
        profile="single-node-durable",
        data_dir=Path(what.work) / "data",
        checkpoint_interval=what.checkpoint_interval,
        allow_uncertified=True,
    )


def _sink(what: Run) -> ks.Sink:
    return ks.ParquetSink(Path(what.work) / "output") if what.output is Output.PARQUET else DropSink()


def _batch(what: Run, places: Sequence[Path]) -> Measured:
    rows = _count(Path(what.files))
    output = Path(what.work) / "output"
    watch = Stopwatch()
    results = 0
    context = SessionContext(SessionConfig().with_target_partitions(2))
    for number, place in enumerate(places):
        context.deregister_table("bids")
        context.register_parquet("bids", place)
        frame = context.sql(QUERIES[what.query].sql)
        if what.output is Output.PARQUET:
            frame.write_parquet_with_options(output / str(number), ParquetWriterOptions(compression="snappy"))
            results += _count(output / str(number))
        else:
            results += sum(batch.to_pyarrow().num_rows for batch in frame.execute_stream())
    return watch.measured(rows, results)


def _loop(what: Run) -> Measured:
    loop = QUERIES[what.query].loop
    if loop is None:
        raise ValueError(f"{what.query} has no loop")
    rows = _count(Path(what.files))
    watch = Stopwatch()
    results = sum(loop.step(batch).num_rows for batch in _read(Path(what.files), loop.columns))
    return watch.measured(rows, results)


def _read(files: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in sorted(files.iterdir()):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(_LOOP_ROWS, columns=list(columns))


def _count(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
