"""One of several processes at one Iceberg table: ``python -m tests.support.iceberg_rival FOLDER WHAT``.

``prepare`` writes fifty epochs, every fifth without rows; ``commit`` commits them, one after the other; ``foreign``
appends rows of its own until a file ``over`` is there.
"""

from __future__ import annotations

import collections
import json
import sys
import time
from pathlib import Path

import msgspec
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException

from krishiv_checkpoint import CommitStatus, Committable
from krishiv_connectors import IcebergSink, SinkContext
from tests.support.iceberg import catalog_of, table_of

SCHEMA = pa.schema([("id", pa.int64())])
LINEAGE = "0123456789abcdef0123456789abcdef"
TABLE = "shop.orders"


def opened(folder: Path, slot: int | None) -> IcebergSink:
    """Return a writer, or a committer."""
    sink = IcebergSink(catalog_of(folder), TABLE)
    sink.open(SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=slot, token=1, schema=SCHEMA))
    return sink


def prepare(folder: Path) -> None:
    """Write the epochs, and note what commits them."""
    writer = opened(folder, 0)
    noted: list[Committable] = []
    for epoch in range(1, 51):
        if epoch % 5:
            writer.write(pa.record_batch({"id": [epoch * 10 + row for row in range(3)]}, schema=SCHEMA))
        noted.append(Committable("s", 0, epoch, 1, epoch - 1, writer.prepare(epoch)))
    writer.close()
    (folder / "committables").write_bytes(msgspec.json.encode(noted))


def commit(folder: Path) -> None:
    """Commit them all, and print how often which answer came."""
    committer = opened(folder, None)
    counts: collections.Counter[str] = collections.Counter({"done": 0, "already_done": 0})
    for committable in msgspec.json.decode((folder / "committables").read_bytes(), type=list[Committable]):
        status = CommitStatus.RETRY_LATER
        while status is CommitStatus.RETRY_LATER:
            status = committer.commit(committable.epoch, [committable]).status
            counts[status.value] += 1
    committer.close()
    print(json.dumps(counts))


def foreign(folder: Path) -> None:
    """Append until it is over, and print how many rows."""
    rows = 0
    while not (folder / "over").exists() or not rows:
        with table_of(catalog_of(folder), TABLE) as table:
            try:
                table.append(pa.table({"id": [-1 - rows]}, schema=SCHEMA))
                rows += 1
            except CommitFailedException:
                pass
        time.sleep(0.05)
    print(rows)


if __name__ == "__main__":
    {"prepare": prepare, "commit": commit, "foreign": foreign}[sys.argv[2]](Path(sys.argv[1]))
