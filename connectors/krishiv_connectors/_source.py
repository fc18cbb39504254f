"""What an author of a source writes: `Source` says what there is to read, a `Reader` reads one split of it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from krishiv_guarantees import SkippableError, SourceCapabilities

__all__ = ["Closeable", "Reader", "Source", "SourceContext", "Split"]

S = TypeVar("S")
"""The type of a position: a JSON value (str, int, float, bool, None, lists and dicts of them)."""


@dataclass(frozen=True)
class Split:
    """A part of a source that is read in order, by one reader at a time.

    Parameters
    ----------
    id : str
        Stable name: the same part has the same id in every run (a file's path, a partition's number).
    payload : mapping
        JSON values that `Source.open` needs to read it; stored in checkpoints.
    start : JSON value or None
        The position at which it is read the first time; None: at its beginning. It is in every checkpoint from the
        moment the split is known: a source that begins "now" decides once when that was.
    """

    id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    start: Any = None


@dataclass(frozen=True, kw_only=True)
class SourceContext:
    """What the engine tells a reader.

    Parameters
    ----------
    columns : tuple of str or None
        The columns that the pipeline uses, in schema order; None: all. A reader may return just these (and should,
        where that saves reading), or more.
    batch_rows : int
        Wished-for rows in a batch. Never more; fewer is fine.
    stopping : threading.Event
        Set when the job stops: a blocking read should return None soon after.
    bad_rows : callable
        Receives a `SkippableError` for each record that cannot be used. It returns if the record is to be skipped and
        raises if the job is to fail.
    gauge : callable (name, value)
        Takes a figure worth watching (how far behind a split is); the last one of each name shows in the metrics.
    """

    columns: tuple[str, ...] | None = None
    batch_rows: int = 65_536
    stopping: threading.Event = field(default_factory=threading.Event)
    bad_rows: Callable[[SkippableError], None] | None = None
    gauge: Callable[[str, float], None] = field(default=lambda name, value: None)
    shared: dict[str, Closeable] = field(default_factory=dict[str, "Closeable"])
    """What the readers of one subtask share, by name: a client connection."""

    def close(self) -> None:
        """Let go of what the readers share, after the readers have been closed."""
        while self.shared:
            _, resource = self.shared.popitem()
            resource.close()


class Closeable(Protocol):
    """Something to be closed."""

    def close(self) -> None:
        """Let go of what is held."""


class Reader(ABC, Generic[S]):
    """Reads one split.

    Call order: `read` and `position` alternate freely, on one thread; `close` once, last.
    """

    @abstractmethod
    def read(self) -> pa.RecordBatch | None:
        """Return the next rows, or None if there are none just now.

        Returns
        -------
        pa.RecordBatch or None
            1 to `SourceContext.batch_rows` rows x the source's schema (or the columns asked for).

        Notes
        -----
        **Blocking**: at most some tens of milliseconds; return None rather than wait, so that barriers can pass.
        **Recovery**: after a crash a new reader is opened at a stored position and must return the rows from there.
        """

    @abstractmethod
    def position(self) -> S:
        """Return where the *next* row is: the one after the last row that `read` returned.

        A JSON value. It is stored in checkpoints and handed to `Source.open` of a later process. None, where `S` has
        it, says that nothing was read yet: what lies in the split may still be mended or replaced.
        """

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether the split has ended for good: `read` will return None for ever."""

    def watermark(self) -> int | None:
        """Return how far event time has come, microseconds since 1970 UTC, if the source itself knows.

        Asked after every `read`, also after one that returned None. None: the pipeline's watermark strategy decides.
        """
        return None

    def close(self) -> None:
        """Let go of files and connections. Called once, also after an error."""


class Source(ABC, Generic[S]):
    """A place that rows come from.

    The object holds configuration only: it is copied, sent to other processes and asked for its schema before any
    job runs. Files and connections are opened in `open`.
    """

    sequential: ClassVar[bool] = False
    """True: a subtask opens its next split when the last has finished, in the order of `splits`. False: all at once."""
    client_libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions of the client libraries that it uses: a certificate is bound to their versions."""
    discovery_interval: float = 1.0
    """Seconds between two looks for new splits, where the capabilities say that it `discovers_splits`."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Return the columns of every batch. The same in every run, or the job is refused."""

    @abstractmethod
    def splits(self) -> Sequence[Split]:
        """Return all splits known now, in reading order. Raises if a place that must exist does not."""

    def later_splits(self) -> Sequence[Split]:
        """Return all splits known now, old and new, as they are to be read if they are new.

        Called when a job is restored and, for sources that discover splits, again and again while it runs. A
        `RetriableError` then means: not now. Differs from `splits` where a job begins somewhere inside of its splits:
        one that appears later is read from its beginning.
        """
        return self.splits()

    @abstractmethod
    def open(self, split: Split, position: S | None, ctx: SourceContext) -> Reader[S]:
        """Open `split` at `position` (None: at its beginning).

        **Recovery**: `position` may come from a checkpoint of a process that died. If the rows before it are no longer
        what they were, raise: silently reading other rows loses or doubles data.
        """

    @abstractmethod
    def capabilities(self) -> SourceCapabilities:
        """Return what this source can do, as it is configured."""

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the options that bear on the delivery guarantee; a certificate is bound to them."""
        return {}

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        """Return the smallest value of timestamp `column` in `split`, in microseconds since 1970 UTC, if known cheaply.

        An unread split holds the watermark there. None: unknown; splits are then taken to be in time order.
        """
        return None

    def committed(self, positions: Mapping[str, S], ctx: SourceContext) -> None:
        """Publish how far the job has come, where others look for it (offsets of a consumer group).

        Called after every sink has applied an epoch, with the positions of `ctx`'s subtask at the barrier, by split id;
        on that subtask's thread, and once more when the job ends. Recovery never reads what is published here: it may
        come late or not at all, and an error of it is logged and does not stop the job.
        """
