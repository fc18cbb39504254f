"""The PostgreSQL connector without a server: types, statements, what errors mean, and that passwords do not print."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from krishiv_connectors import PostgresSink, PostgresSource, Secret
from krishiv_connectors._errors import OutputFull, TableMismatch, TargetBusy, UnsupportedColumn
from krishiv_connectors.postgres._append_sink import AppendPostgresSink
from krishiv_connectors.postgres._database import Database
from krishiv_connectors.postgres._errors import (
    BadDsn,
    PostgresFailed,
    PostgresRefused,
    PostgresUnavailable,
    SplitUnfit,
    TableMissing,
    UnstorableValue,
)
from krishiv_connectors.postgres._failures import translated
from krishiv_connectors.postgres._split_ranges import Keys, Query, check_keys, literal
from krishiv_connectors.postgres._table import Table
from krishiv_connectors.postgres._types import Column, declared, quoted, wire_type
from krishiv_connectors.postgres._upsert_sink import UpsertPostgresSink, _last_of_each, _statements
from krishiv_connectors.postgres._values import Fitting
from krishiv_guarantees import ConfigurationError, FatalError, RetriableError, SinkCapabilities

DSN = "postgresql://alice:hunter2@db.example:6543/shop?sslpassword=hunter2"


# --- what it is


def test_the_mode_decides_the_class_and_what_it_can_do() -> None:
    append = PostgresSink(DSN, "t")
    upsert = PostgresSink(DSN, "t", mode="upsert", keys="id")
    assert (type(append), type(upsert)) == (AppendPostgresSink, UpsertPostgresSink)
    assert append.capabilities() == SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True)
    assert upsert.capabilities() == SinkCapabilities(durable_flush=True, idempotent_by=("id",))
    assert append.guarantee_config() == {"mode": "append"}


def test_a_table_with_a_dot_in_its_name_asks_for_the_schema() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresSink(DSN, "sales.orders")
    assert 'schema="sales", table="orders"' in caught.value.hint
    PostgresSink(DSN, "a.b", schema="public")


@pytest.mark.parametrize("name", ["", "x" * 64, "ü" * 32])
def test_a_name_that_the_server_would_cut_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="63 bytes"):
        PostgresSink(DSN, name)


# --- passwords


@pytest.mark.parametrize("password", [None, "hunter2", Secret("hunter2")])
def test_no_password_prints(password: str | Secret | None) -> None:
    for made in (Database(DSN, password), PostgresSink(DSN, "t", password=password), PostgresSource(DSN, "SELECT 1")):
        shown = f"{made!r} {vars(made)!r}"
        assert "hunter2" not in shown
    assert Database(DSN).place == "alice@db.example:6543/shop"


@pytest.mark.parametrize("dsn", ["hunter2", "postgresql://alice:hunter2@h/x?nope=1", "host=h hunter2"])
def test_a_bad_dsn_is_not_repeated(dsn: str) -> None:
    with pytest.raises(BadDsn) as caught:
        _ = Database(dsn).place
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_of_its_own_goes_before_that_in_the_dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "other")
    parameters = Database(DSN, Secret.from_env("SHOP_PASSWORD")).parameters("me")
    assert parameters["password"] == "other"
    assert parameters["application_name"] == "me"
    assert parameters["connect_timeout"] == "10"


def test_settings_of_the_dsn_go_before_ours() -> None:
    assert Database("host=h connect_timeout=3").parameters("me")["connect_timeout"] == "3"


# --- types


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        (pa.int8(), "smallint"),
        (pa.uint16(), "integer"),
        (pa.uint32(), "bigint"),
        (pa.uint64(), "numeric(20,0)"),
        (pa.dictionary(pa.int8(), pa.string()), "text"),
        (pa.timestamp("ns", tz="UTC"), "timestamp with time zone"),
        (pa.timestamp("s"), "timestamp"),
        (pa.decimal128(38, 10), "numeric(38,10)"),
        (pa.list_(pa.timestamp("us")), "timestamp[]"),
        (pa.uuid(), "uuid"),
    ],
    ids=str,
)
def test_a_new_column_is_declared_as(kind: pa.DataType, sql: str) -> None:
    assert declared(pa.schema([("c", kind)])) == {"c": sql}


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema([("c", pa.struct({"a": pa.int8()}))]),
        pa.schema([("c", pa.list_(pa.list_(pa.int8())))]),
        pa.schema([("c", pa.decimal256(40, 0))]),
        pa.schema([("c", pa.month_day_nano_interval())]),
        pa.schema([("c", pa.int8()), ("c", pa.int8())]),
        pa.schema([("", pa.int8())]),
        pa.schema([("x" * 64, pa.int8())]),
        pa.schema([("a\0", pa.int8())]),
    ],
)
def test_a_column_that_cannot_be_is_refused(schema: pa.Schema) -> None:
    with pytest.raises(UnsupportedColumn) as caught:
        declared(schema)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "column", "modifier", "wire"),
    [
        (pa.int8(), "int8", -1, pa.int64()),
        (pa.uint32(), "int4", -1, None),
        (pa.int64(), "numeric", -1, pa.decimal128(19, 0)),
        (pa.int64(), "numeric", (18 << 16 | 0) + 4, None),
        (pa.int64(), "numeric", (19 << 16 | 0) + 4, pa.decimal128(19, 0)),
        (pa.decimal128(9, 2), "numeric", (9 << 16 | 3) + 4, None),
        (pa.decimal128(9, 2), "numeric", (10 << 16 | 3) + 4, pa.decimal128(9, 2)),
        (pa.decimal128(9, -2), "numeric", (9 << 16 | (-2 & 0x7FF)) + 4, pa.decimal128(9, -2)),
        (pa.float64(), "float4", -1, None),
        (pa.int32(), "float8", -1, None),
        (pa.large_string(), "text", -1, pa.large_string()),
        (pa.string(), "jsonb", -1, None),
        (pa.timestamp("us"), "timestamptz", -1, None),
        (pa.timestamp("us", tz="UTC"), "timestamp", -1, None),
        (pa.null(), "int4", -1, pa.int32()),
        (pa.binary(8), "uuid", -1, None),
        (pa.list_(pa.int8()), "_int4", -1, pa.list_(pa.int32())),
        (pa.list_(pa.int64()), "_int4", -1, None),
        (pa.int8(), "_int4", -1, None),
    ],
    ids=str,
)
def test_a_column_takes_what_it_can_hold_all_of(
    kind: pa.DataType, column: str, modifier: int, wire: pa.DataType | None
) -> None:
    field, found = pa.field("c", kind), Column("c", column, column, modifier)
    if wire is None:
        with pytest.raises(TableMismatch):
            wire_type(field, found, "t")
    else:
        assert wire_type(field, found, "t") == wire


def test_values_are_cast_in_slices_too() -> None:
    batch = pa.record_batch({"c": pa.array(["a\0", "b", None, "c\0"])}).slice(1, 2)
    fitting = Fitting(batch.schema, {"c": Column("c", "text", "text")}, "t")
    assert fitting.fit(batch).column("c").to_pylist() == ["b", None]
    with pytest.raises(UnstorableValue):
        fitting.fit(pa.record_batch({"c": pa.array(["a", "b\0"])}))


def test_text_that_is_not_utf_8_is_refused() -> None:
    wrong = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xff"]).buffers()[1:]])
    with pytest.raises(UnstorableValue, match="not UTF-8"):
        Fitting(pa.schema([("c", pa.string())]), {"c": Column("c", "text", "text")}, "t").fit(
            pa.record_batch([wrong], names=["c"])
        )


# --- statements


def test_names_and_values_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("O'Hara \\", "text") == "E'O''Hara \\\\'::text"


def test_an_upsert_sets_what_is_no_key_in_the_order_of_the_keys() -> None:
    _, merge = _statements(Table("public", "t"), ["a", "b", "v"], ("b", "a"))
    assert merge == (
        'INSERT INTO "public"."t" ("a", "b", "v") SELECT "a", "b", "v" FROM _krishiv_batch ORDER BY "b", "a" '
        'ON CONFLICT ("b", "a") DO UPDATE SET "v" = excluded."v"'
    )
    assert _statements(Table("public", "t"), ["a"], ("a",))[1].endswith('ON CONFLICT ("a") DO NOTHING')


def test_the_last_row_of_each_key_is_kept() -> None:
    rows = pa.table({"a": [1, 2, 1, 1], "b": ["x", "x", "y", "x"], "v": [1, 2, 3, 4]})
    kept = _last_of_each(rows, ("a", "b"))
    assert sorted(kept["v"].to_pylist()) == [2, 3, 4]


def test_a_query_is_read_from_behind_a_key_in_the_order_of_its_keys() -> None:
    keys = Keys({"at": "timestamptz", "id": "int8"})
    statement = Query("SELECT * FROM t -- all;").select(['"id"'], [keys.at_least(["2026-01-01Z", "5"])], keys)
    assert statement == (
        'SELECT "id" FROM (\nSELECT * FROM t -- all\n) AS krishiv_rows '
        """WHERE (krishiv_rows."at", krishiv_rows."id") >= (E'2026-01-01Z'::timestamptz, E'5'::int8) """
        'ORDER BY krishiv_rows."at", krishiv_rows."id"'
    )


@pytest.mark.parametrize("kind", ["float8", "bool", "jsonb", "numeric"])
def test_rows_have_no_order_by(kind: str) -> None:
    with pytest.raises(SplitUnfit, match="'k'"):
        check_keys({"k": kind}, ())
    check_keys({"k": "numeric"}, {"k"})


@pytest.mark.parametrize(
    "options",
    [{"splits": 0}, {"split_by": "a", "order_by": "b"}, {"order_by": ("a", "a")}],
)
def test_arguments_of_a_source_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PostgresSource(DSN, "SELECT 1", **options)


def test_a_source_without_an_order_has_no_exact_positions() -> None:
    plain = PostgresSource(DSN, "SELECT 1 AS a").capabilities()
    ordered = PostgresSource(DSN, "SELECT 1 AS a", split_by="a").capabilities()
    assert (plain.replayable, plain.exact_positions, plain.ordered_replay) == (True, False, False)
    assert (ordered.replayable, ordered.exact_positions, ordered.ordered_replay) == (True, True, True)
    assert ordered.bounded


# --- errors


def failure(state: str, message: str = "it says so") -> psycopg.Error:
    """Return an error as the client raises it."""
    kind: Any = psycopg.errors.lookup(state)
    return kind(message)


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("28P01", PostgresRefused, "password"),
        ("28000", PostgresRefused, "pg_hba"),
        ("3D000", PostgresRefused, "create the database"),
        ("42501", PostgresRefused, "grant"),
        ("25006", PostgresRefused, "primary"),
        ("53100", OutputFull, "free space"),
        ("53300", PostgresUnavailable, "max_connections"),
        ("57P01", PostgresUnavailable, "is up"),
        ("57P03", PostgresUnavailable, "is up"),
        ("08006", PostgresUnavailable, "is up"),
        ("40001", TargetBusy, "transaction"),
        ("40P01", TargetBusy, "transaction"),
        ("55P03", TargetBusy, "transaction"),
        ("22021", UnstorableValue, "type"),
        ("22003", UnstorableValue, "type"),
        ("23505", PostgresFailed, "constraint"),
        ("42P01", TableMissing, "create it"),
        ("XX000", PostgresFailed, "mend"),
    ],
)
def test_an_error_of_the_server_says_what_to_do(state: str, kind: type[Exception], hint: str) -> None:
    found = translated(failure(state), "table t", "u@h/x")
    assert type(found) is kind
    assert hint in found.hint
    assert re.search(r"table t in u@h/x: it says so", str(found))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('FATAL:  password authentication failed for user "x"', PostgresRefused),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', PostgresRefused),
        ('FATAL:  database "x" does not exist', PostgresRefused),
        ("FATAL:  sorry, too many clients already", PostgresUnavailable),
        ("FATAL:  the database system is starting up", PostgresUnavailable),
        ("Connection refused", PostgresUnavailable),
        ("server closed the connection unexpectedly", PostgresUnavailable),
    ],
)
def test_a_connection_that_was_refused_is_told_by_its_words(message: str, kind: type[Exception]) -> None:
    assert type(translated(psycopg.OperationalError(message), "connecting", "h/x")) is kind


def test_passing_trouble_is_retried_and_lasting_is_not() -> None:
    assert isinstance(translated(failure("57P01"), "t", "h"), RetriableError)
    assert isinstance(translated(failure("23505"), "t", "h"), FatalError)
