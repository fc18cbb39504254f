"""Exactly-once NDJSON files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_connectors.files._file_sink import FileSink
from krishiv_connectors.files._ndjson import check_encodable, encode_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from krishiv_connectors.files._durable import HashedFile

__all__ = ["JsonSink"]


class JsonSink(FileSink):
    """NDJSON files in a local directory, exactly once: each epoch is one subdirectory, published by one rename.

    Read it with ``<path>/*/*.ndjson``.

    Parameters
    ----------
    path : path
        The output directory.
    staging : path or None
        Where epochs wait to be published, if not next to the output (see `FileSink`).

    Notes
    -----
    One object per line, columns in schema order, nulls written out. Times are ISO 8601 text, those with a time zone
    with its offset; decimals are text, so that no digit is lost; binary columns are base64 text; NaN and infinity,
    which JSON does not have, are null.
    """

    extension = ".ndjson"

    def open_format(self, file: HashedFile, schema: pa.Schema) -> JsonFormat:
        """Return an NDJSON file's writer."""
        return JsonFormat(file)

    def check_columns(self, schema: pa.Schema) -> None:
        """Refuse types that JSON text cannot hold."""
        check_encodable(schema)


class JsonFormat:
    """Writes one NDJSON file."""

    def __init__(self, file: HashedFile) -> None:
        self._file = file

    def write(self, rows: pa.Table) -> None:
        """Append a line for each of `rows`."""
        self._file.write(encode_lines(rows))

    def finish(self) -> None:
        """Do nothing: NDJSON has no footer."""
