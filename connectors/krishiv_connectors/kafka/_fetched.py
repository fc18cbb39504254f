"""What is kept of fetched messages: their parts, as lists."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from krishiv_connectors.kafka._topics import Partition

__all__ = ["Fetched"]

_PARTS = {"_key": "key", "_timestamp": "timestamp", "_headers": "headers"}
"""Metadata by the message's function. Topic and partition are the same for all, offsets are always kept."""


@dataclass
class Fetched:
    """Records of one partition, in the order of their offsets; one at least.

    The messages themselves are not kept. Thousands of them alive halve the speed of a client: the garbage collector
    looks through them again and again, and their memory has left the processor's caches when they are freed.

    Parameters
    ----------
    partition : (str, int)
        Topic and number.
    offsets : list of int
    values : list of bytes or None
    metadata : mapping of str to list
        By column of `METADATA`: keys, pairs of timestamp's kind and time, lists of headers.
    size : int
        Bytes of the values.
    """

    partition: Partition
    offsets: list[int]
    values: list[bytes | None]
    metadata: Mapping[str, list[Any]]
    size: int

    @classmethod
    def of(cls, messages: list[Any], metadata: Collection[str]) -> Fetched:
        """Keep of `messages`, all of one partition, what is needed for the columns `metadata` too."""
        kind = type(messages[0])  # its functions: found once, not once for each message
        values: list[bytes | None] = list(map(kind.value, messages))
        return cls(
            (messages[0].topic(), messages[0].partition()),
            list(map(kind.offset, messages)),
            values,
            {name: list(map(getattr(kind, part), messages)) for name, part in _PARTS.items() if name in metadata},
            sum(map(len, filter(None, values))),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def extend(self, later: Fetched) -> None:
        """Append the records that follow."""
        self.offsets += later.offsets
        self.values += later.values
        for name, part in self.metadata.items():
            part += later.metadata[name]
        self.size += later.size

    def cut(self, end: int) -> Fetched | None:
        """Return the records before offset `end`, or None if there are none."""
        return self[: bisect_left(self.offsets, end)] if self.offsets[0] < end else None

    def __getitem__(self, part: slice) -> Fetched:
        values = self.values[part]
        metadata = {name: each[part] for name, each in self.metadata.items()}
        return Fetched(self.partition, self.offsets[part], values, metadata, sum(map(len, filter(None, values))))

    def without(self, bad: Collection[int]) -> Fetched | None:
        """Return the records whose places are not in `bad`, or None if there are none."""
        good = [place for place in range(len(self)) if place not in bad]
        if not good:
            return None

        def picked(part: list[Any]) -> list[Any]:
            return [part[place] for place in good]

        metadata = {name: picked(part) for name, part in self.metadata.items()}
        return Fetched(self.partition, picked(self.offsets), picked(self.values), metadata, self.size)
