"""What one slot writes between two barriers: rows gathered into large pieces, hashed on the way to the disk."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from krishiv_connectors.files._durable import HashedFile, make_directories, sync_directory, sync_tree
from krishiv_connectors.files._names import StagedName
from krishiv_connectors.files._staging import StagedEpoch, StagedFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PartFormat", "SlotWriter"]

BUFFER_BYTES = 64 * 1024 * 1024
"""Rows held over all folders before all of them are written."""
MAX_OPEN_FILES = 64


class PartFormat(Protocol):
    """The format of one file: turns tables into bytes."""

    def write(self, rows: pa.Table) -> None:
        """Append `rows`."""
        ...

    def finish(self) -> None:
        """Write what comes at the end. The file itself is closed by its owner."""
        ...


class _Part:
    """One folder's rows: those not written yet, and the file that is open, if one is."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.batches: list[pa.RecordBatch] = []
        self.rows = 0
        self.size = 0
        self.path = ""
        self.file: HashedFile | None = None
        self.format: PartFormat | None = None

    def take(self) -> pa.Table:
        rows = pa.Table.from_batches(self.batches)
        self.batches, self.rows, self.size = [], 0, 0
        return rows


class SlotWriter:
    """Writes the part files of one slot, epoch after epoch.

    Parameters
    ----------
    staging : Path
        The sink's staging directory.
    token, slot : int
        Whose files they are.
    lineage : str
        The same.
    extension : str
        Of file names, with its dot.
    piece_rows : int
        Rows gathered for one `PartFormat.write`.
    open_format : callable
        Makes the format of a new file.
    """

    def __init__(
        self,
        *,
        staging: Path,
        token: int,
        slot: int,
        lineage: str,
        extension: str,
        piece_rows: int,
        open_format: Callable[[HashedFile], PartFormat],
    ) -> None:
        self._staging = staging
        self._token, self._slot, self._lineage = token, slot, lineage
        self._extension = extension
        self._piece_rows = piece_rows
        self._open_format = open_format
        self._directory = staging / str(StagedName(token, 0, slot))
        self._parts: dict[str, _Part] = {}
        self._held = 0
        self._files: list[StagedFile] = []
        self._opened = 0

    def write(self, folder: str, batch: pa.RecordBatch) -> None:
        """Take `batch` for `folder`, a relative path that ends in ``/``, or the empty string."""
        part = self._parts.get(folder)
        if part is None:
            part = self._parts[folder] = _Part(folder)
        size = batch.nbytes
        part.batches.append(batch)
        part.rows += batch.num_rows
        part.size += size
        self._held += size
        if part.rows >= self._piece_rows:
            self._flush(part)
        elif self._held >= BUFFER_BYTES:
            for each in list(self._parts.values()):
                self._flush(each)

    def seal(self, epoch: int) -> StagedEpoch:
        """Make everything written since the last call durable under the names of `epoch`."""
        for part in list(self._parts.values()):
            self._flush(part)
            self._close(part)
        files = tuple(self._files)
        if files:
            sync_tree(self._directory)
            self._directory.rename(self._staging / str(StagedName(self._token, epoch, self._slot)))
            sync_directory(self._staging)
        self._parts, self._files, self._opened = {}, [], 0
        return StagedEpoch(self._lineage, str(self._staging), files)

    def discard(self) -> None:
        """Let go of everything that was not sealed."""
        for part in self._parts.values():
            if part.file is not None:
                part.file.abandon()
            if part.format is not None:
                with suppress(OSError):  # of a format that failed before
                    part.format.finish()
        self._parts = {}
        shutil.rmtree(self._directory, ignore_errors=True)

    def _flush(self, part: _Part) -> None:
        if not part.batches:
            return
        self._held -= part.size
        output = part.format or self._open(part)
        output.write(part.take())

    def _open(self, part: _Part) -> PartFormat:
        if not self._opened:
            shutil.rmtree(self._directory, ignore_errors=True)  # of a task of this attempt that failed
            make_directories(self._directory)
        open_parts = [each for each in self._parts.values() if each.file is not None]
        if len(open_parts) >= MAX_OPEN_FILES:
            self._close(open_parts[0])
        part.path = f"{part.folder}part-{self._slot}-{self._opened}{self._extension}"
        (self._directory / part.folder).mkdir(parents=True, exist_ok=True)
        part.file = HashedFile(self._directory / part.path)
        part.format = self._open_format(part.file)
        self._opened += 1
        # Last opened, last in line for being closed.
        self._parts[part.folder] = self._parts.pop(part.folder)
        return part.format

    def _close(self, part: _Part) -> None:
        if part.file is None or part.format is None:
            return
        part.format.finish()
        part.file.sync()
        part.file.close()
        self._files.append(StagedFile(part.path, part.file.size, part.file.sha256()))
        part.file = part.format = None
