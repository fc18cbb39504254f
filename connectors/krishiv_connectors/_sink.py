"""What an author of a sink writes: one of four base classes, by what the system on the other side can do.

A sink object holds configuration. The engine works on shallow copies of it: one *writer* per slot (sink subtask),
opened with its slot's number, and, for the two-phase styles, one *committer* per sink, opened with ``slot=None``,
which lives with the coordinator, may be another process, and sees the committables of all slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from krishiv_checkpoint import CommitOutcome, CommitScope, Fenced
from krishiv_connectors._errors import OutputHeld
from krishiv_guarantees import ConfigurationError, SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    import pyarrow as pa

    from krishiv_checkpoint import CheckpointStore, Committable, Mark, Prepared

__all__ = [
    "IdempotentSink",
    "Sink",
    "SinkContext",
    "StickyError",
    "TwoPhaseSink",
    "refuse_newer",
    "required_store",
    "single_slot",
]


@dataclass(frozen=True, kw_only=True)
class SinkContext:
    """Who a copy of a sink is.

    Parameters
    ----------
    job : str
        The job's name: an attribute of marks, never their key.
    lineage : str
        32 hex digits; the key of everything written outside (P1).
    sink_id : str
        Stable id of the sink in its pipeline.
    slot : int or None
        The writer's slot; None for the committer.
    token : int
        Fencing token of this attempt (P11).
    schema : pa.Schema
        Schema of every batch.
    store : CheckpointStore or None
        Where `StagedSink` keeps an epoch between prepare and commit; None where there are no checkpoints.
    """

    job: str
    lineage: str
    sink_id: str
    slot: int | None
    token: int
    schema: pa.Schema
    store: CheckpointStore | None = None


class Sink(ABC):
    """A place that rows go to: at least once, if `flush` makes them durable.

    Call order: `open`, then `write` and `flush` in turns, then `close`; all on one thread.
    """

    diagnostic: ClassVar[bool] = False
    """True for output that only people look at (print): `require` does not cover it."""
    client_libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions of the client libraries that it uses: a certificate is bound to their versions."""

    @abstractmethod
    def open(self, ctx: SinkContext) -> None:
        """Get ready to write. Connections and files are opened here, not in ``__init__``."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Take `batch`, n rows x `ctx.schema`. May buffer. An error that shows later may be raised by `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Return once every row written so far is durable. Called at each barrier and at the end."""

    def close(self) -> None:  # noqa: B027  an optional hook
        """Let go of files and connections. Called once, also after an error; must not publish anything."""

    @abstractmethod
    def capabilities(self) -> SinkCapabilities:
        """Return what this sink can do, as it is configured."""

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the options that bear on the delivery guarantee; a certificate is bound to them."""
        return {}

    def check(self, schema: pa.Schema) -> None:  # noqa: B027  an optional hook
        """Raise if rows of `schema` can never be written here. Called when the pipeline is submitted."""


class IdempotentSink(Sink):
    """A sink where writing a row again changes nothing: effectively once.

    `write` is `upsert` by the declared `keys`; replayed rows overwrite themselves.
    """

    keys: tuple[str, ...] = ()
    """Columns that identify a row."""

    @abstractmethod
    def upsert(self, batch: pa.RecordBatch) -> None:
        """Write `batch`, replacing rows that have equal `keys`. Within a batch the last row of a key wins."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Pass `batch` to `upsert`."""
        self.upsert(batch)

    def capabilities(self) -> SinkCapabilities:
        """Durable and idempotent by `keys`."""
        return SinkCapabilities(durable_flush=True, idempotent_by=self.keys)


class TwoPhaseSink(Sink):
    """A sink that prepares an epoch durably and publishes it later: exactly once.

    Call order of a writer: `open`, then per epoch any number of `write` and one `prepare`, then `close`.
    Call order of the committer: `open`, in recovery `marks`, `last_applied`, `list_prepared`, `commit`, `abort`
    (or `rewind`), then `commit` per epoch, oldest first, then `close`.
    """

    commit_scope: CommitScope = CommitScope.SLOT
    """SLOT: `commit` gets one slot's committables of an epoch. EPOCH: those of all slots, in one call."""

    @abstractmethod
    def prepare(self, epoch: int) -> bytes:
        """Make everything written since the last `prepare` durable but invisible, and say how to publish it.

        Returns
        -------
        bytes
            The committable: all that a fresh process on another day needs to commit or abort. Small (it is stored in
            the manifest). An epoch without rows is an epoch too.

        Notes
        -----
        **Recovery**: names of prepared artefacts carry lineage, token and epoch, so that `list_prepared` finds them
        and no two attempts collide. Nothing may stay buffered: a write error since the last barrier is raised here.
        A failed prepare is not followed by one that succeeds, unless that holds the failed one's rows too: the engine
        may go on after a failed epoch (P4, P6; `StickyError` does it). After `OutputHeld` it does go on: the sink
        promises by it that its next epoch will hold these rows too.
        """

    @abstractmethod
    def commit(self, epoch: int, committables: Sequence[Committable]) -> CommitOutcome:
        """Publish what was prepared, exactly what `committables` list, with a mark that says so, atomically.

        **Idempotence**: called again after a crash, in another process, for an epoch that may be applied already;
        then it must find its own mark and report ALREADY_DONE. If the outcome of an attempt is unknown, report
        RETRY_LATER. **Blocking**: may block on I/O.
        """

    @abstractmethod
    def abort(self, prepared: Sequence[Prepared]) -> None:
        """Discard prepared artefacts. Called only in recovery, only for what no manifest lists. Idempotent."""

    @abstractmethod
    def list_prepared(self, lineage: str) -> Sequence[Prepared]:
        """Return every artefact of `lineage` that was prepared and neither committed nor aborted.

        What a dead writer left unprepared may be among them, as epoch 0, so that `abort` removes it.
        """

    @abstractmethod
    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the newest epoch whose data is published for `slot` (EPOCH scope: for the sink), or None."""

    @abstractmethod
    def marks(self, job: str) -> Sequence[Mark]:
        """Return every mark in this target that a job called `job` left, of whatever lineage."""

    def rewind(self, lineage: str, epoch: int) -> bool:
        """Take back every epoch above `epoch`, and its marks. False: this sink cannot."""
        return False

    def flush(self) -> None:
        """Do nothing: `prepare` makes rows durable."""

    def capabilities(self) -> SinkCapabilities:
        """Two-phase, recoverable by a fresh process."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True)


def required_store(ctx: SinkContext) -> CheckpointStore:
    """Return the context's store, for sinks that cannot stage without one."""
    if ctx.store is None:
        raise ConfigurationError(
            "this sink stages its epochs in the checkpoint store, and the session has none",
            hint="use a profile with checkpoints, or an at-least-once sink",
        )
    return ctx.store


def refuse_newer(prepared: Iterable[Prepared], token: int) -> None:
    """Raise `Fenced` if any of `prepared` belongs to the attempt with `token`, or to a later one (P11)."""
    for item in prepared:
        if item.token >= token:
            raise Fenced(
                f"attempt {token} was asked to discard what attempt {item.token} prepared for epoch {item.epoch}",
                hint="a newer attempt runs this job; this process must stop",
                token=token,
                newer=item.token,
            )


def single_slot(committables: Iterable[Committable]) -> int:
    """Return the one slot that `committables` belong to."""
    slots = {committable.slot for committable in committables}
    if len(slots) != 1:
        raise ValueError(f"a slot-scoped commit got slots {sorted(slots)}")
    return slots.pop()


class StickyError:
    """Remembers the first error of a writer and raises it again at every later step.

    Rows that a failed write or prepare lost are in no file: a later prepare that succeeded would leave them out of
    every epoch, silently (P6).
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    @contextmanager
    def guard(self) -> Generator[None]:
        """Run one step of the writer. After `OutputHeld` it goes on: nothing was lost by that."""
        if self._error is not None:
            raise self._error
        try:
            yield
        except OutputHeld:
            raise
        except BaseException as error:
            self._error = error
            raise
