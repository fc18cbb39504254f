"""What is special about the exactly-once PostgreSQL sink: values, tables that exist, marks, two who want the same."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitStatus, FilesystemStore, MemoryStore
from krishiv_connectors import MarkMoved, PostgresSink
from krishiv_connectors._errors import TableMismatch, UnsupportedColumn
from krishiv_connectors.postgres._errors import PostgresFailed, TableMissing, UnstorableValue
from tests.integration.postgres.tables import copied_rows, opened, query, table_target
from tests.unit.sinks.contract import LINEAGE, SCHEMA, Attempt, batch, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.sinks.contract import Target

pytestmark = pytest.mark.server("postgres")

PARIS, UTC = dt.timezone(dt.timedelta(hours=1)), dt.UTC
BIG = 10**37 + 1


@pytest.fixture
def target(database: str, tmp_path: Path) -> Target:
    """An empty database."""
    return table_target(database, FilesystemStore(tmp_path), tmp_path)


VALUES: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "flag": (pa.array([True, None]), "boolean", [True, None]),
    "int8": (pa.array([-128, None], pa.int8()), "smallint", [-128, None]),
    "int32": (pa.array([-(2**31), None], pa.int32()), "integer", [-(2**31), None]),
    "int64": (pa.array([-(2**63), 2**63 - 1]), "bigint", [-(2**63), 2**63 - 1]),
    "uint8": (pa.array([255, None], pa.uint8()), "smallint", [255, None]),
    "uint16": (pa.array([65_535, None], pa.uint16()), "integer", [65_535, None]),
    "uint32": (pa.array([2**32 - 1, None], pa.uint32()), "bigint", [2**32 - 1, None]),
    "uint64": (pa.array([2**64 - 1, None], pa.uint64()), "numeric(20,0)", [Decimal(2**64 - 1), None]),
    "half": (pa.array([0.5, None], pa.float16()), "real", [0.5, None]),
    "float32": (pa.array([float("-inf"), None], pa.float32()), "real", [float("-inf"), None]),
    "float64": (pa.array([0.1, None]), "double precision", [0.1, None]),
    "text": (pa.array(["ü\n\t\\", ""]), "text", ["ü\n\t\\", ""]),
    "large": (pa.array(["ü", None], pa.large_string()), "text", ["ü", None]),
    "view": (pa.array(["ü" * 40, None], pa.string_view()), "text", ["ü" * 40, None]),
    "choice": (pa.array(["x", None]).dictionary_encode(), "text", ["x", None]),
    "raw": (pa.array([b"\xff\x00", b""]), "bytea", [b"\xff\x00", b""]),
    "raw_view": (pa.array([b"\x00" * 40, None], pa.binary_view()), "bytea", [b"\x00" * 40, None]),
    "fixed": (pa.array([b"\x00\x01", None], pa.binary(2)), "bytea", [b"\x00\x01", None]),
    "id": (pa.array([b"\x00" * 15 + b"\x07", None], pa.uuid()), "uuid", [uuid.UUID(int=7), None]),
    "day": (pa.array([dt.date(2026, 1, 2), dt.date(1, 1, 1)]), "date", [dt.date(2026, 1, 2), dt.date(1, 1, 1)]),
    "day64": (pa.array([dt.date(1960, 2, 29), None], pa.date64()), "date", [dt.date(1960, 2, 29), None]),
    "time": (pa.array([86_399_999_999, 0], pa.time64("us")), "time", [dt.time(23, 59, 59, 999_999), dt.time()]),
    "time_ns": (pa.array([1_000, None], pa.time64("ns")), "time", [dt.time(0, 0, 0, 1), None]),
    "local": (
        pa.array([-1, None], pa.timestamp("ms")),
        "timestamp",
        [dt.datetime(1969, 12, 31, 23, 59, 59, 999_000), None],
    ),
    "local_ns": (pa.array([1_000, None], pa.timestamp("ns")), "timestamp", [dt.datetime(1970, 1, 1, 0, 0, 0, 1), None]),
    "moment": (
        pa.array([-1, None], pa.timestamp("us", tz="Europe/Paris")),
        "timestamp with time zone",
        [dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), None],
    ),
    "price": (pa.array([Decimal("-1.20"), None], pa.decimal128(9, 2)), "numeric(9,2)", [Decimal("-1.20"), None]),
    "long": (pa.array([Decimal(BIG), Decimal(-10_000)], pa.decimal128(38, 0)), "numeric(38,0)", [BIG, -10_000]),
    "tiny": (
        pa.array([Decimal("1E-30"), Decimal("0E-30")], pa.decimal128(38, 30)),
        "numeric(38,30)",
        [Decimal("1E-30"), 0],
    ),
    "small": (pa.array([Decimal("1.5"), None], pa.decimal64(12, 1)), "numeric(12,1)", [Decimal("1.5"), None]),
    "rounded": (pa.array([Decimal(1_200), None], pa.decimal128(9, -2)), "numeric(9,-2)", [1_200, None]),
    "span": (
        pa.array([-86_400_000_001, None], pa.duration("us")),
        "interval",
        [dt.timedelta(microseconds=-86_400_000_001), None],
    ),
    "nothing": (pa.nulls(2), "text", [None, None]),
    "numbers": (pa.array([[1, None], []]), "bigint[]", [[1, None], []]),
    "words": (pa.array([["a", None], None], pa.large_list(pa.string())), "text[]", [["a", None], None]),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_of_every_type_come_back_as_they_were(database: str, name: str) -> None:
    values, declared, expected = VALUES[name]
    copied_rows(database, pa.table({"n": [1, 2], "v": values}))
    assert [row[0] for row in query(database, "SELECT v FROM t ORDER BY n")] == expected
    ((found,),) = query(
        database,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'",
    )
    assert found == (f"{declared} without time zone" if declared in ("time", "timestamp") else declared)


def test_rows_of_many_batches_and_slices_are_all_there(database: str) -> None:
    whole = pa.table({"n": pa.array(range(25_000)), "s": [None if i % 7 == 0 else f"s{i}" for i in range(25_000)]})
    pieces = pa.Table.from_batches([b for at in (3, 9_000, 17_001) for b in whole.slice(at, 7_999).to_batches()])
    copied_rows(database, pieces)
    assert query(database, "SELECT count(*), sum(n), count(s) FROM t") == [
        (pieces.num_rows, sum(pieces["n"].to_pylist()), pieces.num_rows - pieces["s"].null_count)
    ]


def test_names_are_taken_as_they_are(database: str) -> None:
    copied_rows(database, pa.table({'a "b"; --': [1], "select": [2], "CamelCase": [3]}), 'or"ders %s')
    assert query(database, 'SELECT * FROM "or""ders %s"') == [(1, 2, 3)]


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (pa.int16(), "bigint"),
        (pa.int64(), "numeric"),
        (pa.uint64(), "numeric(20,0)"),
        (pa.float32(), "double precision"),
        (pa.string(), "varchar(9)"),
        (pa.decimal128(5, 2), "numeric(9,4)"),
        (pa.decimal128(5, 2), "numeric"),
        (pa.binary(16), "uuid"),
        (pa.list_(pa.int32()), "bigint[]"),
    ],
    ids=str,
)
def test_rows_go_into_columns_of_a_wider_type(database: str, kind: pa.DataType, column: str) -> None:
    query(database, f"CREATE TABLE t (extra text DEFAULT 'x', v {column}, made int GENERATED ALWAYS AS (1) STORED)")
    given = {pa.string(): "a", pa.binary(16): b"a" * 16, pa.list_(pa.int32()): [7]}.get(kind, 7)
    copied_rows(database, pa.table({"v": pa.array([given], kind)}))
    ((found, extra),) = query(database, "SELECT v, extra FROM t")
    assert (found if found != uuid.UUID(bytes=b"a" * 16) else b"a" * 16) == given
    assert extra == "x"


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("id bigint, name text", "'price' is missing"),
        ('id bigint, name text, "Price" float8', "'price' is missing"),
        ("id integer, name text, price float8", "'id' is integer and cannot hold every int64"),
        ("id bigint, name jsonb, price float8", "'name' is jsonb"),
        ("id bigint, name char(9), price float8", "'name' is character"),
        ("id bigint, name text, price real", "'price' is real"),
        ("id numeric(18,0), name text, price float8", "'id' is numeric"),
        ("id bigint GENERATED ALWAYS AS IDENTITY, name text, price float8", "'id' makes its values itself"),
        ("id bigint, name text, price float8, shop text NOT NULL", "'shop' needs a value"),
    ],
)
def test_check_refuses_a_table_that_rows_do_not_fit_into(database: str, columns: str, error: str) -> None:
    query(database, f"CREATE TABLE orders ({columns})")
    with pytest.raises(TableMismatch, match=error) as caught:
        PostgresSink(database, "orders").check(SCHEMA)
    assert caught.value.hint


def test_check_makes_nothing(database: str) -> None:
    PostgresSink(database, "orders").check(SCHEMA)
    assert query(database, "SELECT count(*) FROM pg_class WHERE relname IN ('orders', '_krishiv_marks')") == [(0,)]


def test_check_refuses_a_missing_table_that_is_not_to_be_made(database: str) -> None:
    with pytest.raises(TableMissing, match=r"public\.orders"):
        PostgresSink(database, "orders", create=False).check(SCHEMA)


@pytest.mark.parametrize(
    "kind", [pa.struct({"a": pa.int8()}), pa.map_(pa.string(), pa.int8()), pa.decimal256(60, 2)], ids=str
)
def test_check_refuses_types_that_have_no_column(kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedColumn, match="odd"):
        PostgresSink("postgresql://127.0.0.1:1/nowhere", "t").check(pa.schema({"odd": kind}))


def test_another_schema_holds_the_table_and_its_marks(database: str, tmp_path: Path) -> None:
    query(database, "CREATE SCHEMA sales")
    target = table_target(database, FilesystemStore(tmp_path), tmp_path, schema="sales")
    target.sink().check(SCHEMA)
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    assert query(database, "SELECT id, name, price FROM sales.orders") == rows_of(1)
    assert query(database, "SELECT epoch FROM sales._krishiv_marks") == [(1,)]


# --- values that cannot be stored are found before their epoch is decided


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("text", pa.array(["fine", "a\0b"]), r"NUL character.*\(row 1"),
        ("varchar(3)", pa.array(["abc", "ü" * 3, "abcd"]), r"too long.*\(row 2"),
        ("text NOT NULL", pa.array(["a", None]), r"has a null.*\(row 1"),
        ("timestamp", pa.array([0, 1], pa.timestamp("ns")), "cannot hold"),
        ("timestamp", pa.array([-(2**62)], pa.timestamp("us")), "outside"),
        ("date", pa.array([2**31 - 1], pa.date32()), "outside"),
        ("time", pa.array([-1], pa.time64("us")), "outside"),
        ("text[]", pa.array([["a"], ["b\0"]]), "NUL character"),
    ],
)
def test_a_row_that_cannot_be_stored_fails_before_its_epoch_is_decided(
    database: str, column: str, values: pa.Array, said: str
) -> None:
    query(database, f"CREATE TABLE t (v {column})")
    rows = pa.table({"v": values})
    sink = PostgresSink(database, "t")
    sink.check(rows.schema)
    with opened(sink, rows.schema, slot=0) as writer, pytest.raises(UnstorableValue, match=said) as caught:
        writer.write(rows.to_batches()[0])
    assert caught.value.fields["column"] == "v"


def test_nuls_that_nulls_hide_do_no_harm(database: str) -> None:
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *pa.array(["\0", "a"]).buffers()[1:]])
    copied_rows(database, pa.table({"v": hidden}))
    assert query(database, "SELECT v FROM t") == [(None,), ("a",)]


def test_a_constraint_that_refuses_rows_is_named_and_nothing_is_written(database: str, target: Target) -> None:
    query(database, "CREATE TABLE orders (id bigint PRIMARY KEY, name text, price float8)")
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1, 2, 1)
        with pytest.raises(PostgresFailed, match="orders_pkey") as caught:
            attempt.commit(committable)
        assert caught.value.fields["sqlstate"] == "23505"
        assert attempt.committer.last_applied(LINEAGE, 0) is None
        assert target.rows() == []
        query(database, "ALTER TABLE orders DROP CONSTRAINT orders_pkey")
        assert attempt.commit(committable) == [CommitStatus.DONE]
        assert len(target.rows()) == 3


def test_an_epoch_that_was_staged_goes_into_a_column_that_was_widened_meanwhile(database: str, target: Target) -> None:
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1)
    query(database, "ALTER TABLE orders ALTER id TYPE numeric")
    with Attempt(target, token=2) as fresh:
        assert fresh.commit(committable) == [CommitStatus.DONE]
    assert target.rows() == rows_of(1)


# --- marks


def test_mark_tells_people_which_attempt_prepared_the_epoch(database: str, target: Target) -> None:
    with Attempt(target, token=7) as attempt:
        attempt.commit(attempt.stage(3, 9, 1))
    columns = "lineage, sink, slot, job, target, epoch, token"
    assert query(database, f"SELECT {columns} FROM _krishiv_marks") == [(LINEAGE, "orders", 3, "shop", "orders", 9, 7)]


def test_marks_of_another_table_are_not_this_ones(database: str, target: Target) -> None:
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    with opened(PostgresSink(database, "others")) as other:
        assert list(other.marks("shop")) == []


def test_commit_fails_when_the_mark_is_not_where_the_slot_left_it(database: str, target: Target) -> None:
    with Attempt(target) as attempt:
        first, second, third = (attempt.stage(0, epoch, epoch) for epoch in (1, 2, 3))
        attempt.commit(first)
        attempt.commit(second)
        query(database, "UPDATE _krishiv_marks SET epoch = 1")  # as after a restore from a backup
        (outcome,) = attempt.outcomes(third)
        assert outcome.status is CommitStatus.FAILED
        assert "its mark says 1" in outcome.reason


def test_apply_raises_and_writes_nothing_when_the_mark_moved(database: str, target: Target) -> None:
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        with pytest.raises(MarkMoved):
            attempt.committer.apply(0, 3, 2, 1, iter([batch(2)]))
        with pytest.raises(MarkMoved):
            attempt.committer.apply(0, 3, 0, 1, iter([batch(2)]))
        assert target.rows() == rows_of(1)


# --- two who want the same


def test_one_of_two_racing_appliers_wins(target: Target) -> None:
    with Attempt(target) as one, Attempt(target, token=2) as two:
        for epoch in range(1, 11):
            committable = one.stage(0, epoch, epoch)
            outcomes: list[CommitStatus] = []
            barrier = threading.Barrier(2)

            def race(attempt: Attempt, outcomes=outcomes, barrier=barrier, committable=committable) -> None:
                barrier.wait()
                outcomes.extend(attempt.commit(committable))

            _in_threads(race, [(one,), (two,)])
            assert sorted(outcomes) == [CommitStatus.ALREADY_DONE, CommitStatus.DONE]
        assert target.rows() == rows_of(*range(1, 11))


def test_slots_may_be_committed_from_several_threads(target: Target) -> None:
    with Attempt(target) as attempt:
        committables = [attempt.stage(slot, 1, *range(slot * 100, slot * 100 + 100)) for slot in range(4)]
        _in_threads(attempt.commit, [(committable,) for committable in committables])
        assert target.rows() == rows_of(*range(400))


def test_tables_are_made_by_several_at_the_same_time(database: str) -> None:
    opens: list[Any] = []

    def make() -> None:
        with opened(PostgresSink(database, "orders")) as committer:
            opens.append(committer.marks("shop"))

    _in_threads(make, [()] * 6)
    assert opens == [[]] * 6


def test_an_older_attempt_that_stands_still_within_its_transaction_is_ended(database: str, target: Target) -> None:
    with Attempt(target) as frozen, Attempt(target, token=2) as fresh:
        committable = frozen.stage(0, 1, 1)
        with frozen.committer._committing.connections.borrowed("a test") as connection:
            transaction = connection.transaction()
            transaction.__enter__()
            frozen.committer._committing.marks.move(connection, frozen.committer.ctx, 0, 0, 1, 1)
            (outcome,) = fresh.outcomes(committable)
            assert outcome.status is CommitStatus.RETRY_LATER
            assert "older attempts were ended" in outcome.reason
            assert fresh.commit(committable) == [CommitStatus.DONE]
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1")
        # What it does after that changes nothing, and it is told that it is not the one.
        assert target.rows() == rows_of(1)
        assert frozen.commit(committable) == [CommitStatus.ALREADY_DONE]


def test_a_newer_attempt_is_not_ended_by_an_older_one(database: str, target: Target) -> None:
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh:
        committable = fresh.stage(0, 1, 1)
        with fresh.committer._committing.connections.borrowed("a test") as connection, connection.transaction():
            fresh.committer._committing.marks.move(connection, fresh.committer.ctx, 0, 0, 1, 2)
            (outcome,) = zombie.outcomes(committable)
            assert outcome.status is CommitStatus.RETRY_LATER
            assert "another transaction holds a lock" in outcome.reason
            connection.execute("SELECT 1")


def test_a_table_that_somebody_locks_is_tried_later(database: str, target: Target) -> None:
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1)
        with psycopg.connect(database) as other:
            other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            (outcome,) = attempt.outcomes(committable)
            assert outcome.status is CommitStatus.RETRY_LATER
        assert attempt.commit(committable) == [CommitStatus.DONE]


def test_a_sink_that_is_not_open_says_so(database: str) -> None:
    sink = PostgresSink(database, "orders")
    with pytest.raises(ValueError, match="not open"):
        sink.write(batch(1))
    with pytest.raises(ValueError, match="not open as a committer"):
        sink.last_applied(LINEAGE, 0)
    with (
        opened(sink, slot=0, store=MemoryStore()) as writer,
        pytest.raises(ValueError, match="not open as a committer"),
    ):
        writer.marks("shop")


def _in_threads(run: Any, arguments: list[tuple[Any, ...]]) -> None:
    threads = [threading.Thread(target=run, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
