"""What all file sources share: patterns, splits, capabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from krishiv_connectors._source import Source, Split
from krishiv_connectors.files._listing import absolute_patterns, find_files
from krishiv_guarantees import SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_connectors._source import SourceContext
    from krishiv_connectors.files._listing import PathPattern

__all__ = ["FilePosition", "FileSource"]

FilePosition = dict[str, Any] | None
"""Where the next row of a file is, and what identifies the file and the rows before it; None: nothing was read."""


class FileSource(Source[FilePosition]):
    """Files, each a split that is read from its beginning to its end; one at a time, in the order of `splits`.

    Files are taken as immutable. A position carries the file's size, time of change and a digest of what lies before
    it: a file that changed since is refused (`FileChanged`), unless what was read of it is unchanged.

    Parameters
    ----------
    pattern : path, glob, directory or a sequence of them
        Patterns are read in their order, the files of each by name. A directory stands for all files below it that
        have the format's ending.
    follow : bool
        True: watch for new files for ever. False: read what is there, then end.
    """

    sequential = True
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings that count in a directory."""

    def __init__(self, pattern: PathPattern | Sequence[PathPattern], follow: bool = False) -> None:
        self.patterns = absolute_patterns(pattern)
        self.follow = follow

    def __repr__(self) -> str:
        shown = self.patterns[0] if len(self.patterns) == 1 else list(self.patterns)
        return f"{type(self).__name__}({shown!r}{', follow=True' if self.follow else ''})"

    def splits(self) -> Sequence[Split]:
        """Return one split per file that is there now, named by its absolute path.

        Raises
        ------
        MissingDirectory
            If the directory that a pattern starts in does not exist.
        NoMatchingFiles
            If a pattern matches no file, unless `follow`.
        """
        return [Split(path) for path in find_files(self.patterns, self.suffixes, must_match=not self.follow)]

    def read_schema(self, ctx: SourceContext) -> pa.Schema:
        """Return the columns to read: one if none is used, because rows of no columns would have no number."""
        schema = self.schema()
        names = schema.names if ctx.columns is None else ctx.columns or schema.names[:1]
        return pa.schema([schema.field(name) for name in names])

    def capabilities(self) -> SourceCapabilities:
        """Replayable with exact positions; bounded unless it follows."""
        return SourceCapabilities(
            bounded=not self.follow,
            replayable=True,
            exact_positions=True,
            ordered_replay=True,
            discovers_splits=self.follow,
        )

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it follows."""
        return {"follow": self.follow}
