"""A bucket in memory, with what S3 promises and nothing more."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from krishiv_connectors.objects._bucket import Bucket, BucketAddress, Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MemoryAddress", "MemoryBucket"]


class MemoryAddress(BucketAddress):
    """The address of a bucket in memory."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__("s3://memory/out", None)
        self._bucket = bucket

    def open(self) -> Bucket:
        """Return the bucket."""
        return cast("Bucket", self._bucket)


class MemoryBucket:
    """Stands for `Bucket`.

    Parameters
    ----------
    conditional : bool
        Whether ``If-None-Match`` is obeyed.
    """

    def __init__(self, *, conditional: bool = True) -> None:
        self.objects: dict[str, tuple[bytes, str, str]] = {}
        self.open_uploads: dict[tuple[str, str], tuple[str, dict[int, bytes]]] = {}
        self.rules: list[dict[str, Any]] = []
        self._conditional = conditional
        self._ids = itertools.count()

    def place(self, key: str = "") -> str:
        return f"s3://memory/out/{key}".rstrip("/")

    def close(self) -> None:
        pass

    def find(self, key: str) -> Found | None:
        found = self.objects.get(key)
        return None if found is None else Found(key, found[1], len(found[0]), found[2])

    def get(self, key: str) -> tuple[bytes, str] | None:
        found = self.objects.get(key)
        return None if found is None else found[:2]

    def get_range(self, key: str, span: str, etag: str | None) -> tuple[bytes, str, int] | None:
        found = self.objects.get(key)
        if found is None or etag not in (None, found[1]):
            return None
        first, _, last = span.partition("-")
        return found[0][int(first) : int(last) + 1], found[1], len(found[0])

    def create(self, key: str, data: bytes) -> bool:
        if self._conditional and key in self.objects:
            return False
        self.put(key, data)
        return True

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = (data, hashlib.md5(data).hexdigest(), "")

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list(self, prefix: str = "") -> Iterator[Found]:
        for key in sorted(self.objects):
            if key.startswith(prefix):
                content, etag, _ = self.objects[key]
                yield Found(key, etag, len(content))

    def names(self, folder: str) -> Iterator[str]:
        below = [key[len(folder) :] for key in self.objects if key.startswith(folder)]
        yield from sorted(
            {name if not rest else f"{name}/" for name, _, rest in (each.partition("/") for each in below)}
        )

    def uploads(self) -> Iterator[tuple[str, str]]:
        yield from sorted(self.open_uploads)

    def begin_upload(self, key: str, author: str) -> str:
        upload = f"u{next(self._ids)}"
        self.open_uploads[key, upload] = (author, {})
        return upload

    def upload_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        if (key, upload) not in self.open_uploads:
            raise _error("NoSuchUpload", 404, "UploadPart")
        self.open_uploads[key, upload][1][number] = bytes(data)
        return hashlib.md5(data).hexdigest()

    def complete(self, key: str, upload: str, parts: Sequence[str]) -> str:
        if (key, upload) not in self.open_uploads:
            raise _error("NoSuchUpload", 404, "CompleteMultipartUpload")
        if self._conditional and key in self.objects:
            raise _error("PreconditionFailed", 412, "CompleteMultipartUpload")
        author, sent = self.open_uploads[key, upload]
        wanted = [sent.get(number) for number in range(1, len(parts) + 1)]
        found = [part for part in wanted if part is not None]
        digests = [hashlib.md5(part) for part in found]
        if [digest.hexdigest() for digest in digests] != list(parts):
            raise _error("InvalidPart", 400, "CompleteMultipartUpload")
        del self.open_uploads[key, upload]
        etag = f"{hashlib.md5(b''.join(digest.digest() for digest in digests)).hexdigest()}-{len(parts)}"
        self.objects[key] = (b"".join(found), etag, author)
        return etag

    def is_open(self, key: str, upload: str) -> bool:
        return (key, upload) in self.open_uploads

    def abort_upload(self, key: str, upload: str) -> None:
        self.open_uploads.pop((key, upload), None)

    def lifecycle(self) -> list[dict[str, Any]]:
        return self.rules


def _error(code: str, status: int, operation: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)
