"""Exactly-once Parquet files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from krishiv_connectors._errors import UnsupportedColumn
from krishiv_connectors.files._bucket_urls import in_bucket, refuse_bucket_options
from krishiv_connectors.files._file_sink import FileSink
from krishiv_connectors.files._partitions import HivePartitioning

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors._storage import S3
    from krishiv_connectors.files._durable import HashedFile

__all__ = ["ParquetSink"]

Compression = Literal["none", "snappy", "lz4", "zstd", "gzip", "brotli"]


class ParquetSink(FileSink):
    """Parquet files in a local directory, exactly once: each epoch is one subdirectory, published by one rename.

    Read it with ``<path>/*/*.parquet`` (with `partition_by`: ``<path>/**/*.parquet``). With ``s3://bucket/prefix`` as
    its path, calling it gives an `ObjectParquetSink`.

    Parameters
    ----------
    path : path or str
        The output directory, or ``s3://bucket/prefix``.
    partition_by : str, sequence of str or None
        Columns that become folders ``column=value`` inside each epoch, outermost first. Files then lack them.
    staging : path or None
        Where epochs wait to be published, if not next to the output (see `FileSink`).
    compression : str
        Of pages. ``"zstd"`` makes text smaller and writing slower.
    row_group_rows : int
        Rows gathered into a row group. One group may get up to one batch more; the last of an epoch has fewer.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says. This and the following are for ``s3://`` alone.
    target_file_size, part_size : int or str, optional
        Where a file ends, and how large the parts of its upload are (see `ObjectParquetSink`).

    Notes
    -----
    Integers and times are stored in ``DELTA_BINARY_PACKED`` and not in a dictionary, which is 2.5 times as fast to
    write and half as large as the library's own choice; text goes into dictionaries.
    """

    extension = ".parquet"

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Pick the class."""
        if cls is ParquetSink and in_bucket(args[0] if args else options.get("path")):
            # Not a subclass, so that it is made here: it shares no code with local files.
            made: Any = import_module("krishiv_connectors.objects").ObjectParquetSink(*args, **options)
            return cast("Self", made)
        return object.__new__(cls)

    def __init__(
        self,
        path: str | os.PathLike[str],
        partition_by: str | Sequence[str] | None = None,
        *,
        staging: str | os.PathLike[str] | None = None,
        compression: Compression = "snappy",
        row_group_rows: int = 131_072,
        storage: S3 | None = None,
        target_file_size: int | str | None = None,
        part_size: int | str | None = None,
    ) -> None:
        refuse_bucket_options(path, storage=storage, target_file_size=target_file_size, part_size=part_size)
        super().__init__(path, staging=staging)
        if row_group_rows < 1:
            raise ValueError(f"row_group_rows is {row_group_rows}; it is a number of rows, 1 or more")
        self.partition_by = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by or ())
        self.compression: Compression = compression
        self.piece_rows = row_group_rows

    def open(self, ctx: SinkContext) -> None:
        """Make the directories and get ready to write."""
        self._partitioning = HivePartitioning(ctx.schema, self.partition_by) if self.partition_by else None
        super().open(ctx)

    def open_format(self, file: HashedFile, schema: pa.Schema) -> ParquetFormat:
        """Return a Parquet file's writer."""
        return ParquetFormat(file, schema, self.compression)

    def split(self, batch: pa.RecordBatch) -> Iterable[tuple[str, pa.RecordBatch]]:
        """Give the rows of `batch` per partition."""
        return super().split(batch) if self._partitioning is None else self._partitioning.split(batch)

    def file_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns that are not folders; raise `PlanError` if they cannot be."""
        return HivePartitioning(schema, self.partition_by).schema if self.partition_by else schema

    def check_columns(self, schema: pa.Schema) -> None:
        """Write an empty file in memory: the library itself says which types it cannot store."""
        for field in schema:
            try:
                pq.write_table(pa.schema([field]).empty_table(), pa.BufferOutputStream())
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise UnsupportedColumn(
                    f"column {field.name!r} of type {field.type} cannot be stored in Parquet: {error}",
                    hint="cast it with with_columns before write",
                    column=field.name,
                ) from error


class ParquetFormat:
    """Writes one Parquet file; each call of `write` makes a row group."""

    def __init__(self, file: HashedFile, schema: pa.Schema, compression: Compression) -> None:
        deltas = {field.name: "DELTA_BINARY_PACKED" for field in schema if _is_delta(field.type)}
        others = [field.name for field in schema if field.name not in deltas and not pat.is_floating(field.type)]
        encodings: dict[str, Any] = {"use_dictionary": others or False, "column_encoding": deltas or None}
        self._writer = pq.ParquetWriter(file, schema, compression=compression, **encodings)

    def write(self, rows: pa.Table) -> None:
        """Write `rows` as one row group."""
        self._writer.write_table(rows, row_group_size=rows.num_rows)

    def finish(self) -> None:
        """Write the footer."""
        self._writer.close()


def _is_delta(kind: pa.DataType) -> bool:
    return bool(pat.is_integer(kind) or pat.is_timestamp(kind) or pat.is_date(kind) or pat.is_time(kind))
