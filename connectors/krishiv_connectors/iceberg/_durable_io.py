"""Files of a table on a local disk that are there when the catalog points at them.

pyiceberg leaves to the system when its files reach the disk, while a catalog forces its own commit there: after a power
loss the catalog could point at a metadata file that is empty. pyiceberg loads this class by its name, ``py-io-impl``.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from krishiv_connectors.files._durable import make_directories, sync_directory

__all__ = ["DurableFileIO"]


class DurableFileIO(PyArrowFileIO):
    """pyarrow's file systems; what is written to a local one is forced to the disk when it is closed."""

    def new_output(self, location: str) -> PyArrowFile:
        """Return where to write `location`."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return _DurableFile(location, path, self.fs_by_scheme(scheme, netloc))


class _DurableFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> Any:
        """Open it for writing; raise FileExistsError if it is there and is not to be overwritten."""
        path = Path(self._path)
        make_directories(path.parent)
        return _Stream(path, "wb" if overwrite else "xb")


class _Stream(io.BufferedWriter):
    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(io.FileIO(path, mode))
        self._directory = path.parent

    def __enter__(self) -> Any:
        return self

    def close(self) -> None:
        if not self.closed:
            self.flush()
            os.fsync(self.fileno())
            super().close()
            sync_directory(self._directory)
