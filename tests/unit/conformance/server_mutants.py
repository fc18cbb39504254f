"""A sink and a source that talk to a server and bear its death, and others that each take it in one wrong way."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from krishiv_checkpoint import CommitOutcome, Mark, failpoint
from krishiv_conformance import SCHEMA
from krishiv_connectors import Reader, Source, Split
from krishiv_guarantees import RetriableError, SourceCapabilities
from tests.unit.conformance import sink_mutants, source_mutants
from tests.unit.conformance.sink_mutants import HonestSink, Name
from tests.unit.conformance.table_server import TableServer, ask, receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from krishiv_connectors import SourceContext

__all__ = ["SINK_MUTANTS", "SOURCE_MUTANTS", "TABLES", "TableSink", "TableSinkHarness", "TableSource"]

TABLES = TableServer()


class TableSink(HonestSink):
    """Stages in a folder, and publishes each epoch as a table, by its name: the server takes a name once."""

    verb: ClassVar[str] = "put"
    delay: ClassVar[float] = 0.0
    """Seconds from the server's deed to its answer."""

    def __init__(self, root: Path, address: str) -> None:
        super().__init__(root)
        self.address = address

    def publish(self, name: str) -> CommitOutcome:
        rows = [json.loads(line) for line in (self.staged / name).read_text().splitlines()]
        failpoint("commit.during")
        try:
            self.put(name, rows)
        except OSError as error:
            return CommitOutcome.retry(str(error), 0.1)
        failpoint("commit.during")
        (self.staged / name).unlink(missing_ok=True)
        return CommitOutcome.done()

    def put(self, name: str, rows: list[Any]) -> None:
        with send(self.address, {self.verb: name, "rows": rows, "delay": self.delay}) as connection:
            failpoint("commit.during")
            receive(connection)

    def last_applied(self, lineage: str, slot: int) -> int | None:
        mine = (lineage, self.ctx.sink_id, slot)
        return max((each.epoch for each in self.names() if (each.lineage, each.sink, each.slot) == mine), default=None)

    def marks(self, job: str) -> Sequence[Mark]:
        return [Mark(each.lineage, job, each.slot, each.epoch) for each in self.names() if each.job == job]

    def rewind(self, lineage: str, epoch: int) -> bool:
        return False

    def names(self) -> Iterator[Name]:
        try:
            return map(Name.parse, published(self.address))
        except OSError as error:
            raise RetriableError(f"the tables are away: {error}", hint="wait", after=0.1) from error


class TableSinkHarness(sink_mutants.HonestHarness):
    """Reads every table of the server."""

    connector: ClassVar[type] = TableSink
    server = TABLES

    def make(self, workdir: Path) -> Any:
        return self.connector(workdir, self.address(workdir))

    def read(self, workdir: Path, schema: pa.Schema) -> pa.Table:
        address, at = self.address(workdir), schema.field("at").type
        rows = [row for name in published(address) for row in ask(address, {"rows": name})]
        return pa.Table.from_pylist([{**row, "at": pa.scalar(row["at"]).cast(at).as_py()} for row in rows], schema)


class SendsAgain(TableSink):
    """Takes a commit that was not answered for one that did not happen."""

    delay = 0.3

    def put(self, name: str, rows: list[Any]) -> None:
        while True:
            try:
                return super().put(f"{name}~{uuid.uuid4().hex}", rows)
            except OSError:
                time.sleep(0.05)


class TakesSilenceForConsent(TableSink):
    """Takes a commit that was not answered, or not even sent, for one that happened."""

    def put(self, name: str, rows: list[Any]) -> None:
        try:
            super().put(name, rows)
        except OSError:
            return


class KeepsInMemory(TableSink):
    """Has the server answer before anything is durable."""

    verb = "keep"


class TableReader(Reader[int]):
    """Rows of one table; waits for a server that is away."""

    def __init__(self, source: TableSource, split: Split, position: int | None, batch_rows: int) -> None:
        self.source, self.split, self.next, self.batch_rows = source, split, position or 0, batch_rows
        self.rows: list[Any] | None = None

    def read(self) -> pa.RecordBatch | None:
        try:
            self.rows = self.source.rows(self.split)
        except OSError:
            self.lose_connection()
            return None
        rows = self.rows[self.next : self.next + self.batch_rows]
        self.next += len(rows)
        return pa.RecordBatch.from_pylist(list(map(_timed, rows)), SCHEMA) if rows else None

    def lose_connection(self) -> None:
        """Ask again next time."""

    def position(self) -> int:
        return self.next

    @property
    def finished(self) -> bool:
        return self.rows is not None and self.next >= len(self.rows)


class TableSource(Source[int]):
    """The tables of the server, one split each."""

    reader: ClassVar[type[TableReader]] = TableReader

    def __init__(self, address: str) -> None:
        self.address = address

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> Sequence[Split]:
        try:
            return [Split(name) for name in ask(self.address, {}) if name.startswith("part-")]
        except OSError as error:
            raise RetriableError(f"the tables are away: {error}", hint="wait", after=0.1) from error

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        return self.reader(self, split, position, ctx.batch_rows)

    def rows(self, split: Split) -> list[Any]:
        found: list[Any] = ask(self.address, {"rows": split.id})
        return found

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(bounded=True, replayable=True, exact_positions=True, ordered_replay=True)


class TableSourceHarness(source_mutants.HonestHarness):
    """Puts tables into the server."""

    connector: ClassVar[type] = TableSource
    server = TABLES

    def make(self, workdir: Path) -> Any:
        return self.connector(self.address(workdir))

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        lines = [{**row, "at": row["at"].isoformat()} for row in rows.to_pylist()]
        ask(self.address(workdir), {"put": f"part-{part}", "rows": lines})


class SkipsWhenTheConnectionIsLost(TableSource):
    """Takes the rows that it did not get for read."""

    class reader(TableReader):
        def lose_connection(self) -> None:
            self.next += 1


class EndsWhenTheServerIsAway(TableSource):
    """Takes a server that is away for one without rows."""

    def splits(self) -> Sequence[Split]:
        try:
            return super().splits()
        except RetriableError:
            return []

    def rows(self, split: Split) -> list[Any]:
        try:
            return super().rows(split)
        except OSError:
            return []


class ForgetsWhereItWas(TableSource):
    """Begins anew in another process."""

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        return super().open(split, None, ctx)


SINK_MUTANTS = (SendsAgain, TakesSilenceForConsent, KeepsInMemory)
SOURCE_MUTANTS = (SkipsWhenTheConnectionIsLost, EndsWhenTheServerIsAway, ForgetsWhereItWas)
"""Each has a harness of its name with ``Harness`` behind it, for children to find."""

for _kind in (*SINK_MUTANTS, *SOURCE_MUTANTS):
    _base = TableSinkHarness if issubclass(_kind, TableSink) else TableSourceHarness
    globals()[f"{_kind.__name__}Harness"] = type(
        f"{_kind.__name__}Harness", (_base,), {"connector": _kind, "__module__": __name__}
    )


def published(address: str) -> list[str]:
    """Return the names of the tables that a sink wrote; a source's are beside them."""
    return [name for name in ask(address, {}) if not name.startswith("part-")]


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "at": pa.scalar(row["at"]).cast(SCHEMA.field("at").type).as_py()}
