"""Rows for people to look at."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar, TextIO

from krishiv_connectors._sink import Sink
from krishiv_connectors.files._ndjson import check_encodable, encode_lines
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext

__all__ = ["PrintSink"]


class PrintSink(Sink):
    """Prints each row as one line of JSON.

    Parameters
    ----------
    limit : int or None
        Rows that each slot prints; the rest is counted and passed over. None: all.
    prefix : str
        Text before each line.
    file : text stream or None
        Where to print; None: standard output.
    """

    diagnostic: ClassVar[bool] = True

    def __init__(self, *, limit: int | None = None, prefix: str = "", file: TextIO | None = None) -> None:
        self._limit = limit
        self._prefix = prefix
        self._file = file

    def open(self, ctx: SinkContext) -> None:
        """Begin to count rows."""
        self._printed = 0
        self._passed_over = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Print `batch`, as far as the limit allows."""
        shown = batch if self._limit is None else batch.slice(0, max(0, self._limit - self._printed))
        self._printed += shown.num_rows
        self._passed_over += batch.num_rows - shown.num_rows
        if shown.num_rows:
            lines = bytes(encode_lines(shown)).decode().split("\n")[:-1]
            self._out().write("".join(f"{self._prefix}{line}\n" for line in lines))

    def flush(self) -> None:
        """Flush the stream."""
        self._out().flush()

    def close(self) -> None:
        """Say how many rows were passed over."""
        if self._passed_over:
            self._out().write(f"{self._prefix}... and {self._passed_over} more rows\n")

    def capabilities(self) -> SinkCapabilities:
        """Nothing that is printed is durable."""
        return SinkCapabilities(durable_flush=False)

    def check(self, schema: pa.Schema) -> None:
        """Refuse types that JSON text cannot hold."""
        check_encodable(schema)

    def _out(self) -> TextIO:
        return sys.stdout if self._file is None else self._file
