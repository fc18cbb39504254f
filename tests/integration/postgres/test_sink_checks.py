"""What keeps a job from writing is said before it runs; what goes wrong later, with what can be done about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from krishiv_checkpoint import CommitStatus, FilesystemStore
from krishiv_connectors import PostgresSink, Secret
from krishiv_connectors._errors import OutputFull
from krishiv_connectors.postgres._errors import (
    BadDsn,
    PostgresFailed,
    PostgresRefused,
    PostgresUnavailable,
    PostgresUnfit,
    TableMissing,
    UnstorableValue,
)
from tests.integration.postgres.tables import opened, query, table_target
from tests.services.processes import free_ports
from tests.unit.sinks.contract import SCHEMA, Attempt, rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgres.server import Postgres
    from tests.unit.sinks.contract import Target

pytestmark = pytest.mark.server("postgres")


@pytest.fixture
def target(database: str, tmp_path: Path) -> Target:
    """An empty database."""
    return table_target(database, FilesystemStore(tmp_path), tmp_path)


@pytest.fixture
def clerk(database: str) -> Iterator[str]:
    """How a user connects who may do nothing yet."""
    query(database, "REVOKE ALL ON SCHEMA public FROM public")
    query(database, "DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN PASSWORD 'its-password'")
    yield database.replace("krishiv:test-password", "clerk:its-password")
    query(database, "DROP OWNED BY clerk; DROP ROLE clerk")


# --- the way to the server


def test_a_server_that_nobody_runs_is_said(database: str) -> None:
    (port,) = free_ports(1)
    with pytest.raises(PostgresUnavailable, match=f"127.0.0.1:{port}/x.*refused") as caught:
        PostgresSink(f"postgresql://alice:hunter2@127.0.0.1:{port}/x", "t").check(SCHEMA)
    assert "hunter2" not in str(caught.value)
    assert "is up" in caught.value.hint


@pytest.mark.parametrize("password", ["hunter2", Secret("hunter2")])
def test_a_wrong_password_is_refused_and_not_shown(database: str, password: str | Secret) -> None:
    with pytest.raises(PostgresRefused, match="password authentication failed") as caught:
        PostgresSink(database, "t", password=password).check(SCHEMA)
    assert "hunter2" not in str(caught.value)
    assert "test-password" not in str(caught.value)
    assert "Secret" in caught.value.hint


def test_a_missing_database_is_said(postgres: Postgres) -> None:
    with pytest.raises(PostgresRefused, match='database "nowhere" does not exist') as caught:
        PostgresSink(postgres.dsn("nowhere"), "t").check(SCHEMA)
    assert "create the database" in caught.value.hint


def test_a_dsn_that_is_none_is_refused() -> None:
    with pytest.raises(BadDsn):
        PostgresSink("shop", "t").check(SCHEMA)


def test_a_password_of_its_own_opens_the_door(database: str) -> None:
    PostgresSink(database.replace(":test-password", ""), "t", password=Secret("test-password")).check(SCHEMA)


def test_a_server_without_a_connection_to_spare_is_passing_trouble(database: str, clerk: str) -> None:
    query(database, "GRANT USAGE, CREATE ON SCHEMA public TO clerk; ALTER ROLE clerk CONNECTION LIMIT 0")
    with pytest.raises(PostgresUnavailable, match="too many connections") as caught:
        PostgresSink(clerk, "t").check(SCHEMA)
    assert "max_connections" in caught.value.hint


# --- what a user may do


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_what_a_user_may_not_do_is_named_one_by_one_until_it_may(database: str, clerk: str, mode: Any) -> None:
    keys = ("id",) if mode == "upsert" else ()
    sink = PostgresSink(clerk, "orders", mode=mode, keys=keys, schema="public")
    granted: list[str] = []
    while len(granted) < 6:
        try:
            sink.check(SCHEMA)
            break
        except PostgresRefused as refused:
            granted.append(refused.hint)
            query(database, refused.hint)
    assert granted == ["GRANT USAGE ON SCHEMA public TO clerk", "GRANT CREATE ON SCHEMA public TO clerk"]
    with opened(sink, slot=0 if keys else None):
        pass


def test_rights_on_a_table_that_exists_are_looked_at(database: str, clerk: str) -> None:
    with opened(PostgresSink(database, "orders")):
        pass
    query(database, "GRANT USAGE ON SCHEMA public TO clerk")
    sink = PostgresSink(clerk, "orders")
    for grant in ("GRANT INSERT ON .*orders", "GRANT SELECT, INSERT, UPDATE ON .*_krishiv_marks"):
        with pytest.raises(PostgresRefused, match=r"clerk@.*: user clerk lacks") as caught:
            sink.check(SCHEMA)
        query(database, caught.value.hint)
        assert re.search(grant, caught.value.hint)
    sink.check(SCHEMA)
    with opened(sink) as committer:
        committer.apply(0, 1, 0, 1, iter(()))
        assert committer.last_applied(committer.ctx.lineage, 0) == 1


def test_a_user_who_may_only_read_is_refused(database: str, clerk: str) -> None:
    query(database, "GRANT ALL ON SCHEMA public TO clerk; ALTER ROLE clerk SET default_transaction_read_only = on")
    with pytest.raises(PostgresRefused, match="only read") as caught:
        PostgresSink(clerk, "t").check(SCHEMA)
    assert "primary" in caught.value.hint


# --- tables that cannot keep what a mark promises


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("CREATE UNLOGGED TABLE orders ({})", "unlogged"),
        ("CREATE TABLE other ({}); CREATE VIEW orders AS TABLE other", "a view"),
        ("CREATE TABLE other ({}); CREATE MATERIALIZED VIEW orders AS TABLE other", "a materialized view"),
    ],
)
def test_a_table_of_another_kind_is_refused(database: str, statement: str, found: str) -> None:
    query(database, statement.format("id bigint, name text, price float8"))
    with pytest.raises(PostgresUnfit, match=found) as caught:
        PostgresSink(database, "orders").check(SCHEMA)
    assert caught.value.hint


def test_row_level_security_is_refused(database: str, clerk: str) -> None:
    query(database, "CREATE TABLE orders (id bigint, name text, price float8); GRANT ALL ON SCHEMA public TO clerk")
    query(database, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; GRANT ALL ON orders TO clerk")
    with pytest.raises(PostgresUnfit, match="row level security"):
        PostgresSink(clerk, "orders").check(SCHEMA)


def test_a_partitioned_table_is_fine(database: str, tmp_path: Path) -> None:
    query(database, "CREATE TABLE orders (id bigint, name text, price float8) PARTITION BY RANGE (id)")
    query(database, "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (100)")
    target = table_target(database, FilesystemStore(tmp_path), tmp_path)
    target.sink().check(SCHEMA)
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1, 99))
    assert target.rows() == rows_of(1, 99)


def test_a_database_of_another_encoding_is_refused(postgres: Postgres) -> None:
    query(postgres.dsn(), "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(PostgresUnfit, match="LATIN1"):
        PostgresSink(postgres.dsn("latin"), "t").check(SCHEMA)


def test_a_missing_schema_is_said(database: str) -> None:
    with pytest.raises(TableMissing, match="'sales' does not exist"):
        PostgresSink(database, "t", schema="sales").check(SCHEMA)
    query(database, "ALTER ROLE krishiv IN DATABASE " + database.rpartition("/")[2] + " SET search_path = ''")
    with pytest.raises(TableMissing, match="search path"):
        PostgresSink(database, "t").check(SCHEMA)


# --- what goes wrong within a commit, by what the server says


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("40001", CommitStatus.RETRY_LATER),
        ("40P01", CommitStatus.RETRY_LATER),
        ("57P01", CommitStatus.RETRY_LATER),
        ("57014", CommitStatus.RETRY_LATER),
        ("53200", CommitStatus.RETRY_LATER),
        ("53100", OutputFull),
        ("22003", UnstorableValue),
        ("23514", PostgresFailed),
        ("P0001", PostgresFailed),
    ],
)
def test_trouble_within_a_commit_is_retried_if_it_passes_and_named_if_it_does_not(
    database: str, target: Target, state: str, outcome: Any
) -> None:
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1)
        body = f"BEGIN RAISE 'no' USING ERRCODE = '{state}'; END"
        query(database, f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        query(database, "CREATE TRIGGER fail BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fail()")
        if isinstance(outcome, CommitStatus):
            assert attempt.commit(committable) == [outcome]
        else:
            with pytest.raises(outcome, match=r"public\.orders.*no") as caught:
                attempt.commit(committable)
            assert "resumes from its last checkpoint" in caught.value.hint
        assert target.rows() == []
        assert attempt.committer.last_applied(attempt.lineage, 0) is None
        query(database, "DROP TRIGGER fail ON orders")
        assert attempt.commit(committable) == [CommitStatus.DONE]
        assert target.rows() == rows_of(1)


def test_a_commit_is_durable_whatever_the_user_set(database: str, target: Target) -> None:
    query(database, "ALTER DATABASE " + database.rpartition("/")[2] + " SET synchronous_commit = off")
    assert query(database, "SHOW synchronous_commit") == [("off",)]
    with Attempt(target) as attempt, attempt.committer._committing.connections.borrowed("a test") as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_a_connection_that_the_server_ended_meanwhile_is_replaced(
    database: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krishiv_connectors.postgres._database._IDLE", 0.0)
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        query(
            database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'krishiv/%'"
        )
        assert attempt.commit(attempt.stage(0, 2, 2)) == [CommitStatus.DONE]
    assert target.rows() == rows_of(1, 2)
