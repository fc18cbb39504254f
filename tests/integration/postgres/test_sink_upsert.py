"""The upsert sink: the last row of a key wins, replays change nothing, and passing trouble is waited out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from krishiv_connectors import PostgresSink
from krishiv_connectors.postgres._errors import PostgresUnfit, UnstorableValue
from krishiv_guarantees import ConfigurationError
from tests.integration.postgres.tables import opened, query, upserted
from tests.unit.sinks.contract import SCHEMA

if TYPE_CHECKING:
    from tests.services.postgres.server import Postgres

pytestmark = pytest.mark.server("postgres")


def rows(*pairs: tuple[int, str]) -> pa.Table:
    return pa.table({"id": [id for id, _ in pairs], "name": [name for _, name in pairs]})


def test_the_last_row_of_a_key_wins_within_a_batch_and_over_batches(database: str) -> None:
    upserted(database, rows((1, "a"), (2, "b"), (1, "c")), rows((2, "d"), (3, "e"), (3, "f")))
    assert query(database, "SELECT id, name FROM t ORDER BY id") == [(1, "c"), (2, "d"), (3, "f")]
    upserted(database, rows((2, "g")))
    assert query(database, "SELECT id, name FROM t ORDER BY id") == [(1, "c"), (2, "g"), (3, "f")]


def test_a_replay_changes_nothing(database: str) -> None:
    table = rows((1, "a"), (2, "b"))
    for _ in range(3):
        upserted(database, table)
    assert query(database, "SELECT id, name FROM t ORDER BY id") == [(1, "a"), (2, "b")]


def test_keys_of_several_columns_become_the_primary_key(database: str) -> None:
    table = pa.table({"a": [1, 1, 1], "b": ["x", "y", "x"], "v": [1, 2, 3]})
    upserted(database, table, keys=("a", "b"))
    assert query(database, "SELECT a, b, v FROM t ORDER BY a, b") == [(1, "x", 3), (1, "y", 2)]
    ((index,),) = query(database, "SELECT pg_get_indexdef('t_pkey'::regclass)")
    assert index.endswith("(a, b)")


def test_rows_of_keys_alone_are_there_once(database: str) -> None:
    upserted(database, pa.table({"id": [1, 2, 1]}), pa.table({"id": [2, 3]}))
    assert query(database, "SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,)]


def test_columns_that_rows_do_not_bring_are_kept(database: str) -> None:
    query(database, "CREATE TABLE t (id bigint UNIQUE, name text, seen int DEFAULT 1)")
    query(database, "INSERT INTO t VALUES (1, 'old', 7)")
    upserted(database, rows((1, "new"), (2, "b")))
    assert query(database, "SELECT * FROM t ORDER BY id") == [(1, "new", 7), (2, "b", 1)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id bigint, name text)",
        "CREATE TABLE t (id bigint, name text); CREATE UNIQUE INDEX ON t (id) WHERE id > 0",
        "CREATE TABLE t (id bigint, name text); CREATE UNIQUE INDEX ON t (abs(id))",
        "CREATE TABLE t (id bigint, name text, UNIQUE (id, name))",
        "CREATE TABLE t (id bigint UNIQUE DEFERRABLE, name text)",
    ],
)
def test_check_refuses_a_table_without_a_unique_index_over_the_keys(database: str, statement: str) -> None:
    query(database, statement)
    with pytest.raises(PostgresUnfit, match="unique index") as caught:
        PostgresSink(database, "t", mode="upsert", keys="id").check(rows().schema.set(1, pa.field("name", pa.string())))
    assert "CREATE UNIQUE INDEX" in caught.value.hint


def test_an_index_that_covers_more_columns_is_one_over_the_keys(database: str) -> None:
    query(database, "CREATE TABLE t (id bigint, name text); CREATE UNIQUE INDEX ON t (id) INCLUDE (name)")
    upserted(database, rows((1, "a"), (1, "b")))
    assert query(database, "SELECT * FROM t") == [(1, "b")]


def test_a_null_in_a_key_is_refused(database: str) -> None:
    with pytest.raises(UnstorableValue, match="'id' has a null"):
        upserted(database, pa.table({"id": pa.array([1, None]), "name": ["a", "b"]}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "upsert"}, "without keys"),
        ({"keys": "id"}, "keys without an upsert"),
        ({"mode": "merge"}, "mode='merge'"),
        ({"mode": "upsert", "keys": ("id", "id")}, "keys="),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        PostgresSink("postgresql://127.0.0.1/x", "t", **options)


def test_check_refuses_a_key_that_is_no_column(database: str) -> None:
    with pytest.raises(ConfigurationError, match="no column 'nope'"):
        PostgresSink(database, "t", mode="upsert", keys="nope").check(SCHEMA)


def test_the_sink_is_idempotent_by_its_keys() -> None:
    sink = PostgresSink("postgresql://127.0.0.1/x", "t", mode="upsert", keys=("a", "b"))
    assert sink.capabilities().idempotent_by == ("a", "b")
    assert not sink.capabilities().two_phase
    assert sink.guarantee_config() == {"mode": "upsert", "keys": "a,b"}


def test_slots_that_write_the_same_keys_do_not_wait_for_each_other_in_a_circle(database: str) -> None:
    forth = pa.table({"id": range(2_000), "name": ["f"] * 2_000})
    back = pa.table({"id": range(1_999, -1, -1), "name": ["b"] * 2_000})
    begin = threading.Barrier(2)

    def write(table: pa.Table) -> None:
        begin.wait()
        for _ in range(5):
            upserted(database, table)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, table) for table in (forth, back)]:
            done.result(60)
    assert query(database, "SELECT count(*) FROM t") == [(2_000,)]


def test_a_server_that_is_killed_is_waited_for(own_postgres: Postgres) -> None:
    dsn = own_postgres.new_database()
    sink = PostgresSink(dsn, "t", mode="upsert", keys="id")
    with opened(sink, rows((1, "a")).schema, slot=0) as writer, ThreadPoolExecutor(1) as pool:
        writer.write(rows((1, "a")).to_batches()[0])
        writer.flush()
        own_postgres.kill()
        writer.write(rows((1, "b"), (2, "c")).to_batches()[0])
        flushed = pool.submit(writer.flush)
        assert not _ends_within(flushed, 0.4)
        # The server dies with the thread that started it: that is this one.
        own_postgres.start()
        flushed.result(60)
    assert query(dsn, "SELECT id, name FROM t ORDER BY id") == [(1, "b"), (2, "c")]


@pytest.mark.parametrize("kind", [pa.float64(), pa.list_(pa.int64())], ids=str)
def test_check_refuses_a_key_whose_values_are_not_plainly_equal(kind: pa.DataType) -> None:
    with pytest.raises(ConfigurationError, match="'id' is of type"):
        PostgresSink("postgresql://127.0.0.1/x", "t", mode="upsert", keys="id").check(pa.schema([("id", kind)]))


def _ends_within(future: Any, seconds: float) -> bool:
    try:
        future.result(seconds)
    except TimeoutError:
        return False
    return True
