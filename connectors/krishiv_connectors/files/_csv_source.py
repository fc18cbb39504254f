"""Rows from CSV files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_connectors.files._csv_format import CsvFormat, CsvOptions, check_types
from krishiv_connectors.files._file_source import FileSource
from krishiv_connectors.files._text_reader import TextReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors._source import Reader, SourceContext, Split
    from krishiv_connectors.files._file_source import FilePosition
    from krishiv_connectors.files._listing import PathPattern

__all__ = ["CsvSource"]


class CsvSource(FileSource):
    """Rows of CSV files (RFC 4180, UTF-8), with exact positions inside each file.

    Parameters
    ----------
    pattern : path, glob, directory or a sequence of them
        Patterns are read in their order, the files of each by name. A directory stands for every ``*.csv`` below it.
    schema : pa.Schema
        The columns. With a header they are found by name, and files may hold more; without one they are all columns,
        in order.
    follow : bool
        True: watch for new files for ever. False: read what is there, then end.
    header : bool
        Whether the first line of each file names the columns.
    delimiter : str
        One character.
    null_values : sequence of str
        Unquoted values that stand for null, in all columns but those of text: there they are text.
    newlines_in_values : bool
        Whether quoted values may hold line ends. Then one quote too many spoils all rows after it; without it, one row.
    settle : float
        Seconds without a change after which a file is finished, under `follow`. Until then, and as long as its last
        line has no end, more of it is awaited.

    Notes
    -----
    Timestamps are ISO 8601; with a time zone in the schema they need an offset or ``Z``, without one they must have
    none. A row that does not parse is a `BadCsvRow`; values in columns that the pipeline does not use are not looked
    at. Blank lines are passed over.
    """

    suffixes = (".csv",)

    def __init__(
        self,
        pattern: PathPattern | Sequence[PathPattern],
        schema: pa.Schema,
        *,
        follow: bool = False,
        header: bool = True,
        delimiter: str = ",",
        null_values: Sequence[str] = ("",),
        newlines_in_values: bool = False,
        settle: float = 1.0,
    ) -> None:
        super().__init__(pattern, follow)
        check_types(schema)
        self._schema = schema
        self._options = CsvOptions(
            header=header,
            delimiter=delimiter,
            null_values=tuple(null_values),
            newlines_in_values=newlines_in_values,
        )
        self._settle = settle

    def schema(self) -> pa.Schema:
        """Return the columns given."""
        return self._schema

    def open(self, split: Split, position: FilePosition, ctx: SourceContext) -> Reader[FilePosition]:
        """Open a file.

        Raises
        ------
        FileVanished, FileChanged, UnreadableFile, SchemaChanged
            Each names the file.
        """
        form = CsvFormat(self._schema, self.read_schema(ctx), self._options)
        return TextReader(split.id, position, form, ctx, settle=self._settle if self.follow else None)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return what decides where rows begin and end."""
        return {
            **super().guarantee_config(),
            "header": self._options.header,
            "newlines_in_values": self._options.newlines_in_values,
        }
