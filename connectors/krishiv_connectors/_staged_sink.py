"""Exactly once for every system that can write data and a marker in one atomic step."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from krishiv_checkpoint import (
    CommitOutcome,
    Prepared,
    StateFile,
    failpoint,
    parse_staged_key,
    read_verified,
    staged_key,
)
from krishiv_connectors._errors import MarkMoved, OutputHeld
from krishiv_connectors._sink import (
    StickyError,
    TwoPhaseSink,
    refuse_newer,
    required_store,
    single_slot,
)
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from krishiv_checkpoint import BlobWriter, CheckpointStore, Committable
    from krishiv_connectors._sink import SinkContext

__all__ = ["StagedSink"]

_ROWS = 10_000
"""Staged batches are put together up to so many rows."""


class StagedSink(TwoPhaseSink):
    """A sink whose epochs wait in the checkpoint store and are applied after the commit point (P14).

    An author writes `apply`, `last_applied` and `marks`, and whatever `open` needs besides (call ``super().open``).

    Notes
    -----
    A committable's payload is the JSON of the staged file's key, size and SHA-256, or ``null`` for an epoch without
    rows. The file is an Arrow IPC stream. Staged files are removed with the checkpoints that refer to them.
    """

    _opened: _Opened | None = None

    @abstractmethod
    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Write `batches` and move the slot's mark from `previous` to `epoch`, in one atomic step.

        Parameters
        ----------
        previous : int
            What the mark must say; 0: there must be none.
        token : int
            Of the attempt that prepared the epoch; kept with the mark for people to read.
        batches : iterator of pa.RecordBatch
            The rows of the epoch in the order of `write`, x the sink's schema. May be empty: the mark moves all the
            same.

        Raises
        ------
        MarkMoved
            If the mark is not `previous`. Nothing may be written then. Of two racing appliers one wins.
        RetriableError
            Passing trouble; nothing was written.

        Notes
        -----
        **Recovery**: may be called again after it succeeded and its caller died; then the mark is `epoch`.
        **Blocking**: may block on I/O. Calls for different slots may come from different threads at once.
        """

    @property
    def ctx(self) -> SinkContext:
        """Who this open copy is."""
        return self._open().ctx

    # ---------------------------------------------------------------- the writer

    def open(self, ctx: SinkContext) -> None:
        """Remember who this copy is."""
        self._opened = _Opened(ctx, required_store(ctx))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append `batch` to the epoch's file in the checkpoint store."""
        if batch.num_rows:
            opened = self._open()
            with opened.sticky.guard():
                opened.stream().write(batch)

    def prepare(self, epoch: int) -> bytes:
        """Finish the epoch's file under its key. An epoch without rows stages nothing.

        While the store is away, the file is kept, and the rows of the next epoch are added to it.
        """
        opened = self._open()
        with opened.sticky.guard():
            if opened.stage is None:
                return msgspec.json.encode(None)
            # No mark of the stream's end is written: that of the file says it, and more rows may have to follow.
            try:
                file = opened.stage.blob.finish(opened.key(epoch))
            except RetriableError as error:
                raise OutputHeld(
                    f"slot {opened.ctx.slot}: the output of epoch {epoch} could not be staged: {error.message}",
                    hint="it is kept, and staged with the next epoch",
                    after=error.after,
                ) from error
            stage, opened.stage = opened.stage, None
            stage.stack.close()
            return msgspec.json.encode(file)

    def close(self) -> None:
        """Discard what was not prepared."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.stage is not None:
            opened.stage.stack.close()

    # ---------------------------------------------------------------- the committer

    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Apply what one slot staged, if its mark is older than `epoch`."""
        slot = single_slot(committables)
        (committable,) = committables
        lineage = self.ctx.lineage
        try:
            if (self.last_applied(lineage, slot) or 0) >= epoch:
                return CommitOutcome.already_done()
            batches = self._staged(committable)
            failpoint("commit.during")
            self.apply(slot, epoch, committable.previous, committable.token, batches)
            failpoint("commit.during")
            return CommitOutcome.done()
        except MarkMoved:
            found = self.last_applied(lineage, slot) or 0
            if found >= epoch:
                return CommitOutcome.already_done()
            return CommitOutcome.failed(
                f"slot {slot} cannot go from epoch {committable.previous} to {epoch}: its mark says {found}"
            )
        except RetriableError as error:
            return CommitOutcome.retry(error.message, error.after)

    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Delete the staged files of `prepared`."""
        opened = self._open()
        refuse_newer(prepared, opened.ctx.token)
        for item in prepared:
            opened.store.delete(staged_key(opened.ctx.sink_id, item.token, item.epoch, item.slot))

    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return what is staged above the marks of `lineage`. The store is the job's: it holds no other job's."""
        opened = self._open()
        prefix = staged_key(opened.ctx.sink_id, 0, 0, 0).rpartition("/")[0] + "/"
        keys = [parse_staged_key(key) for key in opened.store.list(prefix)]
        found = [Prepared(key.token, key.epoch, key.slot, b"") for key in keys if key is not None]
        applied = {slot: self.last_applied(lineage, slot) or 0 for slot in {item.slot for item in found}}
        return [item for item in found if item.epoch > applied[item.slot]]

    def _staged(self, committable: Committable) -> Iterator[pa.RecordBatch]:
        """Give the batches of a staged file, checked against its digest before the first."""
        file = msgspec.json.decode(committable.payload, type=StateFile | None)
        if file is None:
            return iter(())
        data = read_verified(self._open().store, file)
        return _joined(pa.ipc.open_stream(pa.py_buffer(data)))

    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("the sink is not open")
        return self._opened


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Put small batches together: a job with little delay stages many, and writing one costs as much as a large one."""
    few: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if few and rows + batch.num_rows > _ROWS:
            yield few[0] if len(few) == 1 else pa.concat_batches(few)
            few, rows = [], 0
        few.append(batch)
        rows += batch.num_rows
    if few:
        yield few[0] if len(few) == 1 else pa.concat_batches(few)


@dataclass
class _Stage:
    """The file of the epoch that runs, while it grows."""

    stack: ExitStack
    blob: BlobWriter
    stream: Any


@dataclass
class _Opened:
    """What an open copy of a sink holds."""

    ctx: SinkContext
    store: CheckpointStore
    stage: _Stage | None = None
    sticky: StickyError = field(default_factory=StickyError)

    def key(self, epoch: int) -> str:
        if self.ctx.slot is None:
            raise ValueError("a committer writes no rows")
        return staged_key(self.ctx.sink_id, self.ctx.token, epoch, self.ctx.slot)

    def stream(self) -> Any:
        """Return the IPC writer of the epoch that runs. Its file gets its key when the epoch is known."""
        if self.stage is None:
            stack = ExitStack()
            blob = stack.enter_context(self.store.writer(self.key(0)))
            self.stage = _Stage(stack, blob, pa.ipc.new_stream(_BlobFile(blob), self.ctx.schema))
        return self.stage.stream


class _BlobFile:
    """A store's blob in the shape that pyarrow writes to."""

    closed = False

    def __init__(self, blob: BlobWriter) -> None:
        self._blob = blob

    def write(self, data: bytes | memoryview) -> int:
        return self._blob.write(data)

    def flush(self) -> None:
        """Do nothing: `BlobWriter.finish` makes it durable."""
