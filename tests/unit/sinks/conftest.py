"""Targets of every two-phase sink."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from krishiv_checkpoint import FilesystemStore
from krishiv_connectors import DeltaSink, IcebergSink, JsonSink, MemorySink, ParquetSink, SqliteSink
from tests.support import iceberg
from tests.support.delta import read_table, warm_up
from tests.unit.sinks.contract import Target

warm_up()
iceberg.warm_up()

if TYPE_CHECKING:
    from collections.abc import Callable

    from krishiv_checkpoint import Committable
    from tests.unit.sinks.contract import Rows


def _slot_directory(committable: Committable) -> Path:
    staging = Path(json.loads(committable.payload)["staging"])
    return staging / f"{committable.token}-{committable.epoch}-{committable.slot}"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _flip_staged_files(committable: Committable) -> None:
    for path in _slot_directory(committable).rglob("part-*"):
        _flip(path)


def _read_files(root: Path, suffix: str) -> Rows:
    # Every reader's widest glob, over everything below: what is not committed must not be anywhere in it.
    if not any(root.rglob(f"*{suffix}")):
        return []
    pattern = str(root / "**" / f"*{suffix}")
    frame = (
        pl.read_parquet(pattern, hive_partitioning=True)
        if suffix == ".parquet"
        else pl.read_ndjson(sorted(root.rglob(f"*{suffix}")))
    )
    return sorted(frame.select("id", "name", "price").rows())


def _parquet(tmp_path: Path, **options: object) -> Target:
    root = tmp_path / "out"
    return Target(
        sink=lambda: ParquetSink(root, **options),
        rows=lambda: _read_files(root, ".parquet"),
        lose=lambda committable: shutil.rmtree(_slot_directory(committable)),
        damage=_flip_staged_files,
        rewinds=True,
    )


def _json(tmp_path: Path) -> Target:
    root = tmp_path / "out"
    return Target(
        sink=lambda: JsonSink(root),
        rows=lambda: _read_files(root, ".ndjson"),
        lose=lambda committable: shutil.rmtree(_slot_directory(committable)),
        damage=_flip_staged_files,
        rewinds=True,
    )


def _memory(tmp_path: Path) -> Target:
    sink = MemorySink()
    return Target(
        sink=lambda: sink,
        rows=lambda: sorted(tuple(row.values()) for b in sink.batches for row in b.to_pylist()),
        lose=lambda committable: sink._target.staged.clear(),
        rewinds=True,
    )


def _sqlite(tmp_path: Path) -> Target:
    database = tmp_path / "shop.db"

    def rows() -> Rows:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute("SELECT id, name, price FROM orders ORDER BY id").fetchall()

    def staged(committable: Committable) -> Path:
        return tmp_path / "store" / json.loads(committable.payload)["key"]

    return Target(
        sink=lambda: SqliteSink(database, "orders"),
        rows=rows,
        lose=lambda committable: staged(committable).unlink(),
        damage=lambda committable: _flip(staged(committable)),
        store=FilesystemStore(tmp_path / "store"),
    )


def _delta(tmp_path: Path, **options: object) -> Target:
    table = tmp_path / "table"

    def staged(committable: Committable) -> list[Path]:
        return [table / "_staging" / file["key"] for file in json.loads(committable.payload)["files"]]

    def each(do: Callable[[Path], object]) -> Callable[[Committable], None]:
        return lambda committable: [do(path) for path in staged(committable)] and None

    return Target(
        sink=lambda: DeltaSink(table, **options),
        rows=lambda: sorted(read_table(str(table)).select("id", "name", "price").rows()),
        lose=each(Path.unlink),
        damage=each(_flip),
    )


def _iceberg(tmp_path: Path, **options: object) -> Target:
    catalog = iceberg.catalog_of(tmp_path)

    def rows() -> Rows:
        found = iceberg.read_table(catalog, "shop.orders")
        return sorted(found.select("id", "name", "price").rows()) if found.width else []

    def each(do: Callable[[Path], object]) -> Callable[[Committable], None]:
        def apply(committable: Committable) -> None:
            payload = json.loads(committable.payload)
            for file in payload["files"]:
                do(Path(payload["place"].removeprefix("file://")) / file["key"])

        return apply

    return Target(
        sink=lambda: IcebergSink(catalog, "shop.orders", **options),
        rows=rows,
        lose=each(Path.unlink),
        damage=each(_flip),
    )


def _delta_upsert(tmp_path: Path) -> Target:
    table = tmp_path / "table"

    def staged(committable: Committable) -> Path:
        return tmp_path / "store" / json.loads(committable.payload)["key"]

    return Target(
        sink=lambda: DeltaSink(table, mode="upsert", keys="id"),
        rows=lambda: sorted(read_table(str(table)).select("id", "name", "price").rows()),
        lose=lambda committable: staged(committable).unlink(),
        damage=lambda committable: _flip(staged(committable)),
        store=FilesystemStore(tmp_path / "store"),
    )


TARGETS: dict[str, Callable[[Path], Target]] = {
    "delta": _delta,
    "delta-partitioned": partial(_delta, partition_by="name"),
    "delta-upsert": _delta_upsert,
    "iceberg": _iceberg,
    "iceberg-partitioned": partial(_iceberg, partition_by="name"),
    "json": _json,
    "memory": _memory,
    "parquet": _parquet,
    "parquet-partitioned": partial(_parquet, partition_by="name"),
    "sqlite": _sqlite,
}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """One target of each two-phase sink."""
    return TARGETS[request.param](tmp_path)
