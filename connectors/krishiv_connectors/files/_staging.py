"""Where an output lies and where its epochs wait: staged files keep their final names, outside the output (P11).

Readers glob the output with ``**`` and look into hidden folders (polars and duckdb both do), so nothing uncommitted
may ever be in it; one rename has to publish an epoch, so both must be on one file system.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from krishiv_checkpoint import Prepared
from krishiv_connectors._errors import BadOutputPath
from krishiv_connectors.files._durable import make_directories, output_errors, staging_elsewhere, sync_directory
from krishiv_connectors.files._names import StagedName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OutputPlace", "StagedEpoch", "StagedFile", "abort_staged", "list_staged"]


class StagedFile(msgspec.Struct, frozen=True):
    """A file that one slot prepared.

    Parameters
    ----------
    path : str
        Relative to the epoch's directory, with ``/``.
    size : int
        Bytes.
    sha256 : str
        Hex digest of its bytes.
    """

    path: str
    size: int
    sha256: str


class StagedEpoch(msgspec.Struct, frozen=True):
    """What one slot prepared in one epoch: the payload of its committable, as JSON.

    Parameters
    ----------
    lineage : str
        Whose it is.
    staging : str
        Absolute path of the sink's staging directory. `files` lie in ``<token>-<epoch>-<slot>`` there.
    files : tuple of StagedFile
        Empty for an epoch without rows, and where only names are known (`list_staged`).
    """

    lineage: str
    staging: str
    files: tuple[StagedFile, ...] = ()

    def encode(self) -> bytes:
        """Return it as a committable's payload."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, payload: bytes) -> StagedEpoch:
        """Read a committable's payload."""
        return msgspec.json.decode(payload, type=cls)


_UNWRITABLE = "let this user write there, or choose another path (staging= for staged files)"


@dataclass(frozen=True)
class OutputPlace:
    """An output directory and the directory that its staging directories lie in; both absolute."""

    root: Path
    base: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str], staging: str | os.PathLike[str] | None) -> OutputPlace:
        """Return the place that `path` and `staging` name; raise `BadOutputPath` if they cannot name one."""
        if "://" in os.fspath(path):
            raise _bad(os.fspath(path), "is not a local path", "this build writes files to local file systems")
        root = Path(path).resolve()
        if not root.name:
            raise _bad(str(root), "is the root of the file system", "name a directory below it")
        base = root.parent if staging is None else Path(staging).resolve()
        if base.is_relative_to(root):
            raise _bad(str(base), "lies inside the output, where readers would find it", "pass another staging=")
        return cls(root, base)

    def check(self) -> None:
        """Raise `BadOutputPath` if the output cannot be made where it is to be."""
        for directory in (self.root, self.base):
            existing = next(path for path in (directory, *directory.parents) if path.exists())
            if not existing.is_dir():
                raise _bad(str(existing), "is not a directory", "choose another path, or move that file away")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise _bad(str(existing), "cannot be written by this user", _UNWRITABLE)

    def staging(self, lineage: str, sink: str) -> Path:
        """Return where one sink of one lineage stages its epochs."""
        return self.base / f".{self.root.name}.staging-{lineage}" / sink

    def make(self, staging: Path) -> None:
        """Make the output and `staging`, durably; raise `StagingElsewhere` if no rename leads from here to there."""
        with output_errors(self.root):
            make_directories(self.root)
        with output_errors(staging):
            make_directories(staging)
        if device_of(self.root) != device_of(self.base):  # `staging` may be gone again: it is empty
            raise staging_elsewhere(staging, self.root)

    def remove_if_empty(self, staging: Path) -> None:
        """Remove `staging` and the directory above it as far as they are empty."""
        for directory in (staging, staging.parent):
            try:
                directory.rmdir()
            except OSError:
                return


def device_of(directory: Path) -> int:
    """Return the number of the file system that `directory` is on."""
    return directory.stat().st_dev


def list_staged(staging: Path, lineage: str) -> list[Prepared]:
    """Return what lies in `staging`, by its names; epoch 0 is what a dead writer had not prepared yet."""
    return [
        Prepared(token, epoch, slot, StagedEpoch(lineage, str(staging)).encode())
        for token, epoch, slot in sorted(set(_staged_slots(staging)))
    ]


def _staged_slots(staging: Path) -> Iterator[tuple[int, int, int]]:
    try:
        entries = list(staging.iterdir())
    except FileNotFoundError:
        return
    for path in entries:
        name = StagedName.parse(path.name)
        if name is None:
            continue
        if name.slot is not None:
            yield name.token, name.epoch, name.slot
            continue
        for part in path.rglob("part-*"):
            yield name.token, name.epoch, int(part.name.split("-")[1])


def abort_staged(prepared: Sequence[Prepared]) -> None:
    """Remove exactly what `prepared` name, from the slots' directories and from half-built epochs."""
    for item in prepared:
        staging = Path(StagedEpoch.decode(item.payload).staging)
        with output_errors(staging):
            shutil.rmtree(staging / str(StagedName(item.token, item.epoch, item.slot)), ignore_errors=True)
            build = staging / str(StagedName(item.token, item.epoch, None))
            for part in list(build.rglob(f"part-{item.slot}-*")):
                part.unlink(missing_ok=True)
            if not any(path.is_file() for path in build.rglob("*")):
                shutil.rmtree(build, ignore_errors=True)
            with suppress(FileNotFoundError):
                sync_directory(staging)


def _bad(path: str, what: str, hint: str) -> BadOutputPath:
    return BadOutputPath(f"the output path {path} {what}", hint=hint, path=path)
