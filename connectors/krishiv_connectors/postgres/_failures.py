"""What the server's errors mean, by their SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from krishiv_connectors._errors import OutputFull, TargetBusy
from krishiv_connectors.postgres._errors import (
    PostgresFailed,
    PostgresRefused,
    PostgresUnavailable,
    TableMissing,
    UnstorableValue,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from krishiv_guarantees import KrishivError

__all__ = ["CONNECTION_LOST", "passing", "postgres_errors", "translated"]

CONNECTION_LOST = "08006"

_RESUMES = "then run the job again: it resumes from its last checkpoint"
_CONNECTIONS = "raise max_connections, lower the job's parallelism, or end other clients"

# libpq hands on no SQLSTATE for a connection that was refused, only the server's words.
_WORDS = (
    ("28P01", r"password authentication failed|no password supplied|requires a password"),
    ("28000", r"no pg_hba\.conf entry|role \"[^\"]*\" does not exist|is not permitted to log in|authentication failed"),
    ("3D000", r"database \"[^\"]*\" does not exist"),
    ("42501", r"permission denied"),
    ("53300", r"too many clients|remaining connection slots|too many connections"),
    ("57P03", r"the database system is|not yet accepting connections"),
)


def translated(error: Any, what: str, place: str) -> KrishivError:
    """Return a ``psycopg.Error`` as one of ours.

    Parameters
    ----------
    what : str
        What was being done, as a phrase: ``"table orders"``.
    place : str
        Which database, without its password.
    """
    said = _said(error)
    state = error.sqlstate or _state_of(said) or (CONNECTION_LOST if _is_connection_lost(error) else "")
    text = f"{what} in {place}: {said}"
    return passing(state, text, place) or _lasting(state, text, place)


def passing(state: str, text: str, place: str) -> KrishivError | None:
    """Return the error of an SQLSTATE if it speaks of the server, not of what was asked."""
    return _refused(state, text, place) or _passing(state, text, place)


def _refused(state: str, text: str, place: str) -> KrishivError | None:
    hints = {
        "28P01": "check the password: password=Secret.from_env(...), or the one in the dsn",
        "3D000": "create the database, or mend its name in the dsn",
        "42501": "grant this user what it needs: USAGE and CREATE on the schema; INSERT, SELECT, UPDATE on the tables",
        "25006": "this server is a standby or read-only: connect to the primary (target_session_attrs=read-write)",
    }
    hint = hints.get(state) or ("check user, password and pg_hba.conf of the server" if state[:2] == "28" else "")
    return PostgresRefused(text, hint=hint, place=place, sqlstate=state) if hint else None


def _passing(state: str, text: str, place: str) -> KrishivError | None:
    if state == "53100":
        return OutputFull(text, hint=f"free space on the server's disk, {_RESUMES}", path=place)
    if state in ("55P03", "55006", "57014") or state[:2] == "40":
        return TargetBusy(text, hint="another transaction holds what this one needs", after=0.5)
    if state == "53300":
        return PostgresUnavailable(text, hint=_CONNECTIONS, place=place)
    if state[:2] in ("08", "53", "57") or state == "25P03":
        return PostgresUnavailable(text, hint="see that the server is up and can be reached from here", place=place)
    return None


def _lasting(state: str, text: str, place: str) -> KrishivError:
    if state[:2] == "22":
        return UnstorableValue(text, hint=f"give the column a type that holds the value, {_RESUMES}", place=place)
    if state in ("42P01", "3F000"):
        return TableMissing(text, hint="create it, or mend its name", place=place)
    if state[:2] == "23":
        hint = f"the rows break a constraint of the table: drop it, or make room for them, {_RESUMES}"
    else:
        hint = f"mend the cause, {_RESUMES}"
    return PostgresFailed(text, hint=hint, place=place, sqlstate=state)


def _is_connection_lost(error: Any) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error, OperationalError | InterfaceError)


def _said(error: Any) -> str:
    parts = [error.diag.message_primary or str(error).strip() or type(error).__name__, error.diag.message_detail]
    return " ".join(" ".join(part.split()) for part in parts if part)


def _state_of(said: str) -> str:
    return next((state for state, words in _WORDS if re.search(words, said)), "")


@contextmanager
def postgres_errors(what: str, place: str) -> Generator[None]:
    """Raise the client's errors as ours."""
    from psycopg import Error

    try:
        yield
    except Error as error:
        raise translated(error, what, place) from error
