"""Fixtures for tests that need a PostgreSQL server: a ``conftest.py`` imports those that its folder needs.

Their tests carry ``@pytest.mark.server("postgres")``: without it they are skipped, or fail where it was promised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services.postgres.server import Postgres, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["database", "own_postgres", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that all tests of a process share."""
    yield from _started()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, which it may kill and pause."""
    yield from _started()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """How to connect to an empty database on the shared server."""
    return postgres.new_database()


def _started() -> Iterator[Postgres]:
    # Not in pytest's folder: that is closed to other users, and the server does not run as root.
    server = Postgres()
    try:
        server.start()
    except Unavailable as missing:
        pytest.skip(str(missing))
    yield server
    server.close()
