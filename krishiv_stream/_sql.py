"""Batch SQL over registered tables, by DataFusion."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

from krishiv_guarantees import ConfigurationError, PlanError

if TYPE_CHECKING:
    import pyarrow as pa
    from datafusion import SessionContext

    from krishiv_connectors import Source

__all__ = ["BatchSql"]


class BatchSql:
    """Tables by name, and the queries over them.

    The queries run on a thread of the blocking pool: an event loop that awaits one stays responsive.
    """

    def __init__(self) -> None:
        self._context: SessionContext | None = None

    def register(self, name: str, table: pa.Table | pa.RecordBatch | Source[object]) -> None:
        """Make `table` known to queries as `name`; a source is read whole, once, when it is registered.

        Raises
        ------
        ConfigurationError
            If a source never ends.
        """
        import pyarrow as pa

        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        elif not isinstance(table, pa.Table):
            table = read_all(table)
        context = self._datafusion()
        context.deregister_table(name)
        context.register_record_batches(name, [table.to_batches()])

    async def collect(self, text: str) -> pa.Table:
        """Run one query and return its rows."""
        return await asyncio.to_thread(self._collect, text)

    def _collect(self, text: str) -> pa.Table:
        try:
            return self._datafusion().sql(text).to_arrow_table()
        except Exception as error:  # datafusion raises bare Exception
            raise PlanError(
                f"the query failed: {error}",
                hint="see the DataFusion SQL reference; names are case-sensitive in quotes",
            ) from error

    def _datafusion(self) -> SessionContext:
        if self._context is None:
            from datafusion import SessionContext

            self._context = SessionContext()
        return self._context


def read_all(source: Source[object]) -> pa.Table:
    """Return every row of a bounded source, split after split."""
    import pyarrow as pa

    from krishiv_connectors import SourceContext

    if not source.capabilities().bounded:
        raise ConfigurationError(
            f"{type(source).__name__} never ends, so it cannot be a table", hint="register a bounded source"
        )
    batches: list[pa.RecordBatch] = []
    context = SourceContext()
    with closing(context):
        for split in source.splits():
            with closing(source.open(split, split.start, context)) as reader:
                while not reader.finished:
                    batch = reader.read()
                    if batch is not None:
                        batches.append(batch)
    return pa.Table.from_batches(batches, schema=source.schema())
