"""The server of the tests itself: it is durable, asks for passwords, and comes back after a kill with its data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.integration.postgres.tables import query
from tests.services.postgres.server import Postgres, Unavailable

pytestmark = pytest.mark.server("postgres")

SCRIPT = Path(__file__).parents[2] / "services" / "postgres" / "server.py"


def test_the_server_makes_commits_durable_and_asks_for_passwords(postgres: Postgres) -> None:
    settings = [query(postgres.dsn(), f"SHOW {name}")[0][0] for name in ("fsync", "synchronous_commit")]
    assert settings == ["on", "on"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn(password="other"))


def test_the_server_comes_back_after_a_kill_with_what_was_committed(own_postgres: Postgres) -> None:
    dsn = own_postgres.dsn()
    query(dsn, "CREATE TABLE kept (id int)")
    query(dsn, "INSERT INTO kept VALUES (1)")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        psycopg.connect(dsn)
    own_postgres.start()
    assert query(dsn, "SELECT * FROM kept") == [(1,)]


def test_the_server_answers_after_a_pause(own_postgres: Postgres) -> None:
    own_postgres.pause()
    own_postgres.resume()
    assert query(own_postgres.dsn(), "SELECT 1") == [(1,)]


def test_the_server_can_be_run_by_hand(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> None:
    with Postgres() as folder:  # whose folder the server's user can reach
        place = folder.folder / "by-hand"
        place.mkdir()
        with subprocess.Popen([sys.executable, str(SCRIPT), str(place)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            dsn = process.stdout.readline().strip()
            assert query(dsn, "SELECT 1") == [(1,)]
            process.terminate()
        assert process.returncode == 0


def test_a_missing_installation_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.services.postgres.server._PLACES", tmp_path)
    server = Postgres()
    with pytest.raises(Unavailable, match="apt-get install"):
        server.start()
    assert not server.folder.exists()
