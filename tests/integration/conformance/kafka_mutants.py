"""Kafka sinks that each break one rule, with harnesses for the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Producer

from krishiv_checkpoint import failpoint
from krishiv_conformance._shipped import KafkaSinkHarness
from krishiv_connectors.kafka._exactly_once_sink import ExactlyOnceKafkaSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["ForgetsTheMarkHarness", "WritesAtPrepareHarness", "WritesOutsideTheTransactionHarness"]


class WritesOutsideTheTransaction(ExactlyOnceKafkaSink):
    """Writes the rows first, and then moves the mark, in a transaction of its own."""

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.write_plainly(batches)
        failpoint("commit.during")
        super().apply(slot, epoch, previous, token, iter(()))

    def write_plainly(self, batches: Iterator[pa.RecordBatch]) -> None:
        producer = Producer({"bootstrap.servers": self._clients.brokers, "log_level": 0})
        for batch in batches:
            for value in batch.column("value").to_pylist():
                producer.produce(self.topics[0], value)
        assert producer.flush(30) == 0


class ForgetsTheMark(WritesOutsideTheTransaction):
    """Writes the rows, and no mark."""

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.write_plainly(batches)


class WritesAtPrepare(WritesOutsideTheTransaction):
    """Writes the rows where it should only stage them."""

    def write(self, batch: pa.RecordBatch) -> None:
        assert self._messages is not None
        self.write_plainly(iter([self._messages.encode(batch)]))


class _Harness(KafkaSinkHarness):
    def make(self, workdir: Path) -> ExactlyOnceKafkaSink:
        made: ExactlyOnceKafkaSink = self.connector(
            self.address(workdir), self.own_name(workdir), control_topic=f"{self.own_name(workdir)}-marks"
        )
        return made


class WritesOutsideTheTransactionHarness(_Harness):
    connector = WritesOutsideTheTransaction
    lag = 2.0


class ForgetsTheMarkHarness(_Harness):
    connector = ForgetsTheMark
    lag = 2.0


class WritesAtPrepareHarness(_Harness):
    connector = WritesAtPrepare
    lag = 2.0
