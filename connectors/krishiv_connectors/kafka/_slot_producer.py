"""Epochs in transactions: the messages of a slot and its mark together, or not at all.

Only one producer at a time can write under a slot's transactional id. Whoever initialises it ends what the one before
left open, and fences it. So whoever initialises, reads the mark and then commits a transaction under that same
initialisation has compared and set the mark in one step (P14).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from krishiv_checkpoint import Fenced, failpoint
from krishiv_connectors._errors import MarkMoved
from krishiv_connectors.kafka._errors import KafkaFailed, KafkaUnavailable
from krishiv_connectors.kafka._marks import MarkReader, Part, SlotKey, SlotMark
from krishiv_connectors.kafka._outgoing import sizes
from krishiv_connectors.kafka._transactions import Lost, Transactions, TransactionSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

__all__ = ["Epoch", "SlotProducer"]

_TRIES = 5
"""How often one call takes the id back from others."""


@dataclass(frozen=True)
class Epoch:
    """What is to be applied."""

    epoch: int
    previous: int
    token: int


class SlotProducer:
    """The producer of one slot, and the mark that holds as long as nobody else takes the id.

    Parameters
    ----------
    reader : MarkReader
        Of the control topic.
    """

    def __init__(self, settings: TransactionSettings, key: SlotKey, reader: MarkReader) -> None:
        self._settings = settings
        self._key = key
        self._reader = reader
        self._transactions: Transactions | None = None
        self._mark: SlotMark | None = None
        self._lost = False
        self._lock = threading.Lock()

    @property
    def live(self) -> bool:
        """Whether it holds its id or is taking it, as far as it knows."""
        return self._transactions is not None and self._transactions.alive

    @property
    def lost(self) -> bool:
        """Whether another process took the id from here: what is open under it is that one's."""
        return self._lost

    def mark(self) -> SlotMark | None:
        """Return what is applied. Ends what others left, unless one of them took the id from here: then it only looks.

        Raises
        ------
        KafkaUnavailable, KafkaRefused
        """
        with self._lock:
            try:
                if self.live or not self._lost:
                    self._take()
                    return self._mark
            except Lost:
                self._lost = True
            self._mark = self._read()
            return self._mark

    def apply(self, epoch: Epoch, batches: Sequence[pa.RecordBatch]) -> None:
        """Publish `batches` and move the mark.

        Raises
        ------
        MarkMoved
            If the mark is not `epoch.previous`.
        Fenced
            If the id was taken, and a newer attempt has written since.
        """
        with self._lock:
            for _ in range(_TRIES):
                try:
                    transactions = self._take()
                    self._make_sure(transactions, epoch)
                    self._compare(epoch)
                    with transactions.outcome():
                        self._publish(transactions, epoch, batches)
                except Lost:
                    self._look_after_loss(epoch)
                else:
                    return
            raise KafkaUnavailable(
                f"slot {self._key.slot}: another process takes transactional id {self._key.transactional_id} again "
                "and again",
                hint="see that this job runs only once",
            )

    def close(self) -> None:
        """Let go of the producer, without publishing anything."""
        if self._transactions is not None:
            self._transactions.close()
            self._transactions = None

    # ---------------------------------------------------------------- the id and the mark

    def _take(self) -> Transactions:
        """Become the one producer of this slot, if it is not, and read the mark as it is since."""
        if self._transactions is not None and self._transactions.alive:
            return self._transactions
        transactions = self._transactions = Transactions(self._settings, self._key)
        try:
            transactions.initialise()
            self._mark = self._read()
        except BaseException:
            self.close()
            raise
        self._lost = False
        return transactions

    def _read(self) -> SlotMark | None:
        return self._reader.read().get(self._key)

    @property
    def _epoch(self) -> int:
        return 0 if self._mark is None else self._mark.epoch

    def _make_sure(self, transactions: Transactions, epoch: Epoch) -> None:
        """Look whether the mark is what it was when it was read, before anything is refused because of it."""
        if self._epoch != epoch.previous and self._read() != self._mark:
            transactions.abandon()
            raise Lost

    def _look_after_loss(self, epoch: Epoch) -> None:
        """See what whoever took the id has done with it. One that has written nothing does not end this attempt.

        Without the id, looking is all that is done here: a newer attempt is not disturbed in what it does.
        """
        self._lost = True
        self._mark = self._read()
        self._compare(epoch)
        if self._mark is not None and self._mark.by > self._settings.token:
            raise Fenced(
                f"slot {self._key.slot}: attempt {self._mark.by} writes to {', '.join(self._settings.topics)} now",
                hint="a newer attempt runs this job; this process must stop",
                token=self._settings.token,
                newer=self._mark.by,
            )

    def _compare(self, epoch: Epoch) -> None:
        mark, found = self._mark, self._epoch
        if found != epoch.previous:
            raise MarkMoved(
                f"slot {self._key.slot}: the mark in {self._settings.control_topic!r} says epoch {found}, not "
                f"{epoch.previous}",
                hint="another attempt applied epochs of this sink, or the control topic lost records",
                found=found,
            )
        part = mark.part if mark is not None else None
        if part is not None and (part.epoch, part.token) != (epoch.epoch, epoch.token):
            raise KafkaFailed(
                f"slot {self._key.slot}: {part.messages} messages of epoch {part.epoch} are published, and epoch "
                f"{epoch.epoch} is to follow epoch {found}",
                hint="restore the newest checkpoint: it completes that epoch",
            )

    # ---------------------------------------------------------------- what is published

    def _publish(self, transactions: Transactions, epoch: Epoch, batches: Iterable[pa.RecordBatch]) -> None:
        """Write the messages in as many transactions as it takes, each with a mark that says how far it comes.

        After a failure the messages that the mark counts are left out, however they were cut.
        """
        done = self._mark.part.messages if self._mark is not None and self._mark.part is not None else 0
        for pieces, last in _transactions_of(batches, done, self._settings.max_bytes):
            transactions.begin()
            for piece in pieces:
                transactions.send(piece)
                done += piece.num_rows
            self._end(transactions, epoch, None if last else Part(epoch.epoch, epoch.token, done))

    def _end(self, transactions: Transactions, epoch: Epoch, part: Part | None) -> None:
        old, settings = self._mark, self._settings
        through, token = (epoch.epoch, epoch.token) if part is None else (self._epoch, old.token if old else 0)
        mark = SlotMark(settings.job, through, token, settings.token, settings.topics, part)
        transactions.end(mark, self._key.partition(self._reader.count))
        self._mark = mark
        failpoint("commit.during")


def _transactions_of(
    batches: Iterable[pa.RecordBatch], done: int, max_bytes: int
) -> Iterator[tuple[list[pa.RecordBatch], bool]]:
    """Cut messages into transactions, those left out that are done; give with each whether it is the last."""
    pieces: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        rest = batch.slice(min(done, batch.num_rows))
        done -= batch.num_rows - rest.num_rows
        lengths = sizes(rest)
        while rest.num_rows:
            count = int(np.searchsorted(np.cumsum(lengths), max_bytes - size, side="right"))
            if not count and pieces:
                yield pieces, False
                pieces, size = [], 0
                continue
            count = max(count, 1)  # a message alone may be larger
            pieces.append(rest.slice(0, count))
            size += int(lengths[:count].sum())
            rest, lengths = rest.slice(count), lengths[count:]
    yield pieces, True
