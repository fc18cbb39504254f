"""Which files a pattern means: one path, a glob, a directory, or several of these."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_connectors._errors import MissingDirectory, NoMatchingFiles, UnsupportedLocation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PathPattern", "absolute_patterns", "find_files"]

PathPattern = str | os.PathLike[str]
"""A file, a glob (``**`` for any depth) or a directory."""


def absolute_patterns(pattern: PathPattern | Sequence[PathPattern]) -> tuple[str, ...]:
    """Return the patterns with absolute paths, so that a file has the same name whatever the working directory.

    Raises
    ------
    UnsupportedLocation
        For a URL: these are local files.
    NoMatchingFiles
        If there is no pattern at all.
    """
    given = [pattern] if isinstance(pattern, (str, os.PathLike)) else list(pattern)
    if not given:
        raise NoMatchingFiles("no path was given", hint="name a file, a directory or a glob such as 'data/*.parquet'")
    texts = [os.path.expanduser(os.fspath(one)) for one in given]
    for text in texts:
        if "://" in text:
            raise UnsupportedLocation(
                f"{text!r} is a URL; file sources read local paths",
                hint="copy or mount the files and give their local path",
                location=text,
            )
    return tuple(os.path.abspath(text) for text in texts)


def find_files(patterns: Sequence[str], suffixes: tuple[str, ...], *, must_match: bool) -> list[str]:
    """Return the files of all patterns: patterns in their order, the files of each by name, none twice.

    A directory stands for every file below it whose name ends in one of `suffixes`; names that begin with a dot or
    an underscore are passed over there, as other readers do (``_SUCCESS``, files being written).

    Parameters
    ----------
    must_match : bool
        Whether a pattern without any file is an error.

    Raises
    ------
    MissingDirectory
        If the directory that a pattern starts in does not exist.
    NoMatchingFiles
        If a pattern matches nothing and `must_match`.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        paths = sorted(_expand(pattern, suffixes))
        if must_match and not paths:
            raise NoMatchingFiles(
                f"no file matches {pattern!r}",
                hint=f"check the spelling{_ending_hint(pattern, suffixes)}; follow=True waits for files to come",
                pattern=pattern,
            )
        found.update(dict.fromkeys(paths))
    return list(found)


def _expand(pattern: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    if os.path.isdir(pattern):
        yield from _below(pattern, suffixes)
    elif os.path.exists(pattern):  # a name that only looks like a glob: "part[1].csv"
        yield pattern
    else:
        _require_directory(pattern)
        yield from (path for path in glob.iglob(pattern, recursive=True) if os.path.isfile(path))


def _below(directory: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if name.endswith(suffixes) and not name.startswith((".", "_")):
                yield os.path.join(folder, name)


def _require_directory(pattern: str) -> None:
    parts = Path(pattern).parts[:-1]
    literal = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    directory = Path(*parts[:literal])
    if not directory.is_dir():
        raise MissingDirectory(
            f"directory {str(directory)!r} does not exist (for {pattern!r})",
            hint="create it, or mend the path; a relative path starts at the working directory",
            directory=str(directory),
            pattern=pattern,
        )


def _ending_hint(pattern: str, suffixes: tuple[str, ...]) -> str:
    return f" (in a directory only {', '.join(suffixes)} count)" if os.path.isdir(pattern) else ""
