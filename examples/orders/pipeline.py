"""Orders from CSV files: revenue per country and hour, rows that came too late, and lines that are no orders.

    python examples/orders/pipeline.py FOLDER

reads ``FOLDER/*.csv`` and writes three folders under ``FOLDER/out``. Every line ends up in exactly one of them.
"""

import sys
from pathlib import Path

import pyarrow as pa

import krishiv_stream as ks
from krishiv_stream import col

SCHEMA = pa.schema(
    [
        ("order", pa.int64()),
        ("country", pa.string()),
        ("amount", pa.float64()),
        ("placed", pa.timestamp("us", tz="UTC")),
    ]
)


def pipeline(folder: Path) -> ks.Pipeline:
    """Return the pipeline over the files in `folder`."""
    out = folder / "out"
    orders = ks.read(
        ks.CsvSource(str(folder / "*.csv"), schema=SCHEMA),
        event_time="placed",
        watermark=ks.bounded_delay("10m"),
        on_bad_row=ks.JsonSink(out / "dead-letters"),
        name="orders",
    )
    hourly = (
        orders.filter(col("amount") > 0)
        .key_by("country")
        .window(ks.tumble("1h"), allowed_lateness="30m")
        .aggregate(name="hourly", orders=ks.count(), revenue=ks.sum("amount"))
    )
    return ks.Pipeline.of(
        hourly.write(ks.ParquetSink(out / "revenue"), name="revenue"),
        hourly.side_output("late").write(ks.JsonSink(out / "late"), name="late"),
        name="orders",
    )


def main() -> None:
    """Run it on the folder named on the command line."""
    folder = Path(sys.argv[1])
    session = ks.Session(profile="single-node-durable", data_dir=folder / "data", checkpoint_interval="1s")
    plan = pipeline(folder)
    print(session.explain(plan))
    print(session.run(plan).status)


if __name__ == "__main__":
    main()
