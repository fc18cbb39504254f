"""What the names of directories say: a published epoch is its own mark, a staged one says whose it is (P11, P15).

::

    <output>/epoch-<12 digits>~<lineage>~<sink>~<job>/     a published epoch
    <staging>/<sink>/<token>-open-<slot>/                  what a slot is writing; its epoch is not known yet
    <staging>/<sink>/<token>-<epoch>-<slot>/               what a slot prepared
    <staging>/<sink>/<token>-<epoch>-build/                an epoch on its way from there to the output
    <staging>/<sink>/gone/                                 epochs taken back, being removed

Names of jobs and sinks hold no ``~``; at their longest a published name has 253 bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["EpochName", "StagedName"]

_EPOCH = re.compile(r"epoch-(\d{12,})~([0-9a-f]{32})~([^~]+)~([^~]+)")
_STAGED = re.compile(r"(\d+)-(open|\d+)-(build|\d+)")


@dataclass(frozen=True)
class EpochName:
    """Name of a published epoch."""

    epoch: int
    lineage: str
    sink: str
    job: str

    def __str__(self) -> str:
        return f"epoch-{self.epoch:012d}~{self.lineage}~{self.sink}~{self.job}"

    @classmethod
    def parse(cls, name: str) -> EpochName | None:
        """Return what `name` says, or None if it is no epoch's."""
        match = _EPOCH.fullmatch(name)
        return cls(int(match[1]), match[2], match[3], match[4]) if match else None


@dataclass(frozen=True)
class StagedName:
    """Name of a staged directory.

    Parameters
    ----------
    epoch : int
        0 while the slot is still writing it.
    slot : int or None
        None for the directory that an epoch is built in.
    """

    token: int
    epoch: int
    slot: int | None

    def __str__(self) -> str:
        return f"{self.token}-{self.epoch or 'open'}-{'build' if self.slot is None else self.slot}"

    @classmethod
    def parse(cls, name: str) -> StagedName | None:
        """Return what `name` says, or None if it is no staged directory's."""
        match = _STAGED.fullmatch(name)
        if match is None:
            return None
        epoch = 0 if match[2] == "open" else int(match[2])
        return cls(int(match[1]), epoch, None if match[3] == "build" else int(match[3]))
