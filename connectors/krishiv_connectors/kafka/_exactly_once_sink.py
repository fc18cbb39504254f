"""Exactly once into topics: an epoch's messages wait in the checkpoint store, then go out in a transaction."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from krishiv_checkpoint import Mark
from krishiv_connectors._staged_sink import StagedSink
from krishiv_connectors.kafka._creation import ensure_control_topic
from krishiv_connectors.kafka._kafka_sink import KafkaSink
from krishiv_connectors.kafka._marks import MarkReader, SlotKey
from krishiv_connectors.kafka._slot_producer import Epoch, SlotProducer
from krishiv_connectors.kafka._transactions import TransactionSettings, end_transactions_of
from krishiv_guarantees import SinkCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.kafka._marks import SlotMark
    from krishiv_connectors.kafka._messages import Messages
    from krishiv_connectors.kafka._outgoing import Limits

__all__ = ["ExactlyOnceKafkaSink"]


class ExactlyOnceKafkaSink(StagedSink, KafkaSink):
    """What ``KafkaSink(...)`` is by default.

    Notes
    -----
    A slot's writer encodes rows and stages messages, so that a row that cannot be written fails before its epoch is
    decided. The committer writes them, with the slot's mark in `control_topic`, in one transaction; an epoch larger
    than `max_transaction_bytes` in several, each with a mark that says how far it came. Readers need
    ``isolation.level=read_committed``; they see a transaction partition by partition.
    """

    _messages: Messages | None = None
    _limits: Limits | None = None
    _committing: _Committing | None = None

    def open(self, ctx: SinkContext) -> None:
        """Look at the topics; the committer makes its control topic besides. Producers are made when needed."""
        self._messages, self._limits = self._ready(ctx)
        super().open(replace(ctx, schema=self._messages.schema))
        if ctx.slot is None:
            ensure_control_topic(self._clients, self._control_topic, replication=self._limits.replication)
            self._committing = _Committing(self._settings(ctx, self._limits), ctx)

    def write(self, batch: pa.RecordBatch) -> None:
        """Stage messages.

        Raises
        ------
        UnencodableRow, MessageTooLarge
            If a row can never be written.
        """
        if self._messages is None or self._limits is None:
            raise ValueError("the sink is not open")
        messages = self._messages.encode(batch)
        self._limits.check(messages, self.topics[0])
        super().write(messages)

    def close(self) -> None:
        """Let go of producers; transactions that are open are aborted."""
        super().close()
        if self._committing is not None:
            self._committing.close()
            self._committing = None

    def capabilities(self) -> SinkCapabilities:
        """Two-phase and recoverable. Readers of several partitions may see one before the other."""
        return SinkCapabilities(durable_flush=True, two_phase=True, recovers_prepared=True)

    def guarantee_config(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the mode and the guarantee."""
        return {"mode": self.mode, "guarantee": "exactly_once"}

    # ---------------------------------------------------------------- what StagedSink asks for

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        """Write the messages and move the mark, in one transaction or several."""
        self._opened_committer().slot(slot).apply(Epoch(epoch, previous, token), list(batches))

    def last_applied(self, lineage: str, slot: int) -> int | None:
        """Return the epoch in the mark of `slot`. In one's own lineage, what a dead producer left is ended before."""
        committing = self._opened_committer()
        mark = committing.slot(slot).mark() if lineage == self.ctx.lineage else committing.other(lineage, slot)
        return mark.epoch or None if mark is not None else None

    def marks(self, job: str) -> Sequence[Mark]:
        """Return the marks that `job` left for output to these topics; an epoch published in part counts."""
        found = self._opened_committer().reader.read().items()
        return [
            Mark(key.lineage, job, key.slot, mark.reaches)
            for key, mark in sorted(found, key=lambda item: item[0].encode())
            if mark.job == job and set(mark.topics) & set(self.topics)
        ]

    # ---------------------------------------------------------------- helpers

    def _transactions(self) -> float | None:
        return self._timeout

    def _opened_committer(self) -> _Committing:
        if self._committing is None:
            raise ValueError("the sink is not open as a committer")
        return self._committing

    def _settings(self, ctx: SinkContext, limits: Limits) -> TransactionSettings:
        return TransactionSettings(
            clients=self._clients,
            limits=limits,
            partitioner=self._partitioner,
            topics=self.topics,
            control_topic=self._control_topic,
            timeout=self._timeout,
            max_bytes=self._max_transaction_bytes,
            job=ctx.job,
            token=ctx.token,
        )


class _Committing:
    """What an open committer holds: a producer for each slot that it was asked for."""

    def __init__(self, settings: TransactionSettings, ctx: SinkContext) -> None:
        self.reader = MarkReader(settings.clients, settings.control_topic, self._finish)
        self._settings = settings
        self._ctx = ctx
        self._slots: dict[int, SlotProducer] = {}
        self._lock = threading.Lock()

    def slot(self, slot: int) -> SlotProducer:
        with self._lock:
            if slot not in self._slots:
                self._slots[slot] = SlotProducer(self._settings, self._key(self._ctx.lineage, slot), self.reader)
            return self._slots[slot]

    def other(self, lineage: str, slot: int) -> SlotMark | None:
        """Return the mark of another lineage, as it is: its producer may be alive."""
        return self.reader.read().get(self._key(lineage, slot))

    def close(self) -> None:
        for slot in self._slots.values():
            slot.close()

    def _key(self, lineage: str, slot: int) -> SlotKey:
        return SlotKey(lineage, self._ctx.sink_id, slot)

    def _finish(self, keys: set[SlotKey]) -> None:
        """End transactions that dead producers of this lineage left open: nobody else may write under it (P1).

        Neither its own are ended, nor those of an attempt that took an id from this one.
        """
        slots = list(self._slots.items())
        spared = {self._key(self._ctx.lineage, slot) for slot, each in slots if each.live or each.lost}
        for key in keys - spared:
            if key.lineage == self._ctx.lineage:
                end_transactions_of(self._settings, key)
