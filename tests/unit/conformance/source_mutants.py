"""A source that keeps its contract, and sources that each break one rule of it."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from krishiv_conformance import SCHEMA, SourceHarness
from krishiv_connectors import Reader, Source, Split
from krishiv_guarantees import SourceCapabilities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from krishiv_connectors import SourceContext

__all__ = ["MUTANTS", "HonestHarness", "HonestSource"]


class HonestReader(Reader[Any]):
    """Rows of one file; the position is the number of the next row."""

    def __init__(self, source: HonestSource, path: Path, position: Any, ctx: SourceContext) -> None:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        self.source = source
        self.table = table if ctx.columns is None else table.select(ctx.columns)
        self.next = position or 0
        self.batch_rows = ctx.batch_rows

    def read(self) -> pa.RecordBatch | None:
        count = min(self.batch_rows, self.table.num_rows - self.next)
        if count <= 0:
            return None
        rows = self.table.slice(self.next, count).combine_chunks()
        self.next += count
        return rows.to_batches()[0]

    def position(self) -> Any:
        return self.next

    @property
    def finished(self) -> bool:
        return bool(self.source.bounded and self.next >= self.table.num_rows)


class HonestSource(Source[Any]):
    """Arrow files of a folder."""

    reader: ClassVar[type[HonestReader]] = HonestReader
    ordered: ClassVar[bool] = True
    bounded: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def schema(self) -> pa.Schema:
        return SCHEMA

    def splits(self) -> Sequence[Split]:
        return [Split(path.name) for path in sorted(self.folder.glob("*.arrow"))]

    def open(self, split: Split, position: Any, ctx: SourceContext) -> Reader[Any]:
        return self.reader(self, self.folder / split.id, position, ctx)

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(
            bounded=self.bounded,
            replayable=True,
            exact_positions=True,
            ordered_replay=self.ordered,
            discovers_splits=not self.bounded,
        )


class HonestHarness(SourceHarness):
    """Writes Arrow files."""

    connector: ClassVar[type] = HonestSource

    def make(self, workdir: Path) -> Any:
        return self.connector(workdir)

    def fill(self, workdir: Path, part: int, rows: pa.Table) -> None:
        hidden = workdir / f"part-{part}.tmp"
        with pa.OSFile(str(hidden), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
            writer.write_table(rows)
        hidden.rename(workdir / f"part-{part}.arrow")


class Following(HonestSource):
    """Waits for new files."""

    bounded = False


# ---------------------------------------------------------------- what is wrong with each


class DropsTheLastRow(HonestSource):
    class reader(HonestReader):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.table = self.table.slice(0, self.table.num_rows - 1)


class PositionOfTheLastRow(HonestSource):
    """Off by one: the position is the row that was read last."""

    class reader(HonestReader):
        def position(self) -> Any:
            return max(0, self.next - 1)


class BeginsAfterTheFirstRow(HonestSource):
    """Before it has read anything, a reader says that it has read a row."""

    class reader(HonestReader):
        def position(self) -> Any:
            return self.next or 1


class PositionIsATuple(HonestSource):
    class reader(HonestReader):
        def __init__(self, source: HonestSource, path: Path, position: Any, ctx: SourceContext) -> None:
            super().__init__(source, path, position[0] if position else 0, ctx)

        def position(self) -> Any:
            return (self.next,)


class RandomSplitIds(HonestSource):
    def splits(self) -> Sequence[Split]:
        return [Split(f"{split.id}?{uuid.uuid4().hex}") for split in super().splits()]

    def open(self, split: Split, position: Any, ctx: SourceContext) -> Reader[Any]:
        return super().open(Split(split.id.partition("?")[0]), position, ctx)


class SchemaOfTheLastReader(HonestSource):
    columns: Any = None

    def schema(self) -> pa.Schema:
        return SCHEMA if self.columns is None else SCHEMA.with_metadata({"read": "yes"}).remove(0)

    def open(self, split: Split, position: Any, ctx: SourceContext) -> Reader[Any]:
        self.columns = True
        return super().open(split, position, ctx)


class GivesTheLastRowAgain(HonestSource):
    class reader(HonestReader):
        ended = False

        def read(self) -> pa.RecordBatch | None:
            if self.ended:
                return self.table.slice(self.table.num_rows - 1).combine_chunks().to_batches()[0]
            batch = super().read()
            self.ended = self.next >= self.table.num_rows
            return batch


class OneCursor(HonestSource):
    """All readers of an object share where they are."""

    cursor = 0

    class reader(HonestReader):
        source: Any

        def read(self) -> pa.RecordBatch | None:
            self.next = max(self.next, self.source.cursor)
            batch = super().read()
            self.source.cursor = self.next
            return batch


class DropsNullsOfTheChosenColumn(HonestSource):
    class reader(HonestReader):
        def __init__(self, source: HonestSource, path: Path, position: Any, ctx: SourceContext) -> None:
            super().__init__(source, path, position, ctx)
            if ctx.columns is not None:
                self.table = self.table.drop_null()


class StatesTheNewestTime(HonestSource):
    def event_time_minimum(self, split: Split, column: str) -> int | None:
        return 4_000_000_000_000_000


class AnotherOrderEachTime(HonestSource):
    turns: ClassVar[Any] = itertools.count()

    class reader(HonestReader):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            turn = next(AnotherOrderEachTime.turns) % self.table.num_rows
            order = [*range(turn, self.table.num_rows), *range(turn)]
            self.table = self.table.take(order)


class OnlyNewSplits(Following):
    """Returns each split once."""

    known: Any = ()

    def splits(self) -> Sequence[Split]:
        found = [split for split in super().splits() if split.id not in self.known]
        self.known = {*self.known, *(split.id for split in found)}
        return found


class LooksOnce(Following):
    """Never looks for new files again."""

    found: Any = None

    def splits(self) -> Sequence[Split]:
        self.found = self.found or super().splits()
        return list(self.found)


class SkipsOnResume(HonestSource):
    """A resumed reader begins one row too late."""

    def open(self, split: Split, position: Any, ctx: SourceContext) -> Reader[Any]:
        return super().open(split, position + 1 if position else position, ctx)


class FollowsAndSkips(Following):
    """The same, for one that follows."""

    def open(self, split: Split, position: Any, ctx: SourceContext) -> Reader[Any]:
        return super().open(split, position + 1 if position else position, ctx)


MUTANTS: tuple[type[HonestSource], ...] = (
    DropsTheLastRow,
    PositionOfTheLastRow,
    BeginsAfterTheFirstRow,
    PositionIsATuple,
    RandomSplitIds,
    SchemaOfTheLastReader,
    GivesTheLastRowAgain,
    OneCursor,
    DropsNullsOfTheChosenColumn,
    StatesTheNewestTime,
    AnotherOrderEachTime,
    OnlyNewSplits,
    LooksOnce,
    SkipsOnResume,
    FollowsAndSkips,
)
"""Every broken source. Each has a harness of its name with ``Harness`` behind it, for children to find."""

for _kind in (*MUTANTS, Following):
    _name = f"{_kind.__name__}Harness"
    globals()[_name] = type(_name, (HonestHarness,), {"connector": _kind, "__module__": __name__})
