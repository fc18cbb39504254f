"""A source for tests, with what is to happen written between its rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from krishiv_connectors._errors import SimulatedCrash
from krishiv_connectors._source import Reader, Source, Split
from krishiv_guarantees import ConfigurationError, SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krishiv_connectors._source import SourceContext

__all__ = ["Crash", "End", "Pause", "SentinelSource"]


class Crash:
    """Fails the job, once: the run that resumes reads on.

    Once means once per object: a copy in another process does not know that it happened and fails again.
    """

    def __init__(self) -> None:
        self._happened = threading.Event()

    def strike(self, split: str, item: int) -> None:
        """Raise the first time.

        Raises
        ------
        SimulatedCrash
            With the place in the data.
        """
        if not self._happened.is_set():
            self._happened.set()
            raise SimulatedCrash(
                f"split {split!r} crashes at item {item}, as its data say",
                hint="run the job again: the crash happens once",
                split=split,
                item=item,
            )


class Pause:
    """Gives nothing for a while; barriers pass.

    Parameters
    ----------
    seconds : float or None
        How long, from when the reader comes to it. None: until `release`.
    clock : callable
        The clock, in seconds.
    """

    def __init__(self, seconds: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._released = threading.Event()
        self._reached = threading.Event()

    def release(self) -> None:
        """Let every reader pass, from now on. Any thread."""
        self._released.set()

    def wait_until_reached(self, timeout: float) -> bool:
        """Wait, up to `timeout` seconds, for a reader to come here; whether one did. Any thread."""
        return self._reached.wait(timeout)

    def passed(self, since: float | None) -> bool:
        """Whether a reader that came here at `since` (None: just now) may go on."""
        self._reached.set()
        over = self._seconds is not None and since is not None and self._clock() - since >= self._seconds
        return over or self._released.is_set()

    def now(self) -> float:
        """Return the clock."""
        return self._clock()


class End:
    """Ends the split, whatever comes after it."""


Prepared: TypeAlias = "pa.RecordBatch | Crash | Pause | End"
"""What an item is kept as."""

Item: TypeAlias = Any
"""A row (a mapping), several (a record batch), or one of the sentinels."""


class SentinelSource(Source["list[int]"]):
    """Rows and events, in the order in which they are listed.

    Parameters
    ----------
    items : sequence of items, or mapping of split id to such a sequence
        An item is a row (a mapping of column to value), a record batch, or a sentinel: ``SentinelSource.Crash()``,
        ``SentinelSource.Pause(seconds)``, ``SentinelSource.Pause()``, ``SentinelSource.End()``.
    schema : pa.Schema or None
        The columns; None: those of the first batch, or of the first row, whose values then tell the types.
    bounded : bool
        Whether a split ends after its last item. If not, only ``End`` ends it.

    Notes
    -----
    A row is a batch by itself, a batch is cut where it is longer than the engine wishes. A position is ``[item, row]``:
    the next row is row `row` of item `item`. Sentinels are taken when the rows before them have been returned and the
    next are asked for.

    Examples
    --------
    >>> crash = SentinelSource.Crash()
    >>> source = SentinelSource([{"id": 1}, {"id": 2}, crash, {"id": 3}])
    >>> source.schema()
    id: int64
    """

    Crash = Crash
    Pause = Pause
    End = End

    def __init__(
        self,
        items: Sequence[Item] | Mapping[str, Sequence[Item]],
        *,
        schema: pa.Schema | None = None,
        bounded: bool = True,
    ) -> None:
        lists: Mapping[str, Sequence[Item]] = items if isinstance(items, Mapping) else {"0": items}
        self._schema = schema if schema is not None else _schema_of(lists)
        self._items = {split: [self._prepared(item) for item in listed] for split, listed in lists.items()}
        self._bounded = bounded

    def schema(self) -> pa.Schema:
        """Return the columns given, or those found."""
        return self._schema

    def splits(self) -> Sequence[Split]:
        """Return the splits in the order in which they were given."""
        return [Split(split) for split in self._items]

    def open(self, split: Split, position: list[int] | None, ctx: SourceContext) -> Reader[list[int]]:
        """Open a split at ``[item, row]``."""
        return _SentinelReader(split.id, self._items[split.id], position or [0, 0], ctx, bounded=self._bounded)

    def capabilities(self) -> SourceCapabilities:
        """Replayable with exact positions."""
        return SourceCapabilities(bounded=self._bounded, replayable=True, exact_positions=True, ordered_replay=True)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return whether it ends by itself."""
        return {"bounded": self._bounded}

    def _prepared(self, item: Item) -> Prepared:
        if isinstance(item, (Crash, Pause, End)):
            return item
        if isinstance(item, pa.RecordBatch):
            return item.select(self._schema.names).cast(self._schema)
        if isinstance(item, Mapping):
            return pa.RecordBatch.from_pylist([item], schema=self._schema)
        raise ConfigurationError(
            f"{item!r} is no item of a SentinelSource",
            hint="give rows as mappings, record batches, or SentinelSource.Crash(), Pause() or End() objects",
            item=repr(item),
        )


class _SentinelReader(Reader["list[int]"]):
    def __init__(
        self,
        split: str,
        items: Sequence[Prepared],
        position: list[int],
        ctx: SourceContext,
        *,
        bounded: bool,
    ) -> None:
        self._split = split
        self._items = items
        self._item, self._row = position
        self._ctx = ctx
        self._bounded = bounded
        self._ended = False
        self._paused_at: float | None = None

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows; None at a pause and at the end."""
        while not self._ended and self._item < len(self._items):
            match self._items[self._item]:
                case Crash() as crash:
                    crash.strike(self._split, self._item)
                    self._next_item()
                case Pause() as pause:
                    if not self._passes(pause):
                        return None
                    self._next_item()
                case End():
                    self._ended = True
                case batch:
                    rows = self._rows(batch)
                    if rows.num_rows:
                        return rows
        return None

    def position(self) -> list[int]:
        """Return where the next row is."""
        return [self._item, self._row]

    @property
    def finished(self) -> bool:
        """Whether the split has ended; known as soon as its last row was returned."""
        at_end = self._item < len(self._items) and isinstance(self._items[self._item], End)
        return self._ended or at_end or (self._bounded and self._item >= len(self._items))

    def _rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.slice(self._row, self._ctx.batch_rows)
        self._row += rows.num_rows
        if self._row >= batch.num_rows:
            self._next_item()
        return rows if self._ctx.columns is None else rows.select(list(self._ctx.columns))

    def _passes(self, pause: Pause) -> bool:
        if pause.passed(self._paused_at):
            self._paused_at = None
            return True
        if self._paused_at is None:
            self._paused_at = pause.now()
        return False

    def _next_item(self) -> None:
        self._item += 1
        self._row = 0


def _schema_of(lists: Mapping[str, Sequence[Item]]) -> pa.Schema:
    for item in (item for listed in lists.values() for item in listed):
        if isinstance(item, pa.RecordBatch):
            return item.schema
        if isinstance(item, Mapping):
            return pa.RecordBatch.from_pylist([item]).schema
    raise ConfigurationError(
        "a SentinelSource without rows does not know its columns", hint="give schema=, or a row", items=len(lists)
    )
