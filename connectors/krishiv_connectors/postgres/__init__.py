"""PostgreSQL: queries as sources, tables as sinks. Needs the extra ``krishiv-stream[postgres]``."""

from krishiv_connectors.postgres._postgres_sink import PostgresSink
from krishiv_connectors.postgres._postgres_source import PostgresSource

__all__ = ["PostgresSink", "PostgresSource"]
