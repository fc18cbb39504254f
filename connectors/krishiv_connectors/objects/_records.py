"""What is written down: of files that are prepared, of epochs that are published."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from krishiv_connectors.objects._errors import ManifestUnreadable

__all__ = [
    "FORMAT",
    "EpochManifest",
    "PreparedFile",
    "PreparedSlot",
    "PublishedFile",
    "RangeManifest",
    "UploadNote",
    "decode",
]

FORMAT = 1
"""Of manifests. What a newer version writes is refused."""


class PreparedFile(msgspec.Struct, frozen=True):
    """A file whose parts are all there, and which its upload's completion makes visible.

    Parameters
    ----------
    key : str
        Relative to the output's prefix.
    upload : str
        Id of the multipart upload.
    parts : tuple of str
        ETags of the parts, in their order.
    author : str
        What the object's metadata say, so that it is known again.
    size, rows : int
    sha256 : str
        Of the bytes, hex.
    """

    key: str
    upload: str
    parts: tuple[str, ...]
    author: str
    size: int
    rows: int
    sha256: str

    @property
    def etag(self) -> str:
        """The ETag that the object will have: MD5 of the parts' MD5s. Servers that encrypt may give another."""
        try:
            digests = b"".join(bytes.fromhex(part.strip('"')) for part in self.parts)
        except ValueError:
            return ""
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(self.parts)}"


class PreparedSlot(msgspec.Struct, frozen=True):
    """What a slot prepared in an epoch: the payload of its committable, as JSON."""

    files: tuple[PreparedFile, ...] = ()

    def encode(self) -> bytes:
        """Return it as a payload."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, payload: bytes) -> PreparedSlot:
        """Read a payload."""
        return msgspec.json.decode(payload, type=cls)


class UploadNote(msgspec.Struct, frozen=True):
    """Uploads that belong together: what a slot notes when it prepares, and the payload of `Prepared`, as JSON.

    Parameters
    ----------
    uploads : tuple of (key, upload id, author)
        The author is empty where only a listing told of the upload.
    """

    uploads: tuple[tuple[str, str, str], ...] = ()

    def encode(self) -> bytes:
        """Return it as it is stored."""
        return msgspec.json.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> UploadNote:
        """Read it."""
        return msgspec.json.decode(data, type=cls)


class PublishedFile(msgspec.Struct, frozen=True):
    """A file of a published epoch. `etag` is the one that the server gave."""

    key: str
    etag: str
    size: int
    rows: int
    sha256: str


class EpochManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The mark of an epoch, and all of its files.

    Parameters
    ----------
    previous : int
        The epoch published before it in this lineage; 0 for none.
    withdrawn : int
        0. Of an epoch that was taken back before or after it was published: the highest token that may have meant to
        publish it. Then its files are those that are to go, and it is no mark.
    """

    format: int = FORMAT
    job: str
    lineage: str
    sink: str
    epoch: int
    previous: int
    withdrawn: int = 0
    files: tuple[PublishedFile, ...] = ()

    def encode(self) -> bytes:
        """Return it as it is stored: the same bytes from whoever writes it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    def same_as(self, other: EpochManifest) -> bool:
        """Whether both publish the same files."""
        return not self.withdrawn and not other.withdrawn and _contents(self) == _contents(other)


class RangeManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The epochs from `first` to `last` that have files."""

    format: int = FORMAT
    lineage: str
    sink: str
    first: int
    last: int
    epochs: tuple[EpochManifest, ...]

    def encode(self) -> bytes:
        """Return it as it is stored."""
        return msgspec.json.encode(self)


_Record = TypeVar("_Record", EpochManifest, RangeManifest)


def decode(data: bytes, kind: type[_Record], place: str) -> _Record:
    """Read a manifest.

    Raises
    ------
    ManifestUnreadable
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format > FORMAT:
            raise ManifestUnreadable(
                f"{place} has format {head.format}; this version reads up to {FORMAT}",
                hint="upgrade krishiv-stream",
                place=place,
            )
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise ManifestUnreadable(
            f"{place} is no manifest: {error}",
            hint="put back what was there: with versioning the bucket may still have it",
            place=place,
        ) from error


class _Head(msgspec.Struct):
    format: int


def _contents(manifest: EpochManifest) -> list[tuple[str, int, str]]:
    return sorted((file.key, file.size, file.sha256) for file in manifest.files)
