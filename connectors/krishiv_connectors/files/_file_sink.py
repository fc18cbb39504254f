"""What the exactly-once file sinks share: all but the format of a file."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from krishiv_checkpoint import CommitScope
from krishiv_connectors._sink import StickyError, TwoPhaseSink, refuse_newer
from krishiv_connectors.files._durable import output_errors
from krishiv_connectors.files._epochs import EpochPublisher
from krishiv_connectors.files._slot_writer import SlotWriter
from krishiv_connectors.files._staging import OutputPlace, abort_staged, list_staged
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from krishiv_checkpoint import CommitOutcome, Committable, Mark, Prepared
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.files._durable import HashedFile
    from krishiv_connectors.files._slot_writer import PartFormat

__all__ = ["FileSink"]


class FileSink(TwoPhaseSink):
    """Files in a local directory, one subdirectory per epoch, each published by one atomic rename.

    An author of a format writes `open_format` and, if not every column type can be stored, `check_columns`.

    Parameters
    ----------
    path : path
        The output directory. Made if it is missing.
    staging : path or None
        Directory that the staging directory ``.<name>.staging-<lineage>`` is made in: on the output's file system and
        outside the output. None: next to the output.

    Notes
    -----
    Published: ``<path>/epoch-<number>~<lineage>~<sink>~<job>/part-<slot>-<n><extension>``. The directory is the mark
    of its epoch: remove old ones if you like, but keep the newest. An epoch without rows publishes an empty
    directory, which goes away once a newer epoch is published.
    """

    commit_scope: CommitScope = CommitScope.EPOCH
    extension: ClassVar[str]
    """Of file names, with its dot."""
    piece_rows: int = 65_536
    """Rows gathered before they are encoded and written."""

    def __init__(self, path: str | os.PathLike[str], *, staging: str | os.PathLike[str] | None = None) -> None:
        self._place = OutputPlace.of(path, staging)
        self._opened: _Opened | None = None

    @abstractmethod
    def open_format(self, file: HashedFile, schema: pa.Schema) -> PartFormat:
        """Return what writes rows x `schema` into `file`."""

    def check_columns(self, schema: pa.Schema) -> None:
        """Raise `UnsupportedColumn` if rows x `schema` cannot be stored."""

    def split(self, batch: pa.RecordBatch) -> Iterable[tuple[str, pa.RecordBatch]]:
        """Give the rows of `batch` per folder of the epoch: here all in one."""
        return (("", batch),)

    def file_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the columns that files hold, for rows x `schema`: here all."""
        return schema

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Make the directories; a slot's writer opens files when rows come."""
        staging = self._place.staging(ctx.lineage, ctx.sink_id)
        self._place.make(staging)
        schema = self.file_schema(ctx.schema)
        writer = None
        if ctx.slot is not None:
            writer = SlotWriter(
                staging=staging,
                token=ctx.token,
                slot=ctx.slot,
                lineage=ctx.lineage,
                extension=self.extension,
                piece_rows=self.piece_rows,
                open_format=lambda file: self.open_format(file, schema),
            )
        self._opened = _Opened(ctx, staging, EpochPublisher(self._place.root, staging, ctx), writer)

    def write(self, batch: pa.RecordBatch) -> None:
        """Encode `batch`, or hold it until it makes a large enough piece."""
        if batch.num_rows == 0:
            return
        opened = self._open()
        with opened.sticky.guard(), output_errors(opened.staging):
            for folder, rows in self.split(batch):
                opened.slot_writer().write(folder, rows)

    def prepare(self, epoch: int) -> bytes:
        """Finish the files and force them and their names to the disk.

        Returns
        -------
        bytes
            JSON of `StagedEpoch`: where the files are, their sizes and SHA-256.
        """
        opened = self._open()
        with opened.sticky.guard(), output_errors(opened.staging):
            return opened.slot_writer().seal(epoch).encode()

    def close(self) -> None:
        """Close files and remove what was not prepared. The committer removes a staging directory that is empty."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if opened.writer is not None:
            opened.writer.discard()
        else:
            self._place.remove_if_empty(opened.staging)

    # ---------------------------------------------------------------- the committer

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Publish the listed files of all slots by one rename. Staged files are gone afterwards."""
        return self._open().epochs.publish(epoch, committables)

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Remove the staged files of `prepared`."""
        refuse_newer(prepared, self._open().ctx.token)
        abort_staged(prepared)

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return what is staged for `lineage`; epoch 0 stands for what a dead writer had not prepared."""
        staging = self._place.staging(lineage, self._open().ctx.sink_id)
        return list_staged(staging, lineage)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the newest published epoch of `lineage`; the same for every slot."""
        return self._open().epochs.last_applied(lineage)

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the newest published epoch of each lineage and sink that wrote here for `job`."""
        return self._open().epochs.marks(job)

    def rewind(self, lineage: str, epoch: int) -> bool:
        """Remove the published epochs above `epoch`."""
        self._open().epochs.rewind(lineage, epoch)
        return True

    # ---------------------------------------------------------------- before the job runs

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process, epochs appear as a whole."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True, atomic_epochs=True)

    def check(self, schema: pa.Schema) -> None:
        """Raise `BadOutputPath` or `UnsupportedColumn` if rows of `schema` can never be written here."""
        self._place.check()
        self.check_columns(self.file_schema(schema))

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


@dataclass
class _Opened:
    """What an open copy of a sink holds."""

    ctx: SinkContext
    staging: Path
    epochs: EpochPublisher
    writer: SlotWriter | None
    sticky: StickyError = field(default_factory=StickyError)

    def slot_writer(self) -> SlotWriter:
        if self.writer is None:
            raise ValueError("a committer writes no rows")
        return self.writer
