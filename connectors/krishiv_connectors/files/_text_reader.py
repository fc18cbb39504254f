"""Reads one text file from an exact record, decoding ahead on another thread."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from krishiv_connectors._source import Reader
from krishiv_connectors.files._identity import FileIdentity, changed, unreadable_as
from krishiv_connectors.files._read_ahead import ReadAhead
from krishiv_connectors.files._text_blocks import read_blocks
from krishiv_connectors.files._text_file import TextFile

if TYPE_CHECKING:
    from collections.abc import Generator

    import pyarrow as pa

    from krishiv_connectors._source import SourceContext
    from krishiv_connectors.files._file_source import FilePosition
    from krishiv_connectors.files._text_blocks import Block
    from krishiv_connectors.files._text_format import TextFormat

__all__ = ["TextReader"]

_LOG = logging.getLogger(__name__)
_RAW_BYTES = 8_192


class TextReader(Reader["FilePosition"]):
    """Reads one text file.

    A position is ``{"offset", "row", "size", "mtime_ns", "chain", "digest"}``: the record at byte `offset`, number
    `row` (from 0), comes next; the rest identifies the file and its bytes before that.

    Parameters
    ----------
    settle : float or None
        Seconds without a change after which a file that ends in a whole record is finished; a record without a line
        end is awaited. None: the file is complete as it is.
    """

    def __init__(
        self, path: str, position: FilePosition, form: TextFormat, ctx: SourceContext, *, settle: float | None
    ) -> None:
        self._path = path
        self._form = form
        self._ctx = ctx
        self._settle = settle
        self._stored = position
        self._source: TextFile | None = None
        self._ahead: ReadAhead[Block] | None = None
        self._block: Block | None = None
        self._taken = 0
        self._finished = False
        self._told_waiting = False
        self._seen = FileIdentity.of(path)
        self._seen_at = time.monotonic()
        self._open(None)

    def read(self) -> pa.RecordBatch | None:
        """Return the next rows, after reporting the bad records before them."""
        while not self._finished and (block := self._current_block()) is not None:
            if block.batch is not None:
                batch = block.batch.slice(self._taken, self._ctx.batch_rows)
                self._taken += batch.num_rows
                return batch
            self._report(block)
            self._taken = 1
        return None

    def position(self) -> FilePosition:
        """Return where the next record is; None as long as nothing was read, so that the file may still be mended."""
        block = self._block
        if self._source is None or block is None or block.row + self._taken == 0:
            return self._stored
        digest = block.digest_before(self._taken, self._form)
        return {
            "offset": digest.length,
            "row": block.row + self._taken,
            "size": self._source.identity.size,
            "mtime_ns": self._source.identity.mtime_ns,
            "chain": digest.chain,
            "digest": digest.value,
        }

    @property
    def finished(self) -> bool:
        """Whether every record was returned."""
        return self._finished

    def close(self) -> None:
        """Stop decoding and close the file."""
        if self._ahead is not None:
            self._ahead.close()
        if self._source is not None:
            self._source.file.close()

    def _open(self, before: FileIdentity | None) -> None:
        complete = self._settle is None
        self._source = TextFile.open(self._path, self._form, self._stored, complete=complete, before=before)
        self._ahead = None
        if self._source is not None:
            self._seen = self._source.identity
            self._ahead = ReadAhead(self._blocks(self._source, complete), f"read {self._path}")

    def _blocks(self, source: TextFile, complete: bool) -> Generator[Block]:
        with unreadable_as(self._path):
            yield from read_blocks(source.file, self._form, source.digest, source.row, complete=complete)

    def _current_block(self) -> Block | None:
        """Return the block that has records left; None if there is none just now."""
        while self._block is None or self._taken == self._block.records:
            following = None if self._ahead is None else self._ahead.take()
            if following is None:
                if self._ahead is None or self._ahead.exhausted:
                    self._at_end()
                return None
            self._block, self._taken = following, 0
        return self._block

    def _report(self, block: Block) -> None:
        place = f"{self._path}, row {block.row + 1} at byte {block.offset}"
        error = self._form.bad_record(
            f"{place}: {block.reason}",
            hint='mend it and run the job again, or read with on_bad_row="drop" or a sink for bad rows',
            place=place,
            path=self._path,
            row=block.row + 1,
            offset=block.offset,
            raw=block.data.rstrip(b"\r\n")[:_RAW_BYTES],
        )
        if self._ctx.bad_rows is None:
            raise error
        self._ctx.bad_rows(error)

    def _at_end(self) -> None:
        """Everything that was in the file when it was opened has been read: is it finished?"""
        read_all = self._source is not None and self._source.digest.length >= self._seen.size
        if read_all and not os.path.exists(self._path):  # nobody needs it any more
            self._finished = True
            return
        now = FileIdentity.of(self._path)
        if self._settle is None:
            if now != self._seen:
                raise changed(self._path, "it was written to or replaced while it was read")
            self._finished = True
        elif now != self._seen:
            self._reopen(now)
        elif read_all:
            self._finished = self._settled(self._settle)
        elif not self._told_waiting:
            self._told_waiting = True
            _LOG.info("%s ends within a record; waiting for its writer", self._path)

    def _settled(self, settle: float) -> bool:
        quiet = time.time() - self._seen.mtime_ns / 1e9
        return quiet >= settle or time.monotonic() - self._seen_at >= settle

    def _reopen(self, now: FileIdentity) -> None:
        """Go on with a file that was written to, or replaced, after its end was reached."""
        self._stored = self.position()
        self.close()
        before, self._seen, self._seen_at = self._seen, now, time.monotonic()
        self._block, self._taken = None, 0
        self._open(before)
