"""Queries as a source: types, ranges, positions, and what stops it."""

from __future__ import annotations

import datetime as dt
import functools
import json
import operator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_connectors import PostgresSource, SourceContext
from krishiv_connectors.postgres._database import Database
from krishiv_connectors.postgres._errors import (
    KeyNotUnique,
    PostgresRefused,
    PostgresUnavailable,
    QueryChanged,
    QueryUnfit,
    SplitUnfit,
)
from krishiv_connectors.postgres._reading import Fetch
from tests.integration.jobs import wait_until
from tests.integration.postgres.tables import query

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_connectors import Reader, Split
    from tests.services.postgres.server import Postgres

pytestmark = pytest.mark.server("postgres")


@contextmanager
def reading(source: PostgresSource, split: Split, position: Any = None, **context: Any) -> Generator[Reader[Any]]:
    reader = source.open(split, split.start if position is None else position, SourceContext(**context))
    try:
        yield reader
    finally:
        reader.close()


def rows_of(source: PostgresSource, split: Split, position: Any = None, **context: Any) -> list[dict[str, Any]]:
    """Return the rows of a split from `position` on."""
    found: list[dict[str, Any]] = []
    with reading(source, split, position, **context) as reader:
        while not reader.finished:
            batch = reader.read()
            found += [] if batch is None else batch.to_pylist()
    return found


def all_rows(source: PostgresSource) -> list[dict[str, Any]]:
    return [row for split in source.splits() for row in rows_of(source, split)]


VALUES: dict[str, tuple[str, pa.DataType, Any]] = {
    "boolean": ("true", pa.bool_(), True),
    "smallint": ("-7", pa.int16(), -7),
    "bigint": ("9223372036854775807", pa.int64(), 2**63 - 1),
    "real": ("0.5", pa.float32(), 0.5),
    "double precision": ("'NaN'", pa.float64(), None),
    "numeric(9,2)": ("1.2", pa.decimal128(9, 2), Decimal("1.20")),
    "numeric(38,10)": ("'-1.5'", pa.decimal128(38, 10), Decimal("-1.5")),
    "numeric": ("1.200", pa.string(), "1.200"),
    "text": ("'ü'", pa.string(), "ü"),
    "varchar(3)": ("'abc'", pa.string(), "abc"),
    "bytea": (r"'\xff00'", pa.binary(), b"\xff\x00"),
    "date": ("'2026-01-02'", pa.date32(), dt.date(2026, 1, 2)),
    "time": ("'10:00:00.5'", pa.time64("us"), dt.time(10, 0, 0, 500_000)),
    "timestamp": ("'1969-12-31 23:59:59.5'", pa.timestamp("us"), dt.datetime(1969, 12, 31, 23, 59, 59, 500_000)),
    "timestamptz": (
        "'2026-01-02 03:04+02'",
        pa.timestamp("us", tz="UTC"),
        dt.datetime(2026, 1, 2, 1, 4, tzinfo=dt.UTC),
    ),
    "uuid": ("'00000000-0000-0000-0000-00000000000A'", pa.string(), "00000000-0000-0000-0000-00000000000a"),
    "jsonb": ("""'{"a": 1}'""", pa.string(), '{"a": 1}'),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_every_type_are_read(database: str, kind: str) -> None:
    text, expected, value = VALUES[kind]
    source = PostgresSource(database, f"SELECT * FROM (VALUES ({text}::{kind}), (NULL::{kind})) AS t (v)")
    assert source.schema() == pa.schema([("v", expected)])
    first, second = [row["v"] for row in all_rows(source)]
    assert first == value if value is not None else first != first
    assert second is None


@pytest.mark.parametrize(
    "expression", ["1::money", "'1 day'::interval", "'10.0.0.1'::inet", "ARRAY[1]", "1::oid", "ROW(1)"]
)
def test_a_type_that_cannot_be_read_is_refused_with_a_cast_to_write(database: str, expression: str) -> None:
    with pytest.raises(QueryUnfit, match="'v'") as caught:
        PostgresSource(database, f"SELECT {expression} AS v").schema()
    assert "::text" in caught.value.hint


@pytest.mark.parametrize(
    "value", ["'NaN'::numeric(9,2)", "'infinity'::timestamptz", "'-infinity'::timestamp", "'infinity'::date"]
)
def test_a_value_that_the_type_cannot_hold_stops_the_source(database: str, value: str) -> None:
    with pytest.raises(QueryUnfit, match="'v' has a value that is no"):
        all_rows(PostgresSource(database, f"SELECT {value} AS v"))


# --- ranges


@pytest.fixture
def numbers(database: str) -> str:
    """A table of a thousand rows."""
    query(
        database, "CREATE TABLE n (id bigint PRIMARY KEY, v text, at timestamptz, day date, price numeric(9,2), u uuid)"
    )
    query(
        database,
        "INSERT INTO n SELECT i, 'v' || i, '2026-01-01'::timestamptz + i * interval '90.5 seconds', "
        "'2026-01-01'::date + i, i / 4.0, md5(i::text)::uuid FROM generate_series(1, 1000) i",
    )
    return database


@pytest.mark.parametrize("column", ["id", "at", "day", "price"])
@pytest.mark.parametrize("splits", [1, 3, 7])
def test_ranges_hold_every_row_once(numbers: str, column: str, splits: int) -> None:
    source = PostgresSource(numbers, "SELECT * FROM n;", split_by=column, splits=splits)
    ranges = source.splits()
    assert [split.id for split in ranges] == [str(i) for i in range(splits)]
    found = [[row["id"] for row in rows_of(source, split)] for split in ranges]
    assert functools.reduce(operator.iadd, found, []) == list(range(1, 1001))
    assert max(map(len, found)) - min(map(len, found)) <= 2


def test_ranges_of_the_whole_width_of_integers_hold_every_row(database: str) -> None:
    query(
        database, f"CREATE TABLE n AS SELECT * FROM (VALUES ('{-(2**63)}'::bigint), (-1), (0), ({2**63 - 1})) AS v (id)"
    )
    source = PostgresSource(database, "TABLE n", split_by="id", splits=3)
    assert [row["id"] for row in all_rows(source)] == [-(2**63), -1, 0, 2**63 - 1]


def test_one_row_and_many_ranges(database: str) -> None:
    assert all_rows(PostgresSource(database, "SELECT 5 AS id", split_by="id", splits=4)) == [{"id": 5}]


def test_no_rows_are_no_splits(database: str) -> None:
    assert PostgresSource(database, "SELECT 1 AS id WHERE false", split_by="id").splits() == []


def test_rows_that_come_after_the_ranges_were_decided_are_not_read(numbers: str) -> None:
    source = PostgresSource(numbers, "SELECT id FROM n", split_by="id", splits=2)
    splits = source.splits()
    payloads = [dict(split.payload) for split in splits]
    assert json.loads(json.dumps(payloads)) == payloads
    query(numbers, "INSERT INTO n VALUES (1001), (0)")
    assert [row["id"] for split in splits for row in rows_of(source, split)] == list(range(1, 1001))
    assert source.later_splits() == []


# --- positions


@pytest.mark.parametrize("order_by", ["id", "u", "v", ("day", "id"), ("at",), ("price", "v")], ids=str)
def test_every_position_leads_to_exactly_the_rows_behind_it(numbers: str, order_by: Any) -> None:
    source = PostgresSource(numbers, "SELECT * FROM n WHERE id <= 40", order_by=order_by)
    (split,) = source.splits()
    whole = [row["id"] for row in rows_of(source, split)]
    assert sorted(whole) == list(range(1, 41))
    with reading(source, split, batch_rows=7, columns=("v",)) as reader:
        read = 0
        while not reader.finished:
            batch = reader.read()
            if batch is not None:
                assert batch.schema.names == ["v"]
                read += batch.num_rows
                assert [row["id"] for row in rows_of(source, split, reader.position())] == whole[read:]
    assert read == 40


def test_a_position_is_good_when_its_row_is_gone(numbers: str) -> None:
    source = PostgresSource(numbers, "SELECT id FROM n", order_by="id")
    query(numbers, "DELETE FROM n WHERE id BETWEEN 10 AND 20")
    (split,) = source.splits()
    assert rows_of(source, split, ["15"])[0] == {"id": 21}


@pytest.mark.parametrize("position", [[], ["1"], ["2"]], ids=str)
def test_equal_keys_stop_the_source_wherever_it_begins(database: str, position: list[str]) -> None:
    source = PostgresSource(database, "SELECT * FROM (VALUES (1), (2), (2), (3)) AS t (id)", order_by="id")
    (split,) = source.splits()
    with pytest.raises(KeyNotUnique, match="id=2") as caught:
        rows_of(source, split, position)
    assert "order_by=" in caught.value.hint


def test_equal_keys_are_seen_over_the_bounds_of_batches(database: str) -> None:
    text = "repeat('x', 6000000)"  # longer than the driver's batch
    source = PostgresSource(database, f"SELECT id, {text} AS t FROM (VALUES (1), (1)) AS v (id)", order_by="id")
    with pytest.raises(KeyNotUnique):
        all_rows(source)


def test_a_source_without_keys_begins_anew(numbers: str) -> None:
    source = PostgresSource(numbers, "SELECT id FROM n")
    (split,) = source.splits()
    with reading(source, split, batch_rows=10) as reader:
        wait_until(lambda: reader.read() is not None)
        assert reader.position() == []


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("SELECT nope FROM n", {}, QueryUnfit, "column .*nope.* does not exist"),
        ("SELEC 1", {}, QueryUnfit, "syntax error"),
        ("SELECT 1 AS a; DROP TABLE n", {}, QueryUnfit, "syntax error"),
        ("DELETE FROM n", {}, QueryUnfit, "syntax error"),
        ("SELECT 1 AS a, 2 AS a", {}, QueryUnfit, "two columns 'a'"),
        ("SELECT 1 AS a", {"split_by": "b"}, SplitUnfit, "no column 'b'"),
        ("SELECT 1.5::float8 AS a", {"split_by": "a"}, SplitUnfit, "cannot be ordered by 'a'"),
        ("SELECT 'x'::text AS a", {"split_by": "a"}, SplitUnfit, "cannot be split by 'a'"),
        ("SELECT * FROM (VALUES (1), (NULL)) AS t (a)", {"split_by": "a"}, SplitUnfit, "has nulls"),
        ("SELECT 'infinity'::timestamp AS a", {"split_by": "a"}, SplitUnfit, "infinite"),
    ],
)
def test_what_cannot_be_read_is_said_before_the_job_runs(
    numbers: str, text: str, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        PostgresSource(numbers, text, **options).splits()
    assert caught.value.hint
    assert query(numbers, "SELECT count(*) FROM n") == [(1000,)]


def test_a_null_in_an_order_stops_the_source(database: str) -> None:
    with pytest.raises(SplitUnfit, match="'a' has nulls"):
        all_rows(PostgresSource(database, "SELECT * FROM (VALUES (1), (NULL)) AS t (a)", order_by="a"))


def test_a_query_that_fails_in_its_middle_is_an_error(numbers: str) -> None:
    with pytest.raises(QueryUnfit, match="division by zero"):
        all_rows(PostgresSource(numbers, "SELECT id, 1 / (id - 700) AS x FROM n", order_by="id"))


def test_other_columns_than_at_the_beginning_are_an_error(numbers: str) -> None:
    (split,) = PostgresSource(numbers, "SELECT * FROM n", order_by="id").splits()
    query(numbers, "ALTER TABLE n ADD more int")
    with pytest.raises(QueryChanged, match="other columns") as caught:
        rows_of(PostgresSource(numbers, "SELECT * FROM n", order_by="id"), split)
    assert "price: decimal128(9, 2)" in caught.value.hint


def test_a_user_who_may_not_read_is_refused(numbers: str, postgres: Postgres) -> None:
    query(numbers, "CREATE ROLE reader LOGIN PASSWORD 'its-password'")
    dsn = numbers.replace("krishiv:test-password", "reader:its-password")
    with pytest.raises(PostgresRefused, match="permission denied"):
        PostgresSource(dsn, "SELECT * FROM n").schema()
    query(numbers, "GRANT SELECT ON n TO reader")
    assert len(all_rows(PostgresSource(dsn, "SELECT * FROM n"))) == 1000
    query(numbers, "REVOKE ALL ON n FROM reader; DROP ROLE reader")


# --- connections


def test_a_source_that_is_closed_ends_its_statement(database: str) -> None:
    source = PostgresSource(database, "SELECT i AS id, pg_sleep(60)::text AS s FROM generate_series(1, 3) AS i")
    (split,) = source.splits()
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%pg_sleep(60)%' AND state = 'active'"
    with reading(source, split) as reader:
        wait_until(lambda: query(database, running) == [(1,)])
        assert reader.read() is None
    wait_until(lambda: query(database, running) == [(0,)])


def test_a_server_that_dies_while_it_is_read_is_passing_trouble(own_postgres: Postgres) -> None:
    dsn = own_postgres.new_database()
    query(dsn, "CREATE TABLE n AS SELECT i AS id, repeat('x', 1000) AS t FROM generate_series(1, 100000) AS i")
    source = PostgresSource(dsn, "SELECT * FROM n", order_by="id")
    (split,) = source.splits()
    with reading(source, split) as reader:
        wait_until(lambda: reader.read() is not None)
        own_postgres.kill()
        with pytest.raises(PostgresUnavailable):
            wait_until(lambda: reader.read() is None and reader.finished)


def test_a_job_reads_a_table_in_ranges(numbers: str) -> None:
    source = PostgresSource(numbers, "SELECT id, price FROM n", split_by="id", splits=3)
    found = ks.read(source, name="n").filter(ks.col("id") > 500).collect()
    assert sorted(found["id"].to_pylist()) == list(range(501, 1001))


def test_a_fetch_that_is_refused_is_told_as_the_client_tells_it(database: str) -> None:

    with pytest.raises(PostgresRefused, match="password authentication failed"):
        Fetch(Database(database, "wrong"), "SELECT 1")
