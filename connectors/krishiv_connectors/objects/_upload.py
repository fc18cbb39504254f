"""A file on its way into a bucket: cut into parts, which go up on other threads while it still grows."""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from krishiv_connectors.objects._records import PreparedFile

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Buffer

    from krishiv_connectors.objects._bucket import Bucket

__all__ = ["Uploader", "UploadingFile"]

_THREADS = 4
_WAITING = 8
"""Parts that may wait or be on their way: who writes faster waits."""


class Uploader:
    """The threads of one writer, which run its requests."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._threads = ThreadPoolExecutor(_THREADS, "upload")
        self._room = threading.BoundedSemaphore(_WAITING)

    def begin(self, key: str, author: str) -> Future[str]:
        """Begin an upload; gives its id."""
        return self._threads.submit(self.bucket.begin_upload, key, author)

    def put(self, key: str, data: bytes) -> Future[None]:
        """Put an object."""
        return self._threads.submit(self.bucket.put, key, data)

    def part(self, key: str, upload: Future[str], number: int, data: bytes) -> Future[str]:
        """Upload a part, once there is room for it; gives its ETag.

        It waits for `upload` on its thread: that was submitted before it, so that it runs already.
        """
        self._room.acquire()
        try:
            sent = self._threads.submit(lambda: self.bucket.upload_part(key, upload.result(), number, data))
        except BaseException:
            self._room.release()
            raise
        sent.add_done_callback(lambda _: self._room.release())
        return sent

    def close(self) -> None:
        """Drop what waits, and wait for what is on its way."""
        self._threads.shutdown(cancel_futures=True)


class UploadingFile(io.RawIOBase):
    """A new file in the shape that pyarrow writes to. The upload begins with the first part that is full.

    Parameters
    ----------
    part_size : int
        Bytes; all parts but the last have that many.
    """

    def __init__(self, uploader: Uploader, part_size: int) -> None:
        super().__init__()
        self._uploader = uploader
        self._part_size = part_size
        self._waiting: list[bytes] = []
        self.waiting = 0
        """Bytes that are in no part yet."""
        self.size = 0
        self._hash = hashlib.sha256()
        self._parts: list[Future[str]] = []
        self._upload: Future[str] | None = None
        self._author = uuid.uuid4().hex
        self.key = ""

    @property
    def begun(self) -> bool:
        """Whether there is an upload: then the file has its key."""
        return self._upload is not None

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Append all of `data`, n bytes; returns n."""
        with memoryview(data).cast("B") as view:
            self._hash.update(view)
            self._waiting.append(bytes(view))
            self.waiting += view.nbytes
            self.size += view.nbytes
            return view.nbytes

    def send_full_parts(self) -> None:
        """Send what makes whole parts; the file must have begun."""
        data = memoryview(b"".join(self._waiting))
        end = len(data) // self._part_size * self._part_size
        for start in range(0, end, self._part_size):
            self._send(bytes(data[start : start + self._part_size]))
        rest = bytes(data[end:])
        self._waiting, self.waiting = [rest], len(rest)

    def begin(self, key: str) -> None:
        """Begin the upload, under the final key."""
        self.key = key
        self._upload = self._uploader.begin(key, self._author)

    def send_rest(self) -> None:
        """Send all that is left, once; nothing may be written after that."""
        self.send_full_parts()
        if self.waiting or not self._parts:
            self._send(b"".join(self._waiting))
        self._waiting, self.waiting = [], 0

    def note(self) -> tuple[str, str, str]:
        """Return key, upload and author, once the upload has begun."""
        if self._upload is None:
            raise ValueError("the upload was not begun")
        return self.key, self._upload.result(), self._author

    def finish(self, rows: int) -> PreparedFile:
        """Wait for all parts."""
        key, upload, author = self.note()
        parts = tuple(part.result() for part in self._parts)
        return PreparedFile(key, upload, parts, author, self.size, rows, self._hash.hexdigest())

    def _send(self, data: bytes) -> None:
        if self._upload is None:
            raise ValueError("the upload was not begun")
        self._parts.append(self._uploader.part(self.key, self._upload, len(self._parts) + 1, data))
