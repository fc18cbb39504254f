"""What a text format says about itself: where records end, and how a block of them becomes columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from krishiv_guarantees import SkippableError

__all__ = ["BOM", "Malformed", "TextFormat"]

BOM = b"\xef\xbb\xbf"
"""What some editors put before UTF-8 text."""

_NEWLINE = 10


class Malformed(Exception):
    """A block does not decode into exactly one row per record; the message says why."""


class TextFormat(ABC):
    """One file's format. `begin` comes first; then `decode` may run on another thread."""

    bad_record: ClassVar[type[SkippableError]]
    """The error for a record that does not parse."""

    blank: ClassVar[bytes]
    """Bytes of which a record may consist without counting as one."""

    @abstractmethod
    def begin(self, path: str, file: BinaryIO, *, complete: bool) -> int | None:
        """Return the offset of the first record: after a byte order mark and a header line.

        `complete`: nothing more will be written to the file. Else None, if the header is not all there yet.
        """

    @abstractmethod
    def decode(self, data: bytes) -> pa.RecordBatch:
        """Return whole records as rows.

        Raises
        ------
        Malformed
            Unless every record that is not blank is exactly one good row.
        """

    def suspect(self, data: bytes) -> int | None:
        """Return the record, counted in `data`, that is probably the first bad one; None: no idea.

        Asked when `decode` failed. A wrong guess costs time, nothing else.
        """
        return None

    def ends_by_itself(self, data: bytes) -> bool:
        """Whether `data`, the end of a file that may still be written to, is a whole record without a line end."""
        return False

    def complete_length(self, data: bytes) -> int:
        """Return the bytes of `data`, which begins with a record, up to the end of the last terminated record."""
        return data.rfind(b"\n") + 1

    def record_starts(self, data: bytes) -> NDArray[np.int64]:
        """Return where the records of `data` begin, blank ones left out."""
        ends = self.record_ends(data)
        starts = np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]
        suspects = np.flatnonzero(np.isin(np.frombuffer(data, np.uint8)[starts], np.frombuffer(self.blank, np.uint8)))
        empty = [index for index in suspects if not data[starts[index] : ends[index]].strip(self.blank)]
        return np.delete(starts, empty)

    def record_ends(self, data: bytes) -> NDArray[np.int64]:
        """Return where the records of `data` end, their line ends included, the last perhaps without one."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE).astype(np.int64) + 1
        return ends if data.endswith(b"\n") else np.append(ends, len(data))

    def count(self, data: bytes) -> int:
        """Return the number of records in `data`, blank ones included: quick, and right if none is blank."""
        return data.count(b"\n") + (not data.endswith(b"\n"))
