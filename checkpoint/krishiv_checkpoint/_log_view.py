"""What a log says, taken together: who holds the job, in which lineage, and which state it continues from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from krishiv_checkpoint._entries import Finish, Manifest, SavepointRecord, Takeover
from krishiv_checkpoint._keys import log_key
from krishiv_checkpoint._sealed import corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from krishiv_checkpoint._entries import LogEntry
    from krishiv_checkpoint._log_record import LogRecord

__all__ = ["LogView", "check_chain", "is_damaged"]


@dataclass(frozen=True)
class LogView:
    """A log at one moment.

    Parameters
    ----------
    records : tuple of LogRecord
        Every entry that counts, oldest first.
    lineage : str
        The job's lineage; empty if the log is.
    token : int
        The highest token; 0 if there is none.
    writer : str
        Who holds it.
    highest_epoch : int
        The largest epoch id that any entry knows (P2).
    manifest : Manifest or None
        The state to continue from; None to begin from nothing.
    finish : Finish or None
        Set once the job is over (P7).
    """

    records: tuple[LogRecord, ...] = ()
    lineage: str = ""
    token: int = 0
    writer: str = ""
    highest_epoch: int = 0
    manifest: Manifest | None = None
    finish: Finish | None = None

    @classmethod
    def of(cls, records: Sequence[LogRecord]) -> LogView:
        """Read `records`, oldest first."""
        view = cls(tuple(records))
        for record in records:
            view = view._after(record)
        return view

    @property
    def tip(self) -> LogRecord | None:
        """The newest entry."""
        return self.records[-1] if self.records else None

    @property
    def first(self) -> int:
        """Number of the oldest entry that counts."""
        return self.records[-1].first if self.records else 1

    def manifests(self, since: int = 0) -> Iterable[Manifest]:
        """Every manifest from entry `since` on, oldest first."""
        return (r.entry for r in self.records if r.sequence >= since and isinstance(r.entry, Manifest))

    def _after(self, record: LogRecord) -> LogView:
        entry = record.entry
        if entry.token < self.token:
            raise corrupt(log_key(record.sequence), f"has token {entry.token} after token {self.token}")
        view = replace(self, token=entry.token, writer=entry.writer)
        match entry:
            case Takeover():
                # It only fences: what the job continues from changes with the manifest that the attempt writes.
                highest = max(self.highest_epoch, entry.highest_epoch)
                return replace(view, highest_epoch=highest, lineage=entry.lineage or self.lineage)
            case Manifest():
                highest = max(self.highest_epoch, entry.highest_epoch, entry.epoch)
                return replace(view, highest_epoch=highest, lineage=entry.lineage, manifest=entry, finish=None)
            case Finish():
                return replace(view, finish=entry)
            case SavepointRecord():
                return view


def is_damaged(entry: LogEntry) -> bool:
    """Whether `entry` took over a log whose entries could not be read."""
    return isinstance(entry, Takeover) and entry.base == "damaged"


def check_chain(records: Sequence[LogRecord]) -> None:
    """Raise `CorruptManifest` unless each of `records` names the digest of the one before it.

    A takeover of a damaged log could not read that digest. It counts again if the entries before it are repaired.
    """
    for before, after in pairwise(records):
        if after.previous != before.digest and not is_damaged(after.entry):
            raise corrupt(log_key(after.sequence), f"does not follow entry {before.sequence}: the chain is broken")
