"""Publishing an epoch by one rename, and reading back from the names which epochs are published.

The epoch's directory is built in the staging directory by renaming the listed files into it, checked, forced to the
disk, and renamed into the output. Each step can be done again: a file is either still with its slot or already in the
directory being built, and an output directory that is there already must hold exactly what the epoch lists.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from krishiv_checkpoint import CommitOutcome, CommitStatus, Mark, failpoint
from krishiv_connectors.files._durable import (
    digest_of,
    make_directories,
    output_errors,
    staging_elsewhere,
    sync_directory,
    sync_tree,
)
from krishiv_connectors.files._names import EpochName, StagedName
from krishiv_connectors.files._staging import StagedEpoch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from krishiv_checkpoint import Committable
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.files._staging import StagedFile

__all__ = ["EpochPublisher"]

# Trouble of network file systems and mounts that may be over at the next try.
_PASSING = frozenset({errno.EIO, errno.ESTALE, errno.EBUSY, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT})


class EpochPublisher:
    """The published epochs of one sink in one output directory.

    Parameters
    ----------
    root : Path
        The output directory.
    staging : Path
        The sink's staging directory, on the same file system.
    ctx : SinkContext
        Whose epochs they are.
    """

    def __init__(self, root: Path, staging: Path, ctx: SinkContext) -> None:
        self._root = root
        self._staging = staging
        self._job, self._lineage, self._sink = ctx.job, ctx.lineage, ctx.sink_id
        self._marks: list[int] | None = None
        """Published epochs whose directories may be empty, and the newest one; None until the output was looked at."""

    # ---------------------------------------------------------------- commit

    def publish(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Publish exactly the files that `committables` list, all slots of `epoch` in one directory."""
        slots = [(c, StagedEpoch.decode(c.payload)) for c in committables]
        files = {file.path: file for _, staged in slots for file in staged.files}
        if len(files) != sum(len(staged.files) for _, staged in slots):
            return CommitOutcome.failed(f"epoch {epoch} lists a file twice")
        sources = {
            file.path: _slot_directory(committable, staged) / file.path
            for committable, staged in slots
            for file in staged.files
        }
        build = self._staging / str(StagedName(max(c.token for c in committables), epoch, None))
        with output_errors(self._root):
            try:
                outcome = self._publish(epoch, build, files, sources)
            except OSError as error:
                if error.errno in _PASSING:
                    return CommitOutcome.retry(f"epoch {epoch} could not be published in {self._root} yet: {error}")
                raise
        if outcome.status in (CommitStatus.DONE, CommitStatus.ALREADY_DONE):
            self._remove_older_marks(epoch)
            for leftover in (build, *(_slot_directory(c, staged) for c, staged in slots)):
                shutil.rmtree(leftover, ignore_errors=True)
        return outcome

    def _publish(
        self, epoch: int, build: Path, files: Mapping[str, StagedFile], sources: Mapping[str, Path]
    ) -> CommitOutcome:
        target = self._target(epoch)
        if target.is_dir():
            return self._existing(target, files)
        if not files and self._newest_mark() > epoch:
            return CommitOutcome.already_done()  # its empty directory made room for a newer mark
        missing = self._build(build, sources)
        if missing:
            return self._gone(epoch, target, files, missing)
        problem = difference(build, files)
        if problem:
            return CommitOutcome.failed(f"epoch {epoch} was prepared otherwise: {problem}")
        sync_tree(build)
        failpoint("commit.during")
        if not self._rename(build, target):
            return self._existing(target, files)
        failpoint("commit.during")
        self._sync()
        failpoint("commit.during")
        return CommitOutcome.done()

    def _build(self, build: Path, sources: Mapping[str, Path]) -> list[str]:
        """Move the listed files into `build`, and nothing else; return what is neither there nor where it was."""
        make_directories(build)
        failpoint("commit.during")
        missing: list[str] = []
        for path, source in sources.items():
            target = build / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source.rename(target)
            except FileNotFoundError:
                if not target.is_file():
                    missing.append(path)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise staging_elsewhere(source.parent, self._root) from error
                raise
        for path, file in _files(build):
            if path not in sources:
                file.unlink(missing_ok=True)
        return missing

    def _gone(self, epoch: int, target: Path, files: Mapping[str, StagedFile], missing: Sequence[str]) -> CommitOutcome:
        """Decide about an epoch whose staged files are gone: another committer of it may have come first."""
        if target.is_dir():
            return self._existing(target, files)
        self._marks = None
        if self._newest_mark() > epoch:
            return CommitOutcome.already_done()  # commits go in order: it was published, and removed by somebody since
        return CommitOutcome.failed(f"{missing[0]} of epoch {epoch} is neither staged nor published")

    def _existing(self, target: Path, files: Mapping[str, StagedFile]) -> CommitOutcome:
        problem = difference(target, files)
        if problem:
            return CommitOutcome.failed(f"{target} exists with other content than was prepared: {problem}")
        self._sync()  # whoever renamed it may have died before this
        return CommitOutcome.already_done()

    def _rename(self, build: Path, target: Path) -> bool:
        """Rename `build` to `target`; False if another committer was faster."""
        try:
            os.rename(build, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not target.is_dir():
                raise
            return False
        return True

    def _sync(self) -> None:
        sync_directory(self._root)
        with suppress(FileNotFoundError):  # removed once nothing was left in it
            sync_directory(self._staging)

    # ---------------------------------------------------------------- marks

    def last_applied(self, lineage: str) -> int | None:
        """Return the newest published epoch of `lineage`, or None."""
        if self._root.is_dir():
            sync_directory(self._root)  # who renamed it may have died before this; what is read here has to last
        return max((name.epoch for name in self._published(lineage)), default=None)

    def marks(self, job: str) -> list[Mark]:
        """Return the newest mark of each lineage and sink in this output that belongs to `job`."""
        newest: dict[tuple[str, str], int] = {}
        for name in _names(self._root):
            if name.job == job:
                newest[name.lineage, name.sink] = max(name.epoch, newest.get((name.lineage, name.sink), 0))
        return [Mark(lineage, job, 0, epoch) for (lineage, _), epoch in sorted(newest.items())]

    def rewind(self, lineage: str, epoch: int) -> None:
        """Take back every published epoch of `lineage` above `epoch`, newest first, and leave a mark at `epoch`."""
        above = sorted((name for name in self._published(lineage) if name.epoch > epoch), key=lambda n: -n.epoch)
        gone = self._staging / "gone"
        with output_errors(self._root):
            make_directories(gone)
            if above and epoch > 0:
                # An empty epoch's mark is removed once a newer one exists; without it the sink would seem behind.
                (self._root / str(EpochName(epoch, lineage, self._sink, above[0].job))).mkdir(exist_ok=True)
                sync_directory(self._root)
            for name in above:
                shutil.rmtree(gone / str(name), ignore_errors=True)
                os.rename(self._root / str(name), gone / str(name))
                sync_directory(self._root)
        shutil.rmtree(gone, ignore_errors=True)
        self._marks = None

    def _remove_older_marks(self, epoch: int) -> None:
        """Remove empty directories of older epochs: a newer mark says more, and they would pile up."""
        newest = max(self._newest_mark(), epoch)
        for older in {*(self._marks or ()), epoch} - {newest}:
            with suppress(OSError):  # it holds rows, or is gone
                self._target(older).rmdir()
        self._marks = [newest]

    def _newest_mark(self) -> int:
        if self._marks is None:
            self._marks = [name.epoch for name in self._published(self._lineage)]
        return max(self._marks, default=0)

    def _published(self, lineage: str) -> Iterator[EpochName]:
        return (name for name in _names(self._root) if name.lineage == lineage and name.sink == self._sink)

    def _target(self, epoch: int) -> Path:
        return self._root / str(EpochName(epoch, self._lineage, self._sink, self._job))


def difference(directory: Path, files: Mapping[str, StagedFile]) -> str | None:
    """Return how the content of `directory` differs from `files`, or None if it is exactly that."""
    found = dict(_files(directory))
    for path in found.keys() ^ files.keys():
        return f"{path} is {'not listed' if path in found else 'missing'}"
    for path, file in files.items():
        size = found[path].stat().st_size
        if size != file.size:
            return f"{path} has {size} bytes instead of {file.size}"
        if digest_of(found[path]) != file.sha256:
            return f"{path} has another digest"
    return None


def _slot_directory(committable: Committable, staged: StagedEpoch) -> Path:
    return Path(staged.staging) / str(StagedName(committable.token, committable.epoch, committable.slot))


def _names(root: Path) -> Iterator[EpochName]:
    for path in os.listdir(root) if root.is_dir() else ():
        name = EpochName.parse(path)
        if name is not None:
            yield name


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder) / name
            yield path.relative_to(directory).as_posix(), path
