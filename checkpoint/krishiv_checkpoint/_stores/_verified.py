"""Reading and copying blobs, and proving that they are the ones that a manifest means."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import CorruptState, KeyMissing
from krishiv_checkpoint._sealed import WAY_OUT

if TYPE_CHECKING:
    from krishiv_checkpoint._records import StateFile
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = ["copy_verified", "read_verified"]


def read_verified(store: CheckpointStore, file: StateFile) -> memoryview:
    """Return the bytes of `file`, checked against its size and SHA-256.

    Returns
    -------
    memoryview
        Of the mapped file where the store is local: the check reads it once, and nothing is copied.

    Raises
    ------
    CorruptState
        If it is missing or differs (P12).
    """
    data = _read(store, file)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _corrupt(file, "differs from the digest in its manifest")
    return data


def copy_verified(source: CheckpointStore, file: StateFile, target: CheckpointStore, key: str) -> StateFile:
    """Copy `file` to `key` in `target`; the digest is taken while copying. Raises `CorruptState` (P12)."""
    with target.writer(key, final=True) as writer:
        writer.write(_read(source, file))
        copy = writer.finish()
    if copy.sha256 != file.sha256:
        target.delete(key)
        raise _corrupt(file, "differs from the digest in its manifest")
    return copy


def _read(store: CheckpointStore, file: StateFile) -> memoryview:
    try:
        data = store.get(file.key)
    except KeyMissing as missing:
        raise _corrupt(file, "is missing") from missing
    if data.nbytes != file.size:
        raise _corrupt(file, f"has {data.nbytes} bytes, not the {file.size} that its manifest records")
    return data


def _corrupt(file: StateFile, what: str) -> CorruptState:
    return CorruptState(f"state file {file.key} {what}", hint=WAY_OUT, key=file.key)
