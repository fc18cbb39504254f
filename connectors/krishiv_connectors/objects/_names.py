"""What the names of objects say: a data file whose it is (P11), a manifest which epoch it publishes (P15).

::

    <prefix>/[column=value/]<epoch>-<token>-<slot>-<writer>-<n>~<lineage>~<sink>.parquet
    <prefix>/[column=value/]<epoch>after-<token>-...          begun before its epoch was known: one after that
    <prefix>/_manifests/<lineage>-<sink>/<epoch>.json         a published epoch
    <prefix>/_manifests/<lineage>-<sink>/ranges/<first>-<last>.json       epochs whose own manifests were put together
    <prefix>/_manifests/<lineage>-<sink>/prepared/<epoch>-<token>-<slot>.json   which uploads a slot prepared

Names of sinks hold neither ``~`` nor ``/``. `writer` is 8 random hex digits: no two lives of a writer share a name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["MANIFESTS", "FileName", "Folder", "RangeName", "SealName"]

MANIFESTS = "_manifests/"
_FILE = re.compile(
    r"(?:.*/)?(\d{12,})(after)?-(\d+)-(\d+)-([0-9a-f]{8})-(\d+)~([0-9a-f]{32})~([^~/]+)\.parquet", re.DOTALL
)
_RANGE = re.compile(r"(\d{12,})-(\d{12,})\.json")
_SEAL = re.compile(r"(\d{12,})-(\d+)-(\d+)\.json")
_EPOCH = re.compile(r"(\d{12,})\.json")
_FOLDER = re.compile(r"([0-9a-f]{32})-([^/]+)/")


class FileName(NamedTuple):
    """Name of a data file.

    Parameters
    ----------
    epoch : int
        Its epoch; with `after`, one below it.
    writer : str
        8 hex digits.
    number : int
        Counts the files of a writer.
    """

    epoch: int
    after: bool
    token: int
    slot: int
    writer: str
    number: int
    lineage: str
    sink: str

    def __str__(self) -> str:
        begin = f"{self.epoch:012d}{'after' if self.after else ''}"
        return f"{begin}-{self.token}-{self.slot}-{self.writer}-{self.number}~{self.lineage}~{self.sink}.parquet"

    @classmethod
    def parse(cls, key: str) -> FileName | None:
        """Return what the end of `key` says, or None if it is no data file's."""
        match = _FILE.fullmatch(key)
        if match is None:
            return None
        token, slot, number = int(match[3]), int(match[4]), int(match[6])
        return cls(int(match[1]), match[2] is not None, token, slot, match[5], number, match[7], match[8])


class SealName(NamedTuple):
    """Name of the note that a slot leaves when it has prepared an epoch."""

    epoch: int
    token: int
    slot: int

    def __str__(self) -> str:
        return f"{self.epoch:012d}-{self.token}-{self.slot}.json"

    @classmethod
    def parse(cls, name: str) -> SealName | None:
        """Return what `name` says, or None if it is no such note."""
        match = _SEAL.fullmatch(name)
        return None if match is None else cls(int(match[1]), int(match[2]), int(match[3]))


class RangeName(NamedTuple):
    """Name of the manifest of several epochs, `first` and `last` among them."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first:012d}-{self.last:012d}.json"

    @classmethod
    def parse(cls, name: str) -> RangeName | None:
        """Return what `name` says, or None if it is no such manifest."""
        match = _RANGE.fullmatch(name)
        return None if match is None else cls(int(match[1]), int(match[2]))

    def covers(self, epoch: int) -> bool:
        """Whether `epoch` is in it."""
        return self.first <= epoch <= self.last


class Folder(NamedTuple):
    """Where the manifests of one sink of one lineage are, relative to the output's prefix."""

    lineage: str
    sink: str

    def __str__(self) -> str:
        return f"{MANIFESTS}{self.lineage}-{self.sink}/"

    @classmethod
    def parse(cls, name: str) -> Folder | None:
        """Return what `name`, with the slash at its end, says; None if it is no such folder."""
        match = _FOLDER.fullmatch(name)
        return None if match is None else cls(match[1], match[2])

    @property
    def ranges(self) -> str:
        """Where manifests of several epochs are."""
        return f"{self}ranges/"

    @property
    def prepared(self) -> str:
        """Where slots note what they prepared."""
        return f"{self}prepared/"

    def epoch(self, epoch: int) -> str:
        """Return the key of an epoch's manifest."""
        return f"{self}{epoch:012d}.json"

    @staticmethod
    def epoch_of(name: str) -> int | None:
        """Return the epoch of a manifest's name, or None if it is none."""
        match = _EPOCH.fullmatch(name)
        return None if match is None else int(match[1])
