"""Both ends of the example: `fill` writes orders to files, `read` reads the table as any reader of Iceberg does.

python examples/parquet_to_iceberg/table.py fill|read
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LAKE = Path(os.environ.get("LAKE", "lake")).resolve()
ORDERS = int(os.environ.get("ORDERS", "200000"))
COUNTRIES = ("DE", "IN", "FR", "US", "BR")


def fill() -> None:
    """Write the orders, over 100 hours, into four files."""
    first = datetime(2026, 1, 1, tzinfo=UTC)
    step = timedelta(hours=100) / ORDERS
    folder = LAKE / "orders"
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(4):
        numbers = range(part * ORDERS // 4, (part + 1) * ORDERS // 4)
        table = pa.table(
            {
                "country": [COUNTRIES[number * 7 % len(COUNTRIES)] for number in numbers],
                "cents": [number * 31 % 10_000 for number in numbers],
                "placed": pa.array([first + number * step for number in numbers], pa.timestamp("us", tz="UTC")),
            }
        )
        pq.write_table(table, folder / f"part-{part}.parquet")
    print(f"{ORDERS} orders in {folder}")


def read() -> None:
    """Count what the table holds."""
    from pyiceberg.catalog import load_catalog

    properties = {"type": "sql", "uri": f"sqlite:///{LAKE}/catalog.db", "warehouse": f"file://{LAKE}/warehouse"}
    with load_catalog("default", **properties) as catalog:
        table = catalog.load_table("shop.revenue")
        rows = table.scan().to_arrow()
        print(f"{len(table.snapshots())} snapshots; {rows.num_rows} results")
    results = rows.group_by(["country", "window_start"]).aggregate([([], "count_all")])
    doubled = sum(1 for count in results.column("count_all").to_pylist() if count > 1)
    print(f"they hold {sum(rows.column('orders').to_pylist())} orders; {doubled} results came more than once")


if __name__ == "__main__":
    {"fill": fill, "read": read}[sys.argv[1]]()
