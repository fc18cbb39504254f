"""What a user may do, asked before a job starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from krishiv_connectors.postgres._errors import PostgresRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from krishiv_connectors.postgres._table import Table

__all__ = ["Right", "check_rights", "on_database", "on_schema", "on_table"]


class Right(NamedTuple):
    """Something that has to be allowed.

    Parameters
    ----------
    what : str
        As it stands in a GRANT.
    query : str
        The expression that tells whether it is.
    values : tuple
        The parameters of `query`.
    """

    what: str
    query: str
    values: tuple[Any, ...]


def on_schema(right: str, schema: str) -> Right:
    """Return a right on a schema."""
    return Right(f"{right} ON SCHEMA {schema}", f"has_schema_privilege(%s, '{right}')", (schema,))


def on_table(table: Table, *rights: str) -> Right:
    """Return rights on a table that exists."""
    checks = " AND ".join(f"has_table_privilege(%s::oid, '{right}')" for right in rights)
    return Right(f"{', '.join(rights)} ON {table.sql}", checks, (table.oid,) * len(rights))


def on_database(right: str, database: str) -> Right:
    """Return a right on the database that one is connected to."""
    return Right(f"{right} ON DATABASE {database}", f"has_database_privilege(%s, '{right}')", (database,))


def check_rights(connection: Any, place: str, rights: Iterable[Right]) -> None:
    """Raise if this user lacks one of `rights`.

    Raises
    ------
    PostgresRefused
        With what to grant.
    """
    for right in rights:
        if not connection.execute(f"SELECT {right.query}", right.values).fetchone()[0]:
            (user,) = connection.execute("SELECT current_user").fetchone()
            text = f"{place}: user {user} lacks {right.what}"
            raise PostgresRefused(text, hint=f"GRANT {right.what} TO {user}", place=place, sqlstate="42501")
