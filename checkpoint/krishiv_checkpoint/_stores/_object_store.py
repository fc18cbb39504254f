"""A store in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from krishiv_checkpoint._errors import KeyExists
from krishiv_checkpoint._keys import check_key
from krishiv_checkpoint._records import StateFile
from krishiv_checkpoint._stores._buckets import bucket_errors, obstore, open_bucket
from krishiv_guarantees import FailureDomain, StoreCapabilities

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
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
_AT_ONCE = 8
"""Parts of one blob that are on their way at the same time."""


class ObjectStore:
    """Blobs as objects below a prefix of a bucket.

    An object appears whole or not at all: large ones are uploaded in parts, and become visible when the last has
    arrived. What a killed upload leaves is invisible, and costs until a lifecycle rule of the bucket
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
    def writer(self, key: str) -> Generator[BlobWriter]:
        """Open a blob for writing; it is uploaded at `finish`."""
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
            yield _ObjectWriter(self, file, check_key(key))

    def get(self, key: str) -> memoryview:
        """Return the bytes of `key`; raise `KeyMissing` if there are none."""
        with self._errors(key):
            return memoryview(obstore().get(self._bucket, check_key(key)).bytes())

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

    def upload(self, key: str, file: IO[bytes]) -> None:
        """Put what is in `file`, from its beginning, under `key`, whatever is there."""
        file.seek(0)
        with self._errors(key):
            obstore().put(self._bucket, check_key(key), file, chunk_size=_PART, max_concurrency=_AT_ONCE)

    # ---------------------------------------------------------------- inside

    def _errors(self, key: str) -> AbstractContextManager[None]:
        return bucket_errors(self._place, key)

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
        try:
            self._store.upload(key, self._file)
        except BaseException:
            self._file.seek(size)  # it may go on from here
            raise
        self._file.close()
        return StateFile(key, self._hash.hexdigest(), size)
