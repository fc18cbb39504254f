"""What the tests of the PostgreSQL sinks share: statements, open sinks, and a table as a target of the contract."""

from __future__ import annotations

import copy
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from krishiv_checkpoint import MemoryStore
from krishiv_connectors import PostgresSink, SinkContext
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Target

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore, Committable

__all__ = ["copied_rows", "opened", "query", "table_target", "upserted"]


def query(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement, and return its rows if it has any."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def table_target(dsn: str, store: CheckpointStore, folder: Path, **options: Any) -> Target:
    """Return a table ``orders`` as a target of sinks."""

    def staged(committable: Committable) -> Path:
        return folder / json.loads(committable.payload)["key"]

    def damage(committable: Committable) -> None:
        content = bytearray(staged(committable).read_bytes())
        content[len(content) // 2] ^= 1
        staged(committable).write_bytes(content)

    def rows() -> list[tuple[Any, ...]]:
        if query(dsn, "SELECT to_regclass('orders')") == [(None,)]:
            return []
        return query(dsn, "SELECT id, name, price FROM orders ORDER BY id")

    return Target(
        sink=lambda: PostgresSink(dsn, "orders", **options),
        rows=rows,
        lose=lambda committable: staged(committable).unlink(),
        damage=damage,
        store=store,
    )


@contextmanager
def opened(sink: Any, schema: pa.Schema = SCHEMA, **who: Any) -> Generator[Any]:
    """Give an open copy of `sink`: by default the committer."""
    context: dict[str, Any] = {"job": "shop", "lineage": LINEAGE, "sink_id": "orders", "slot": None, "token": 1}
    copied = copy.copy(sink)
    copied.open(SinkContext(**{**context, "schema": schema, "store": MemoryStore(), **who}))
    try:
        yield copied
    finally:
        copied.close()


def copied_rows(dsn: str, rows: pa.Table, table: str = "t", **options: Any) -> None:
    """Write `rows` by the steps of an exactly-once sink: looked at and cast by a slot, applied by the committer."""
    sink = PostgresSink(dsn, table, **options)
    sink.check(rows.schema)
    with opened(sink, rows.schema, slot=0) as writer:
        fitted = [writer._fitting.fit(batch) for batch in rows.to_batches()]
    with opened(sink, rows.schema) as committer:
        committer.apply(0, 1, 0, 1, iter(fitted))


def upserted(dsn: str, *tables: pa.Table, table: str = "t", keys: Any = "id", **options: Any) -> None:
    """Write `tables`, a batch each, by an upsert sink."""
    sink = PostgresSink(dsn, table, mode="upsert", keys=keys, **options)
    sink.check(tables[0].schema)
    with opened(sink, tables[0].schema, slot=0) as writer:
        for rows in tables:
            for batch in rows.to_batches():
                writer.write(batch)
        writer.flush()
