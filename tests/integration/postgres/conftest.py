"""Tests against a real PostgreSQL."""

from tests.services.postgres.fixtures import database, own_postgres, postgres

__all__ = ["database", "own_postgres", "postgres"]
