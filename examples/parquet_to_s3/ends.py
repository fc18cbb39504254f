"""Both ends of the example, without krishiv-stream: make the files of orders, read the bucket of revenue.

python examples/parquet_to_s3/ends.py fill [COUNT]
python examples/parquet_to_s3/ends.py read
"""

import os
import random
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

URL = os.environ.get("S3_URL", "s3://my-bucket/revenue")
ENDPOINT = os.environ.get("S3_ENDPOINT", "")
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
    seen: Counter[tuple[str, datetime]] = Counter()
    orders = 0
    options = {"aws_endpoint": ENDPOINT, "aws_allow_http": "true"} if ENDPOINT else {}
    table = pl.read_parquet(f"{URL}/**/*.parquet", storage_options=options, hive_partitioning=True)
    wanted = table.select("country", "window_start", "orders", "cents").sort("window_start", "country")
    for country, start, count, cents in wanted.iter_rows():
        print(country, start.isoformat(), count, cents)
        seen[country, start] += 1
        orders += count
    twice = sum(times > 1 for times in seen.values())
    print(f"{len(seen)} results over {orders} orders; {twice} results came more than once", file=sys.stderr)


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
