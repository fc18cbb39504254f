"""Cuts a text file into blocks of whole records and decodes them. A block that fails is cut down to its bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from krishiv_connectors.files._text_format import Malformed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from krishiv_connectors.files._identity import BytesDigest
    from krishiv_connectors.files._text_format import TextFormat

__all__ = ["Block", "read_blocks"]

_READ_BYTES = 4 << 20
_MAX_RECORD_BYTES = 64 << 20


@dataclass(frozen=True)
class Block:
    """Consecutive records, either all good or a single bad one.

    Parameters
    ----------
    offset : int
        Byte of the file at which it begins.
    row : int
        Number of its first record, from 0.
    digest : BytesDigest
        Of the file before it.
    batch : pa.RecordBatch or None
        The rows, one per record; None: a bad record.
    reason : str
        What is wrong with it.
    """

    offset: int
    row: int
    data: bytes
    digest: BytesDigest
    batch: pa.RecordBatch | None
    reason: str = ""

    @property
    def records(self) -> int:
        """Records in the block."""
        return 1 if self.batch is None else int(self.batch.num_rows)

    def digest_before(self, record: int, form: TextFormat) -> BytesDigest:
        """Return the digest of the file before record `record` of the block; its length is where that one begins."""
        length = len(self.data) if record == self.records else int(form.record_starts(self.data)[record])
        digest = self.digest.copy()
        digest.update(memoryview(self.data)[:length])
        return digest


def read_blocks(
    file: BinaryIO, form: TextFormat, digest: BytesDigest, row: int, *, complete: bool
) -> Generator[Block, None, None]:
    """Yield the blocks from the end of `digest` on.

    Parameters
    ----------
    row : int
        Number of the first record.
    complete : bool
        Nothing more will be written: what stands after the last line end is a record too.
    """
    file.seek(digest.length)
    rest = b""
    while data := file.read(_READ_BYTES):
        rest += data
        end = form.complete_length(rest)
        if end:
            row = yield from _blocks(form, rest[:end], digest, row)
            rest = rest[end:]
        elif len(rest) > _MAX_RECORD_BYTES:
            raise pa.ArrowInvalid(f"no record ends within {len(rest)} bytes after byte {digest.length}")
    if rest and (complete or form.ends_by_itself(rest)):
        yield from _blocks(form, rest, digest, row)


def _blocks(form: TextFormat, data: bytes, digest: BytesDigest, row: int) -> Generator[Block, None, int]:
    """Yield `data` as blocks, advance `digest` over it and return the number of the record after it."""
    for part, batch, reason in _decode(form, data):
        block = Block(digest.length, row, part, digest.copy(), batch, reason)
        digest.update(part)
        row += block.records
        yield block
    return row


def _decode(form: TextFormat, data: bytes) -> Iterator[tuple[bytes, pa.RecordBatch | None, str]]:
    try:
        yield data, form.decode(data), ""
        return
    except Malformed as error:
        reason = str(error)
    starts = form.record_starts(data)
    if len(starts) == 1:
        yield data, None, reason
        return
    suspect = form.suspect(data)
    if suspect is None or suspect >= len(starts):
        cuts = [len(starts) // 2]
    else:
        cuts = [suspect, suspect + 1, (suspect + 1 + len(starts)) // 2]
    # Blank lines stay with the records before them, those at the beginning with the first.
    places = sorted({0, len(data), *(int(starts[cut]) for cut in cuts if 0 < cut < len(starts))})
    for start, end in pairwise(places):
        yield from _decode(form, data[start:end])
