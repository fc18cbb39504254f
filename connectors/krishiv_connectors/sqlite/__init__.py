"""SQLite."""

from krishiv_connectors.sqlite._sqlite_sink import SqliteSink

__all__ = ["SqliteSink"]
