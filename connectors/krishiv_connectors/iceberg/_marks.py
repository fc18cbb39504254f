"""Which epochs are in a table: a property says it, and a snapshot's summary, and the branch that readers read.

A property alone is not enough: a table that is taken back to an older snapshot keeps its properties. A summary alone is
not either: it goes when old snapshots are expired. So the property names the snapshot that brought the epoch, and
counts as long as the current snapshot descends from that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from krishiv_checkpoint import Mark
from krishiv_connectors.iceberg._errors import TableRolledBack

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EpochMark", "applied", "mark_key", "marks_of"]

_PREFIX = "krishiv."


class EpochMark(msgspec.Struct, frozen=True):
    """The record of an applied epoch.

    Parameters
    ----------
    epoch, previous, token : int
        What was applied, on top of what, by which attempt.
    job : str
    snapshot : int
        Id of the snapshot that brought it.
    sequence : int
        That snapshot's sequence number: it grows from each to the next, also after a table was taken back.
    """

    epoch: int
    previous: int
    token: int
    job: str
    snapshot: int
    sequence: int

    def encode(self) -> str:
        """Return it as a property's value."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> EpochMark | None:
        """Read a property's value; None if it is none of ours."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return None


def mark_key(lineage: str, sink: str) -> str:
    """Return the name of the property that holds the mark."""
    return f"{_PREFIX}{lineage}.{sink}"


def applied(place: str, table: Any, key: str) -> EpochMark | None:
    """Return the newest epoch whose rows are in `table`, as it was loaded.

    Raises
    ------
    TableRolledBack
        If the rows of the epoch that the property names were taken back, and the history that would say what is left
        has been expired.
    """
    history = _History(table.metadata)
    mark = EpochMark.decode(table.properties.get(key, ""))
    if mark is not None and history.holds(mark):
        return mark
    found = next((said for name, said in history.said() if name == key), None)
    if found is None and mark is not None and not history.whole:
        raise TableRolledBack(
            f"{place} was taken back to a snapshot before epoch {mark.epoch} of this job, and its older history has "
            "been expired: which epochs it holds cannot be told",
            hint="bring back the snapshot that the table had, or begin anew with another table",
            table=place,
        )
    return found


def marks_of(place: str, table: Any, job: str) -> list[Mark]:
    """Return the newest mark of each lineage and sink that wrote to `table` for `job`."""
    properties = {name: EpochMark.decode(text) for name, text in table.properties.items() if name.startswith(_PREFIX)}
    keys = {name for name, mark in properties.items() if mark is not None and mark.job == job}
    keys |= {name for name, mark in _History(table.metadata).said() if mark.job == job}
    marks: list[Mark] = []
    for key in sorted(keys):
        lineage, _, _ = key.removeprefix(_PREFIX).partition(".")
        mark = applied(place, table, key)
        if mark is not None:
            marks.append(Mark(lineage, job, 0, mark.epoch))
    return marks


class _History:
    """The current snapshot and those that it descends from, as far as the metadata still has them."""

    def __init__(self, metadata: Any) -> None:
        known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
        self._line: list[Any] = []
        snapshot = known.get(metadata.current_snapshot_id)
        while snapshot is not None:
            self._line.append(snapshot)
            snapshot = known.get(snapshot.parent_snapshot_id)

    @property
    def whole(self) -> bool:
        """Whether it goes back to the first snapshot.

        pyiceberg takes the parent's id out of a snapshot when the parent is expired: only the number tells.
        """
        return not self._line or (self._line[-1].sequence_number or 0) <= 1

    def holds(self, mark: EpochMark) -> bool:
        """Whether the snapshot of `mark` is in it, or was before the older ones were expired."""
        if any(mark.snapshot in (each.snapshot_id, each.parent_snapshot_id) for each in self._line):
            return True
        return not self.whole and (self._line[-1].sequence_number or 0) > mark.sequence

    def said(self) -> Iterator[tuple[str, EpochMark]]:
        """Give what summaries say, newest first."""
        for snapshot in self._line:
            summary = snapshot.summary.additional_properties if snapshot.summary is not None else {}
            for name, text in summary.items():
                if name.startswith(_PREFIX) and (mark := EpochMark.decode(text)) is not None:
                    yield name, mark
