"""One Parquet object that is open."""

from __future__ import annotations

import io
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from krishiv_connectors.files._identity import unreadable_as
from krishiv_connectors.files._parquet_file import ParquetFile
from krishiv_connectors.objects._errors import ObjectChanged, ObjectVanished

if TYPE_CHECKING:
    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["ObjectFile"]

_SMALL = 8 << 20
"""Bytes of an object that is fetched as a whole."""


class ObjectFile(ParquetFile):
    """A Parquet object, of which every byte is asked for by its ETag: one that was replaced is never read.

    Parameters
    ----------
    bucket : Bucket
        Closed by its owner.
    """

    def __init__(self, bucket: Bucket, key: str, etag: str, size: int) -> None:
        self.path = bucket.place(key)
        ranges = _Ranges(bucket, key, etag, size)
        with unreadable_as(self.path):
            if 0 < size <= _SMALL:
                self._handle: Any = pa.BufferReader(ranges.fetch(0, size))
            else:
                self._handle = pa.PythonFile(ranges, "r")
            self._file = pq.ParquetFile(self._handle, pre_buffer=True, page_checksum_verification=True)
        self._metadata = self._file.metadata
        sizes = [self._metadata.row_group(group).num_rows for group in range(self._metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self.rows = self._starts[-1]


class _Ranges(io.RawIOBase):
    """An object as a file that can be sought in."""

    def __init__(self, bucket: Bucket, key: str, etag: str, size: int) -> None:
        super().__init__()
        self._bucket, self._key, self._etag, self._size = bucket, key, etag, size
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset`."""
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes."""
        end = self._size if size < 0 else min(self._size, self._at + size)
        data = self.fetch(self._at, end)
        self._at += len(data)
        return data

    def fetch(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`.

        Raises
        ------
        ObjectChanged, ObjectVanished, BucketUnavailable
        """
        if end <= start:
            return b""
        found = self._bucket.get_range(self._key, f"{start}-{end - 1}", self._etag)
        if found is not None:
            return found[0]
        place = self._bucket.place(self._key)
        if self._bucket.find(self._key) is None:
            raise ObjectVanished(
                f"{place} is gone",
                hint="put it back; of a source with manifest=True, the epoch was taken back by a restore of its writer",
                place=place,
            )
        raise ObjectChanged(
            f"{place} is not the object that was listed: its ETag is not {self._etag}",
            hint="objects that are read must not be replaced: put the old one back, or write under a new name",
            place=place,
        )
