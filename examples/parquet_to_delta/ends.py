"""Both ends of the example, without krishiv-stream: make the files of orders, read the table of revenue with polars.

python examples/parquet_to_delta/ends.py fill [COUNT]
python examples/parquet_to_delta/ends.py read
"""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
COUNTRIES = ("BR", "DE", "IN", "JP", "US")
FILES = 4


def fill(count: int) -> None:
    """Write `count` orders of ten hours, up to 4 s out of order, into a few files."""
    folder = Path("orders")
    folder.mkdir(exist_ok=True)
    share = -(-count // FILES)
    for number in range(FILES):
        mine = [order(place, count) for place in range(number * share, min(count, (number + 1) * share))]
        pq.write_table(pa.Table.from_pylist(mine), folder / f"part-{number}.parquet")
    print(f"{count} orders written")


def order(number: int, count: int) -> dict[str, object]:
    """Return order `number` of `count`, the same each time."""
    chance = random.Random(number)
    placed = BEGIN + timedelta(seconds=36_000 * number / count - chance.uniform(0, 4))
    cents = chance.randrange(100, 100_000)
    return {"order": number, "country": chance.choice(COUNTRIES), "cents": cents, "placed": placed}


def read() -> None:
    """Print the results, and count them."""
    results = pl.scan_delta("revenue").sort("window_start", "country").collect()
    for row in results.iter_rows(named=True):
        print(row["country"], row["window_start"].isoformat(), row["orders"], row["cents"])
    orders = results.get_column("orders").sum()
    twice = results.group_by("country", "window_start").len().filter(pl.col("len") > 1).height
    print(f"{results.height} results over {orders} orders; {twice} results came more than once", file=sys.stderr)


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["fill"]:
            fill(200_000)
        case ["fill", count]:
            fill(int(count))
        case ["read"]:
            read()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
