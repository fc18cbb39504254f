"""A job in a process of its own, to be killed: ``python -m tests.fault.child SPEC.json``.

Prints one JSON line when the job runs, one per checkpoint, and one at the end.
"""

from __future__ import annotations

import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import krishiv_stream as ks
from krishiv_stream import col

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("auction", pa.int64()),
        pa.field("price", pa.int64()),
        pa.field("date_time", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of every input."""

ROUTED = pa.schema([(name, pa.int64()) for name in ("id", "auction", "price")] + [("topic", pa.string())])
"""Columns of the rows that go to several topics."""


def source(spec: dict[str, Any]) -> ks.Source[Any]:
    """Return the source that `spec` names."""
    match spec["kind"]:
        case "parquet":
            return ks.ParquetSource(spec["pattern"])
        case "csv":
            return ks.CsvSource(spec["pattern"], schema=SCHEMA)
        case "ndjson":
            return ks.JsonSource(spec["pattern"], schema=SCHEMA)
        case "delta":
            return ks.DeltaSource(spec["path"], **spec.get("options", {}))
        case "iceberg":
            return ks.IcebergSource(spec["catalog"], spec["table"], **spec.get("options", {}))
        case "kafka":
            options = {"until": "latest", **spec.get("options", {})}
            return ks.KafkaSource(spec["brokers"], spec["topic"], schema=SCHEMA, **options)
        case "postgres":
            return ks.PostgresSource(spec["dsn"], spec["query"], split_by="id", **spec.get("options", {}))
        case kind:
            raise ValueError(kind)


def sink(spec: dict[str, Any]) -> ks.Sink:
    """Return the sink that `spec` names."""
    match spec["kind"]:
        case "parquet":
            return ks.ParquetSink(spec["path"])
        case "ndjson":
            return ks.JsonSink(spec["path"])
        case "sqlite":
            return ks.SqliteSink(spec["path"], "out")
        case "delta":
            storage = ks.S3(**spec["storage"]) if "storage" in spec else None
            return ks.DeltaSink(spec["path"], storage=storage, **spec.get("options", {}))
        case "iceberg":
            return ks.IcebergSink(spec["catalog"], spec["table"], **spec.get("options", {}))
        case "kafka":
            return ks.KafkaSink(spec["brokers"], spec["topic"], key="auction", **spec.get("options", {}))
        case "objects":
            return ks.ParquetSink(spec["url"], storage=ks.S3(**spec["storage"]), **spec.get("options", {}))
        case "postgres":
            return ks.PostgresSink(spec["dsn"], spec["table"], **spec.get("options", {}))
        case kind:
            raise ValueError(kind)


def pipeline(spec: dict[str, Any]) -> ks.Pipeline:
    """Return the pipeline that `spec` describes."""
    rows = ks.read(
        source(spec["source"]),
        event_time="date_time",
        watermark=ks.bounded_delay("2s"),
        name="bids",
        max_rate=spec.get("rate"),
    ).filter(col("price") > 10)
    written = [
        _shape(rows, shape, spec["sinks"][shape].get("topic", [])).write(sink(spec["sinks"][shape]), name=shape)
        for shape in spec["sinks"]
    ]
    return written[0] if len(written) == 1 else ks.Pipeline.of(*written)


def _shape(rows: ks.Stream, shape: str, topics: list[str]) -> ks.Stream:
    if shape == "rows":
        return rows.select("id", "auction", "price")
    if shape == "routed":
        return rows.select("id", "auction", "price").map_batches(partial(_with_topic, topics), schema=ROUTED)
    windows = rows.key_by("auction").window(ks.tumble("10s") if shape == "tumble" else ks.hop("10s", "5s"))
    return windows.aggregate(bids=ks.count(), revenue=ks.sum("price"), top=ks.max("price"))


def _with_topic(topics: list[str], batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add the topic that a row goes to: rows with even ids to the first, others to the second."""
    odd = pc.bit_wise_and(batch.column("id"), 1)
    return batch.append_column("topic", pc.take(pa.array(topics), odd))


def main() -> None:
    """Run the job of the spec file named on the command line."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    settings = {"profile": "single-node-durable", "allow_uncertified": True, **spec["session"]}
    if "storage" in spec:
        settings["storage"] = ks.S3(**spec["storage"])
    session = ks.Session(**settings)
    with session.start(pipeline(spec), job=spec.get("job", "job"), **spec.get("run", {})) as handle:
        signal.signal(signal.SIGTERM, lambda *_: handle.request_stop())
        print(json.dumps({"event": "started"}), flush=True)
        if spec.get("savepoint"):
            print(json.dumps({"event": "savepoint", "location": handle.savepoint(spec["savepoint"])}), flush=True)
        result = handle.wait()
    print(json.dumps({"event": "ended", "state": result.state, "rows_out": result.status.rows_out}), flush=True)


if __name__ == "__main__":
    main()
