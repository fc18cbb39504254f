"""What survives every crash: the checkpoint store's blobs and the targets of two sinks, as data and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from krishiv_checkpoint import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Applied", "FileTarget", "MarkIsNot", "Outside", "Row", "StagedName", "TableTarget"]


class Row(NamedTuple):
    """One row of output: which input row it is of, its key, and the how-manieth of that key it was."""

    id: str
    key: str
    count: int


class StagedName(NamedTuple):
    """The name of a file before it is published: it says who made it, and for what."""

    lineage: str
    token: int
    epoch: int
    slot: int


@dataclass
class FileTarget:
    """A file system: staged files, and directories that appear by one rename.

    Published directories are their own marks.
    """

    staged: dict[StagedName, tuple[Row, ...]] = field(default_factory=dict)
    published: dict[tuple[str, int], dict[int, tuple[Row, ...]]] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    def rename(self, job: str, lineage: str, epoch: int, files: Mapping[int, tuple[Row, ...]]) -> bool:
        """Publish a directory; False if there is one of that name."""
        if (lineage, epoch) in self.published:
            return False
        self.published[lineage, epoch] = dict(files)
        self.jobs[lineage] = job
        return True

    def newest(self, lineage: str) -> int | None:
        """Return the newest published epoch."""
        return max((epoch for found, epoch in self.published if found == lineage), default=None)

    def rows(self) -> list[Row]:
        """Read everything that a reader of the output sees."""
        return [row for files in self.published.values() for rows in files.values() for row in rows]


class MarkIsNot(Exception):
    """The mark is not what it had to be; `found` is what it is."""

    def __init__(self, found: int) -> None:
        super().__init__(f"the mark is {found}")
        self.found = found


class Applied(NamedTuple):
    """A transaction as the table keeps it."""

    lineage: str
    slot: int
    epoch: int
    rows: tuple[Row, ...]


def compare_and_set(mark: int, previous: int) -> None:
    """The rule of P14: only a mark that is `previous` may move."""
    if mark != previous:
        raise MarkIsNot(mark)


@dataclass
class TableTarget:
    """A database: rows and marks that change in one transaction."""

    marks: dict[tuple[str, int], int] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    transactions: list[Applied] = field(default_factory=list)

    def apply(self, job: str, applied: Applied, previous: int) -> None:
        """Write rows and move the slot's mark, or raise `MarkIsNot` and do neither."""
        place = (applied.lineage, applied.slot)
        compare_and_set(self.marks.get(place, 0), previous)
        self.transactions.append(applied)
        self.marks[place] = applied.epoch
        self.jobs[applied.lineage] = job

    def rewind(self, lineage: str, epoch: int) -> None:
        """Take back, in one transaction, what a lineage wrote above an epoch."""
        kept = [t for t in self.transactions if t.lineage != lineage or t.epoch <= epoch]
        self.transactions = kept
        for place in [place for place in self.marks if place[0] == lineage]:
            epochs = [t.epoch for t in kept if (t.lineage, t.slot) == place]
            del self.marks[place]
            if epochs:
                self.marks[place] = max(epochs)

    def rows(self) -> list[Row]:
        """Read everything that a reader of the table sees."""
        return [row for transaction in self.transactions for row in transaction.rows]


@dataclass
class Outside:
    """Everything that is not in a process of ours."""

    blobs: MemoryStore = field(default_factory=MemoryStore)
    files: FileTarget = field(default_factory=FileTarget)
    table: TableTarget = field(default_factory=TableTarget)
