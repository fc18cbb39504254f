"""JSON documents that carry the SHA-256 of their own bytes: log entries and savepoints.

A sealed document is a JSON object whose last member is ``"sha256"``, over every byte before it. This framing is the
same in all formats to come: a version that cannot read a document can still tell "newer" from "damaged".
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from krishiv_checkpoint._entries import FORMAT
from krishiv_checkpoint._errors import CorruptManifest, FutureFormat

__all__ = ["WAY_OUT", "Sealed", "check_format", "corrupt", "seal", "unseal"]

_BEFORE = b',"sha256":"'
_AFTER = b'"}\n'
_DIGITS = 64
_SEAL = len(_BEFORE) + _DIGITS + len(_AFTER)

WAY_OUT = (
    "its epochs may be committed outside, so no older checkpoint may stand in for it: put the file back as it was, "
    'or restore from a savepoint (restore="<savepoint>"), or begin anew with restore="none"'
)


class Sealed(NamedTuple):
    """What a sealed document holds: the JSON object without its seal, and the digest in the seal."""

    document: bytes
    digest: str


def seal(document: bytes) -> tuple[bytes, str]:
    """Return the bytes to store for the JSON object `document`, and their digest."""
    body = document[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return body + _BEFORE + digest.encode() + _AFTER, digest


def unseal(key: str, data: bytes | memoryview) -> Sealed:
    """Return what `data`, stored under `key`, holds.

    Raises
    ------
    CorruptManifest
        If it is cut off, or any byte of it was changed.
    FutureFormat
        If it is sound, and a newer version wrote it.
    """
    body, tail = bytes(data[:-_SEAL]), bytes(data[-_SEAL:])
    digest = tail[len(_BEFORE) : -len(_AFTER)]
    if not body or tail != _BEFORE + digest + _AFTER:
        raise corrupt(key, "is cut off or overwritten")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise corrupt(key, "differs from its own digest")
    document = body + b"}"
    check_format(key, document)
    return Sealed(document, digest.decode())


class _Head(msgspec.Struct):
    format: int


def check_format(key: str, document: bytes | msgspec.Raw) -> None:
    """Raise `FutureFormat` if a newer version wrote the JSON object `document`."""
    try:
        written = msgspec.json.decode(document, type=_Head).format
    except msgspec.DecodeError as error:
        raise corrupt(key, f"does not say its format ({error})") from error
    if written > FORMAT:
        raise FutureFormat(
            f"{key} has format {written}; this version reads formats up to {FORMAT}",
            hint="run the version of krishiv-stream that wrote it, or a newer one",
            key=key,
            format=written,
        )


def corrupt(key: str, what: str) -> CorruptManifest:
    """Return the error for a published document that cannot be used (P12)."""
    return CorruptManifest(f"{key} {what}", hint=WAY_OUT, key=key)
