"""Where a database is and how it is connected to. It prints without its password.

What comes from psycopg is `Any` here: it is imported when it is first needed.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from krishiv_connectors._extras import need
from krishiv_connectors._secrets import Secret
from krishiv_connectors.postgres._errors import BadDsn
from krishiv_connectors.postgres._failures import postgres_errors

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["CLIENT_LIBRARIES", "Connections", "Database"]

CLIENT_LIBRARIES = ("psycopg", "pgpq")

_DEFAULTS = {
    "connect_timeout": "10",
    # A server that is gone without a word is noticed within a minute, not after the hours that TCP takes.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_LOCK_TIMEOUT = "2s"
"""How long a statement waits for a lock before it is given up, and tried again later."""
_SETTINGS = f"""
SELECT set_config('lock_timeout', '{_LOCK_TIMEOUT}', false),
       set_config('statement_timeout', '0', false),
       set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                  ELSE current_setting('synchronous_commit') END, false)
"""
_IDLE = 20.0
"""Seconds after which a connection is asked whether it is alive before it is used."""


class Database:
    """A database, and who connects to it.

    Parameters
    ----------
    dsn : str or Secret
        A connection string of libpq: ``postgresql://user@host:port/name`` or ``host=... dbname=...``.
    password : str or Secret, optional
        Goes before one in the dsn.
    """

    def __init__(self, dsn: str | Secret, password: str | Secret | None = None) -> None:
        self._dsn = dsn if isinstance(dsn, Secret) else Secret(dsn)
        self._password = Secret(password) if isinstance(password, str) else password

    def __repr__(self) -> str:
        return f"Database({self._dsn!r})"

    @property
    def place(self) -> str:
        """Which database this is, in words that may be shown: ``"user@host:port/name"``."""
        given = self._parameters()
        host = f"{given.get('host') or given.get('hostaddr') or 'localhost'}:{given.get('port') or 5432}"
        user = f"{given['user']}@" if given.get("user") else ""
        return f"{user}{host}/{given.get('dbname') or given.get('user') or ''}"

    def connect(self, application: str = "krishiv-stream") -> Any:
        """Return a new connection in autocommit mode, with settings under which a commit that returned is durable.

        Raises
        ------
        BadDsn, PostgresRefused, PostgresUnavailable
        """
        parameters = self.parameters(application)
        with postgres_errors("connecting", self.place):
            connection = _library().connect(**parameters, autocommit=True)
            try:
                connection.execute(_SETTINGS)
            except BaseException:
                connection.close()
                raise
        return connection

    @contextmanager
    def connected(self, what: str, application: str = "krishiv-stream") -> Generator[Any]:
        """Give a connection for a while, and raise what goes wrong with it as ours."""
        connection = self.connect(application)
        try:
            with postgres_errors(what, self.place):
                yield connection
        finally:
            connection.close()

    def parameters(self, application: str) -> dict[str, str]:
        """Return what libpq is told, the password included."""
        given = {**_DEFAULTS, **self._parameters()}
        given |= {"application_name": application, "client_encoding": "UTF8"}
        if self._password is not None:
            given["password"] = self._password.reveal()
        return given

    def uri(self, application: str) -> str:
        """Return the same as one text, the password included."""
        made: str = _library().conninfo.make_conninfo(**self.parameters(application))
        return made

    def _parameters(self) -> dict[str, str]:
        library = _library()
        try:
            parsed = library.conninfo.conninfo_to_dict(self._dsn.reveal())
        except library.Error:
            raise BadDsn(
                "the dsn is no connection string of PostgreSQL",
                hint='write "postgresql://user@host:5432/database" or "host=... dbname=..."; escape special characters',
            ) from None
        return {name: str(value) for name, value in parsed.items() if value is not None}


class Connections:
    """The connections of one open sink: as many as are used at the same time.

    Parameters
    ----------
    application : str
        The name under which the server knows them.
    """

    def __init__(self, database: Database, application: str) -> None:
        self.place = database.place
        self._database = database
        self._application = application
        self._idle: list[tuple[Any, float]] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def borrowed(self, what: str) -> Generator[Any]:
        """Give a connection to one thread. After an error it is closed, and with it an open transaction."""
        connection = self._take()
        try:
            with postgres_errors(what, self.place):
                yield connection
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self) -> Any:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection, since = self._idle.pop()
            if time.monotonic() - since < _IDLE or _is_alive(connection):
                return connection
            connection.close()
        return self._database.connect(self._application)

    def _give_back(self, connection: Any) -> None:
        with self._lock:
            if not self._closed and not connection.closed:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()


def _is_alive(connection: Any) -> bool:
    try:
        connection.execute("SELECT 1")
    except _library().Error:
        return False
    return True


def _library() -> Any:
    need("psycopg.conninfo", "postgres", what="a PostgreSQL connector")
    return need("psycopg", "postgres", what="a PostgreSQL connector")
