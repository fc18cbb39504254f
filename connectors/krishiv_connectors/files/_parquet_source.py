"""Rows from Parquet files."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, cast

from krishiv_connectors._errors import NoMatchingFiles
from krishiv_connectors.files._bucket_urls import in_bucket, refuse_bucket_options
from krishiv_connectors.files._file_source import FileSource
from krishiv_connectors.files._parquet_file import ParquetFile, has_footer
from krishiv_connectors.files._parquet_reader import ParquetReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_connectors._source import Reader, SourceContext, Split
    from krishiv_connectors._storage import S3
    from krishiv_connectors.files._file_source import FilePosition
    from krishiv_connectors.files._listing import PathPattern

__all__ = ["ParquetSource"]


class ParquetSource(FileSource):
    """Rows of Parquet files, with exact positions inside each file. For ``s3://...`` it is an `ObjectParquetSource`.

    Parameters
    ----------
    pattern : path, glob, directory or a sequence of them
        Patterns are read in their order, the files of each by name. A directory stands for every ``*.parquet`` below
        it.
    follow : bool
        True: watch for new files for ever; a file without a footer is awaited. False: read what is there, then end.
    schema : pa.Schema or None
        The columns to read; files may hold more. None: those of the first file, and every file must have the same.
    storage : S3, optional
        Where ``s3://`` is; default: what the environment says.
    manifest : bool
        For ``s3://`` alone: read whole committed epochs of a `ParquetSink` (see `ObjectParquetSource`).

    Notes
    -----
    Only the columns that the pipeline uses are read. Decoding runs ahead on a thread of its own, on all cores; at most
    three chunks of 65,536 rows are held, with the compressed columns of one row group. All columns are nullable,
    whatever the files say.

    **Recovery**: reading goes on in the row group of the position. A file whose size, time of change or footer differs
    is read again from its beginning up to the position and compared; if these rows are unchanged it is accepted.

    Examples
    --------
    >>> ParquetSource(["2024/*.parquet", "2025/*.parquet"]).capabilities().bounded
    True
    """

    suffixes = (".parquet",)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Pick the class."""
        if cls is ParquetSource and in_bucket(args[0] if args else options.get("pattern")):
            made: Any = import_module("krishiv_connectors.objects").ObjectParquetSource(*args, **options)
            return cast("Self", made)
        return object.__new__(cls)

    def __init__(
        self,
        pattern: PathPattern | Sequence[PathPattern],
        follow: bool = False,
        *,
        schema: pa.Schema | None = None,
        storage: S3 | None = None,
        manifest: bool = False,
    ) -> None:
        refuse_bucket_options(pattern, storage=storage, manifest=manifest or None)
        super().__init__(pattern, follow)
        self._given = schema is not None
        self._schema: pa.Schema | None = schema

    def schema(self) -> pa.Schema:
        """Return the columns given, or those of the first file.

        Raises
        ------
        NoMatchingFiles
            If there is no complete file to look at.
        """
        if self._schema is None:
            self._schema = self._first_schema()
        return self._schema

    def open(self, split: Split, position: FilePosition, ctx: SourceContext) -> Reader[FilePosition]:
        """Open a file.

        Raises
        ------
        FileVanished, FileChanged, UnreadableFile, SchemaChanged
            Each names the file.
        """
        return ParquetReader(
            split.id,
            position,
            schema=self.read_schema(ctx),
            expected=self.schema(),
            closed=not self._given,
            batch_rows=ctx.batch_rows,
            await_footer=self.follow,
        )

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the least `column` by the file's statistics, microseconds; None where they do not say."""
        if self.follow and not has_footer(split.id):
            return None
        with closing(ParquetFile(split.id)) as file:
            return file.minimum(column)

    def _first_schema(self) -> pa.Schema:
        for split in self.splits():
            if not self.follow or has_footer(split.id):
                with closing(ParquetFile(split.id)) as file:
                    return file.schema()
        raise NoMatchingFiles(
            "there is no complete Parquet file yet, so the columns are not known",
            hint="give schema=, or put a first file in its place before the job starts",
            pattern=self.patterns[0],
        )
