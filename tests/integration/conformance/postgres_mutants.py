"""PostgreSQL sinks that each break one rule, with harnesses for the suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint import failpoint
from krishiv_conformance._shipped import PostgresSinkHarness
from krishiv_connectors.postgres._append_sink import AppendPostgresSink
from krishiv_connectors.postgres._copying import copy_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow as pa

__all__ = ["CommitsBetweenHarness", "ForgetsTheMarkHarness", "WritesAtPrepareHarness"]


class CommitsBetween(AppendPostgresSink):
    """Writes the rows first, and then moves the mark, in a transaction of its own."""

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.write_plainly(batches)
        failpoint("commit.during")
        super().apply(slot, epoch, previous, token, iter(()))

    def write_plainly(self, batches: Iterable[pa.RecordBatch]) -> None:
        with self._database.connected("a mutant") as connection:
            for batch in batches:
                copy_rows(connection, f'"{self._schema}".{self.table}', [batch], batch.schema)


class ForgetsTheMark(CommitsBetween):
    """Writes the rows, and no mark."""

    def apply(self, slot: int, epoch: int, previous: int, token: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.write_plainly(batches)


class WritesAtPrepare(CommitsBetween):
    """Writes the rows where it should only stage them."""

    def write(self, batch: pa.RecordBatch) -> None:
        assert self._fitting is not None
        self.write_plainly([self._fitting.fit(batch)])


class _Harness(PostgresSinkHarness):
    def make(self, workdir: Path) -> AppendPostgresSink:
        whole = super().make(workdir)
        made: AppendPostgresSink = self.connector(whole._database._dsn, whole.table, schema=whole._schema)
        return made


class CommitsBetweenHarness(_Harness):
    connector = CommitsBetween


class ForgetsTheMarkHarness(_Harness):
    connector = ForgetsTheMark


class WritesAtPrepareHarness(_Harness):
    connector = WritesAtPrepare
