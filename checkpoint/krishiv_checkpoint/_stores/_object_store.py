"""A store in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure."""

from __future__ import annotations

import hashlib
import mmap
import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from krishiv_checkpoint._errors import KeyExists
from krishiv_checkpoint._keys import check_key
from krishiv_checkpoint._records import StateFile
from krishiv_checkpoint._stores._buckets import bucket_errors, obstore, open_bucket
from krishiv_checkpoint._stores._uploads import Upload
from krishiv_guarantees import FailureDomain, StoreCapabilities

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import IO

    from krishiv_checkpoint._seams import BlobWriter

__all__ = ["ObjectStore"]

_AUTHOR = "krishiv-author"
"""The attribute by which whoever made an object knows it again."""
_PROBES = "probes"
_IN_MEMORY = 32 << 20
"""Bytes of a blob that are kept in memory until it is finished; more go to a temporary file."""
_PART = 8 << 20
_PIECE = 1 << 20
"""Bytes that are handed on at once while an upload runs."""
_AT_ONCE = 8
"""Parts of one blob that are on their way at the same time, in either direction: one connection carries a fraction of
what a bucket gives."""


class ObjectStore:
    """Blobs as objects below a prefix of a bucket.

    Large objects go and come in parts, several at once. An object appears whole or not at all: it becomes visible when
    the last part has arrived. What a killed upload leaves is invisible, and costs until a lifecycle rule of the bucket
    (AbortIncompleteMultipartUpload) removes it.

    Parameters
    ----------
    bucket : obstore store
        Its root is where the job's keys begin.
    place : str
        How messages name it: ``"s3://bucket/prefix"``.
    """

    def __init__(self, bucket: Any, place: str) -> None:
        self._bucket = bucket
        self._place = place
        self._conditional: bool | None = None
        self._lock = threading.Lock()

    @classmethod
    def at(cls, url: str, options: Mapping[str, Any] | None = None) -> Self:
        """Return the store at `url`.

        Parameters
        ----------
        url : str
            ``s3://bucket/prefix``, ``gs://...``, ``az://...``.
        options : mapping
            obstore's settings, such as ``aws_endpoint`` (https://developmentseed.org/obstore/latest/api/store/aws/).
            Those that are not given are taken from the environment.
        """
        return cls(open_bucket(url, options or {}), url)

    def capabilities(self) -> StoreCapabilities:
        """Outlives the host. Conditional create is tried out, once: some servers take the condition and ignore it."""
        with self._lock:
            if self._conditional is None:
                self._conditional = self._is_conditional()
        return StoreCapabilities(
            durable=True,
            conditional_create=self._conditional,
            fencing=self._conditional,
            survives=FailureDomain.HOST_LOSS,
        )

    def create(self, key: str, data: bytes) -> None:
        """Publish `data` under `key` if it is free.

        Raises
        ------
        KeyExists
            If it is taken.
        StoreRefused
        StoreUnavailable
            Then it may be published, or not.
        """
        author = uuid.uuid4().hex
        with self._errors(key):
            if self._put_if_free(key, data, author):
                return
            # A request whose answer was lost is sent again, and then finds what it has made itself.
            found = obstore().get(self._bucket, key).attributes.get(_AUTHOR)
        if found != author:
            raise KeyExists(f"{key} is taken", key=key)

    @contextmanager
    def writer(self, key: str, *, final: bool = False) -> Generator[BlobWriter]:
        """Open a blob for writing; it is uploaded at `finish`, or, a `final` one, while it is written."""
        if final:
            with closing(_FinalWriter(self, check_key(key))) as writer:
                yield writer
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            yield _ObjectWriter(self, file, check_key(key))

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key`; raise `KeyMissing` if there are none."""
        with self._errors(key):
            found = obstore().get(self._bucket, check_key(key))
            size = found.meta["size"]
            if size <= _PART:
                return memoryview(found.bytes())
            del found  # and with it the connection, on which all of it would come
            return self._in_parts(key, size)

    def folders(self) -> list[str]:
        """Return the first parts of all keys that have more, sorted; they are not listed one by one."""
        with self._errors(""):
            found = obstore().list_with_delimiter(self._bucket)["common_prefixes"]
        return sorted(each.rstrip("/") for each in found)

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted; looks only below the folder that `prefix` names."""
        folder = prefix.rpartition("/")[0]
        with self._errors(prefix):
            pages = obstore().list(self._bucket, prefix=folder or None)
            return sorted(each["path"] for page in pages for each in page if each["path"].startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove `key` if it is there."""
        with self._errors(key), suppress(FileNotFoundError):
            obstore().delete(self._bucket, check_key(key))

    def upload(self, key: str, content: IO[bytes] | bytearray | Iterator[bytes | bytearray]) -> None:
        """Put `content`, a file from its beginning, under `key`, whatever is there."""
        with self._errors(key):
            obstore().put(self._bucket, check_key(key), content, chunk_size=_PART, max_concurrency=_AT_ONCE)

    # ---------------------------------------------------------------- inside

    def _errors(self, key: str) -> AbstractContextManager[None]:
        return bucket_errors(self._place, key)

    def _in_parts(self, key: str, size: int) -> memoryview:
        whole = memoryview(mmap.mmap(-1, size))

        def fetch(start: int) -> None:
            end = min(start + _PART, size)
            whole[start:end] = memoryview(obstore().get_range(self._bucket, key, start=start, end=end))

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ks-bucket") as pool:
            for _ in pool.map(fetch, range(0, size, _PART)):
                pass
        return whole.toreadonly()

    def _put_if_free(self, key: str, data: bytes, author: str) -> bool:
        library = obstore()
        try:
            library.put(self._bucket, check_key(key), data, mode="create", attributes={_AUTHOR: author})
        except library.exceptions.AlreadyExistsError:
            return False
        return True

    def _is_conditional(self) -> bool:
        """Create an object twice: the second time has to be refused."""
        key = f"{_PROBES}/{uuid.uuid4().hex}"
        with self._errors(key):
            try:
                created = [self._put_if_free(key, b"", author) for author in ("first", "second")]
            except obstore().exceptions.NotSupportedError:
                return False
            finally:
                with suppress(FileNotFoundError):
                    obstore().delete(self._bucket, key)
        return created == [True, False]


class _ObjectWriter:
    """Keeps the bytes until it is finished."""

    def __init__(self, store: ObjectStore, file: IO[bytes], key: str) -> None:
        self._store = store
        self._file = file
        self._key = key
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview, /) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def finish(self, key: str | None = None) -> StateFile:
        key = self._key if key is None else key
        size = self._file.tell()
        self._file.seek(0)
        try:
            self._store.upload(key, self._file)
        except BaseException:
            self._file.seek(size)  # it may go on from here
            raise
        self._file.close()
        return StateFile(key, self._hash.hexdigest(), size)


class _FinalWriter:
    """Sends the bytes on as they come, once they are more than a part."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._hash = hashlib.sha256()
        self._size = 0
        self._pending = bytearray()
        self._upload: Upload | None = None

    def write(self, data: bytes | memoryview, /) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PART):
            piece = view[start : start + _PART]
            self._hash.update(piece)
            self._pending += piece
            if len(self._pending) >= (_PART if self._upload is None else _PIECE):
                self._send()
        self._size += len(view)
        return len(view)

    def finish(self, key: str | None = None) -> StateFile:
        if key not in (None, self._key):
            raise ValueError(f"{self._key} was opened as final, and cannot become {key}")
        if self._upload is None:
            self._store.upload(self._key, self._pending)
        else:
            self._send()
            self._upload.finish()
        return StateFile(self._key, self._hash.hexdigest(), self._size)

    def close(self) -> None:
        if self._upload is not None:
            self._upload.give_up()

    def _send(self) -> None:
        if self._upload is None:
            self._upload = Upload(partial(self._store.upload, self._key))
        self._upload.send(self._pending)
        self._pending = bytearray()
