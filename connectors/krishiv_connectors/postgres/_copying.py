"""Rows into a table by ``COPY ... (FORMAT BINARY)``, encoded without a loop over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krishiv_connectors._extras import need
from krishiv_connectors.postgres._types import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

__all__ = ["copy_rows"]


def copy_rows(connection: Any, table: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write `batches` x `schema` into `table`, an SQL name, within the open transaction."""
    encoder = need("pgpq", "postgres", what="a PostgreSQL sink").ArrowToPostgresBinaryEncoder(schema)
    names = ", ".join(map(quoted, schema.names))
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(bytes(encoder.write_header()))
        for batch in batches:
            copy.write(bytes(encoder.write_batch(batch)))
        copy.write(bytes(encoder.finish()))
