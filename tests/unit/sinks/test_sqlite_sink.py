"""What is special about the SQLite sink."""

from __future__ import annotations

import datetime as dt
import sqlite3
import threading
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitStatus, MemoryStore
from krishiv_connectors import MarkMoved, SinkContext, SqliteSink
from krishiv_connectors._errors import BadOutputPath, OutputFailed, TableMismatch, UnsupportedColumn
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, Target, batch, rows_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database that does not exist yet."""
    return tmp_path / "shop.db"


def place(database: Path, **options: float) -> Target:
    return Target(
        sink=lambda: SqliteSink(database, "orders", **options),
        rows=lambda: query(database, "SELECT id, name, price FROM orders ORDER BY id"),
        lose=lambda committable: None,
        store=MemoryStore(),
    )


def query(database: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def store_rows(database: Path, rows: pa.Table) -> None:
    sink = SqliteSink(database, "t")
    sink.check(rows.schema)
    sink.open(
        SinkContext(job="j", lineage=LINEAGE, sink_id="s", slot=None, token=1, schema=rows.schema, store=MemoryStore())
    )
    sink.apply(0, 1, 0, 1, iter(rows.to_batches()))
    sink.close()


def test_sqlite_sink_stores_every_type_as_documented(database: Path) -> None:
    rows = pa.table(
        {
            "small": pa.array([1, None], pa.int8()),
            "large": pa.array([-(2**63), 2**63 - 1]),
            "half": pa.array([0.5, None], pa.float32()),
            "flag": [True, None],
            "text": ["ü", None],
            "choice": pa.array(["x", None]).dictionary_encode(),
            "raw": [b"\xff\x00", None],
            "day": [dt.date(2026, 1, 2), None],
            "time": pa.array([1_000_001, None], pa.time64("us")),
            "local": pa.array([1, None], pa.timestamp("ms")),
            "moment": pa.array([0, None], pa.timestamp("us", tz="Europe/Paris")),
            "price": pa.array([Decimal("1.20"), None], pa.decimal128(9, 2)),
            "nothing": pa.nulls(2),
        }
    )
    store_rows(database, rows)
    first, second = query(database, "SELECT * FROM t ORDER BY rowid")
    assert first == (
        *(1, -(2**63), 0.5, 1, "ü", "x", b"\xff\x00", "2026-01-02", "00:00:01.000001000"),
        *("1970-01-01 00:00:00.001", "1970-01-01 00:00:00.000000Z", "1.20", None),
    )
    assert second == (None, 2**63 - 1, *[None] * 11)
    types = [declared for _, _, declared, *_ in query(database, "PRAGMA table_info(t)")]
    assert types == ["INTEGER"] * 2 + ["REAL", "INTEGER", "TEXT", "TEXT", "BLOB"] + ["TEXT"] * 6


@pytest.mark.parametrize("rows", [0, 1, 32, 33, 34, 100, 1_001])
def test_sqlite_sink_inserts_every_row_when_statements_hold_several(database: Path, rows: int) -> None:
    table = pa.table({"a": np.arange(rows), "b": [f"{i}" for i in range(rows)], "c": np.arange(rows) * 0.5})
    store_rows(database, table)
    assert query(database, "SELECT a, b, c FROM t ORDER BY rowid") == [(i, f"{i}", i * 0.5) for i in range(rows)]


def test_sqlite_sink_inserts_rows_with_more_columns_than_a_statement_holds(database: Path) -> None:
    store_rows(database, pa.table({f"c{i}": [i, i + 1] for i in range(150)}))
    assert query(database, "SELECT c0, c149 FROM t ORDER BY rowid") == [(0, 149), (1, 150)]


def test_sqlite_sink_quotes_names(database: Path) -> None:
    store_rows(database, pa.table({'a "b"; --': [1], "select": [2]}))
    assert query(database, "SELECT * FROM t") == [(1, 2)]


@pytest.mark.parametrize("kind", [pa.uint64(), pa.list_(pa.int64()), pa.duration("us"), pa.struct({"a": pa.int8()})])
def test_check_refuses_types_that_sqlite_cannot_hold(database: Path, kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn, match="odd"):
        SqliteSink(database, "t").check(pa.schema({"odd": kind}))


def test_check_refuses_names_that_differ_only_in_case(database: Path) -> None:
    with pytest.raises(UnsupportedColumn, match="case"):
        SqliteSink(database, "t").check(pa.schema({"dateTime": pa.int64(), "datetime": pa.int64()}))


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("id INTEGER, name TEXT", "'price' is missing"),
        ("id TEXT, name TEXT, price REAL", "'id' is declared TEXT instead of INTEGER"),
        ("id INTEGER, name TEXT, price REAL, shop TEXT NOT NULL", "'shop' needs a value"),
    ],
)
def test_check_refuses_a_table_that_rows_do_not_fit_into(database: Path, columns: str, error: str) -> None:
    query(database, f"CREATE TABLE orders ({columns})")
    with pytest.raises(TableMismatch, match=error):
        SqliteSink(database, "orders").check(SCHEMA)


def test_sqlite_sink_appends_to_a_table_that_fits(database: Path) -> None:
    query(database, "CREATE TABLE orders (price DOUBLE, ID BIGINT, name VARCHAR(20), shop TEXT DEFAULT 'x')")
    query(database, "INSERT INTO orders (id, name, price) VALUES (0, 'n0', 0.0)")
    place(database).sink().check(SCHEMA)
    with Attempt(place(database)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    assert query(database, "SELECT id, name, price FROM orders ORDER BY id") == rows_of(0, 1)


def test_check_makes_no_database(database: Path) -> None:
    place(database).sink().check(SCHEMA)
    assert not database.exists()


def test_check_refuses_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(BadOutputPath, match="no database"):
        SqliteSink(tmp_path / "missing" / "shop.db", "t").check(SCHEMA)


def test_check_refuses_a_file_that_is_no_database(database: Path) -> None:
    database.write_bytes(b"something else " * 100)
    with pytest.raises(OutputFailed, match="not a database"):
        SqliteSink(database, "t").check(SCHEMA)


def test_commit_is_tried_later_when_another_writer_holds_the_database(database: Path) -> None:
    with Attempt(place(database, busy_timeout=0.0)) as attempt:
        committable = attempt.stage(0, 1, 1)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            (outcome,) = attempt.outcomes(committable)
            assert outcome.status is CommitStatus.RETRY_LATER
            assert "locked" in outcome.reason
        assert attempt.commit(committable) == [CommitStatus.DONE]


def test_commit_fails_when_the_mark_is_not_where_the_slot_left_it(database: Path) -> None:
    with Attempt(place(database)) as attempt:
        first, second, third = (attempt.stage(0, epoch, epoch) for epoch in (1, 2, 3))
        attempt.commit(first)
        attempt.commit(second)
        query(database, "UPDATE _krishiv_marks SET epoch = 1")  # as after a restore from a backup
        (outcome,) = attempt.outcomes(third)
        assert outcome.status is CommitStatus.FAILED
        assert "its mark says 1" in outcome.reason


def test_apply_raises_and_writes_nothing_when_the_mark_moved(database: Path) -> None:
    with Attempt(place(database)) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        with pytest.raises(MarkMoved):
            attempt.committer.apply(0, 3, 2, 1, iter([batch(2)]))
        assert query(database, "SELECT id FROM orders") == [(1,)]


def test_one_of_two_racing_appliers_wins(database: Path) -> None:
    with Attempt(place(database)) as one, Attempt(one.target, token=2) as two:
        for epoch in range(1, 6):
            committable = one.stage(0, epoch, epoch)
            outcomes: list[CommitStatus] = []
            barrier = threading.Barrier(2)

            def race(attempt: Attempt, outcomes=outcomes, barrier=barrier, committable=committable) -> None:
                barrier.wait()
                outcomes.extend(attempt.commit(committable))

            threads = [threading.Thread(target=race, args=(attempt,)) for attempt in (one, two)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == [CommitStatus.ALREADY_DONE, CommitStatus.DONE]
        assert one.target.rows() == rows_of(1, 2, 3, 4, 5)


def test_slots_may_be_committed_from_several_threads(database: Path) -> None:
    with Attempt(place(database)) as attempt:
        committables = [attempt.stage(slot, 1, *range(slot * 100, slot * 100 + 100)) for slot in range(4)]
        threads = [threading.Thread(target=attempt.commit, args=(committable,)) for committable in committables]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert attempt.target.rows() == rows_of(*range(400))


def test_commit_raises_a_named_error_when_a_constraint_refuses_the_rows(database: Path) -> None:
    query(database, "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, price REAL)")
    with Attempt(place(database)) as attempt:
        committable = attempt.stage(0, 1, 1, 2, 1)
        with pytest.raises(OutputFailed, match="UNIQUE"):
            attempt.commit(committable)
        assert attempt.committer.last_applied(LINEAGE, 0) is None
        assert attempt.target.rows() == []


def test_database_forces_every_commit_to_the_disk(database: Path) -> None:
    with Attempt(place(database)) as attempt:
        connection = attempt.committer._connection
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_mark_tells_people_which_attempt_prepared_the_epoch(database: Path) -> None:
    with Attempt(place(database), token=7) as attempt:
        attempt.commit(attempt.stage(3, 9, 1))
    assert query(database, "SELECT * FROM _krishiv_marks") == [(LINEAGE, "orders", 3, "shop", 9, 7)]
