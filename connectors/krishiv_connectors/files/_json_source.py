"""Rows from NDJSON files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_connectors.files._file_source import FileSource
from krishiv_connectors.files._json_format import JsonFormat
from krishiv_connectors.files._text_reader import TextReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from krishiv_connectors._source import Reader, SourceContext, Split
    from krishiv_connectors.files._file_source import FilePosition
    from krishiv_connectors.files._listing import PathPattern

__all__ = ["JsonSource"]


class JsonSource(FileSource):
    """Rows of NDJSON files (one JSON object per line, UTF-8), with exact positions inside each file.

    Parameters
    ----------
    pattern : path, glob, directory or a sequence of them
        Patterns are read in their order, the files of each by name. A directory stands for every ``*.ndjson``,
        ``*.jsonl`` and ``*.json`` below it.
    schema : pa.Schema
        The columns, by key. A missing key is null; keys that the schema lacks are ignored.
    follow : bool
        True: watch for new files for ever. False: read what is there, then end.
    settle : float
        Seconds without a change after which a file is finished, under `follow`. Until then, and as long as its last
        line is not whole, more of it is awaited.

    Notes
    -----
    Numbers must fit their column exactly. A column of text takes any value; other than strings as their JSON text.
    Dates and times are ISO 8601 strings; timestamps with a time zone in the schema need an offset or ``Z``, others
    must have none. Decimals should be strings: a JSON number passes through a 64-bit float. A line that does not
    parse is a `BadJsonLine`. Blank lines are passed over.
    """

    suffixes = (".ndjson", ".jsonl", ".json")

    def __init__(
        self,
        pattern: PathPattern | Sequence[PathPattern],
        schema: pa.Schema,
        *,
        follow: bool = False,
        settle: float = 1.0,
    ) -> None:
        super().__init__(pattern, follow)
        JsonFormat(schema)
        self._schema = schema
        self._settle = settle

    def schema(self) -> pa.Schema:
        """Return the columns given."""
        return self._schema

    def open(self, split: Split, position: FilePosition, ctx: SourceContext) -> Reader[FilePosition]:
        """Open a file.

        Raises
        ------
        FileVanished, FileChanged, UnreadableFile
            Each names the file.
        """
        form = JsonFormat(self.read_schema(ctx))
        return TextReader(split.id, position, form, ctx, settle=self._settle if self.follow else None)
