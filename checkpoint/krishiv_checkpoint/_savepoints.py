"""Savepoints: immutable, named, complete in themselves, and without anything left to commit (P16).

A savepoint is a folder, ``savepoints/<name>/`` of the job or an absolute directory of the user's, that holds its own
copies of all state files and, published last, ``savepoint.json``: a sealed manifest whose keys are relative to the
folder. It may be moved or copied as a whole, and any number of jobs may start from it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from krishiv_checkpoint._entries import FORMAT, Manifest, SavepointRecord
from krishiv_checkpoint._errors import KeyExists, KeyMissing, SavepointExists, SavepointMissing, SavepointUnsettled
from krishiv_checkpoint._failpoints import failpoint
from krishiv_checkpoint._keys import SAVEPOINTS, check_name, state_prefix
from krishiv_checkpoint._sealed import corrupt, seal, unseal
from krishiv_checkpoint._stores import FilesystemStore, PrefixedStore, copy_verified

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krishiv_checkpoint._job_log import JobLog
    from krishiv_checkpoint._records import OperatorSnapshot, StateFile
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = [
    "Savepoint",
    "create_savepoint",
    "delete_savepoint",
    "import_state",
    "list_savepoints",
    "load_savepoint",
    "savepoint_names",
]

_DOCUMENT = "savepoint.json"


@dataclass(frozen=True)
class Savepoint:
    """A savepoint, found.

    Parameters
    ----------
    location : str
        Its name, or its absolute directory.
    manifest : Manifest
        The state. Nothing is pending in it, and its keys are relative to `store`.
    store : CheckpointStore
        Its folder.
    """

    location: str
    manifest: Manifest
    store: CheckpointStore


def create_savepoint(
    log: JobLog, manifest: Manifest, location: str, committed_through: Mapping[str, Mapping[str, int]]
) -> Savepoint:
    """Copy what `manifest` refers to and publish it as a savepoint, then note it in the log.

    Blocks while it copies. What it reads is safe from `retire` in this process meanwhile.

    Parameters
    ----------
    log : JobLog
        Of the attempt that wrote `manifest`; its store is the job's.
    manifest : Manifest
        An epoch that every sink applied.
    location : str
        A name, or an absolute directory.
    committed_through : mapping of sink id to mapping of slot to epoch
        What is known to be applied by now; slots are decimal strings.

    Raises
    ------
    SavepointUnsettled
        If a sink has not applied all of the epoch (P16).
    SavepointExists
        If the place is taken.
    Fenced
        If another attempt took the job over.
    """
    failpoint("savepoint.before")
    folder = _folder(log.store, location)
    settled = _settle(manifest, committed_through)
    if folder.list(_DOCUMENT):
        raise _taken(location)
    with log.holding(manifest):
        _check_retained(log, manifest)
        copied = _copy(settled, log.store, folder)
    data, _ = seal(msgspec.json.encode(_Document(FORMAT, copied)))
    try:
        folder.create(_DOCUMENT, data)
    except KeyExists as taken:
        raise _taken(location) from taken
    log.append(SavepointRecord(FORMAT, manifest.token, manifest.writer, manifest.epoch, location))
    failpoint("savepoint.after")
    return Savepoint(location, copied, folder)


def load_savepoint(store: CheckpointStore, location: str) -> Savepoint:
    """Return the savepoint at `location`: a name within `store`, or an absolute directory.

    Raises
    ------
    SavepointMissing
        If there is none.
    CorruptManifest, FutureFormat
        If it cannot be used.
    """
    folder = _folder(store, location)
    try:
        data = folder.get(_DOCUMENT)
    except KeyMissing as missing:
        names = ", ".join(savepoint_names(store)) or "none"
        raise SavepointMissing(
            f"there is no savepoint at {location!r}",
            hint=f"give a savepoint's name or its absolute directory; this job has: {names}",
            location=location,
        ) from missing
    key = f"{location}/{_DOCUMENT}"
    document, _ = unseal(key, data)
    try:
        manifest = msgspec.json.decode(document, type=_Document).manifest
    except msgspec.DecodeError as error:
        raise corrupt(key, f"cannot be read ({error})") from error
    return Savepoint(location, manifest, folder)


def list_savepoints(store: CheckpointStore) -> list[Savepoint]:
    """Return the savepoints in `store`, by name. Those in directories of the user's are not known here."""
    return [load_savepoint(store, name) for name in savepoint_names(store)]


def savepoint_names(store: CheckpointStore) -> list[str]:
    """Return the names of the savepoints in `store`, sorted."""
    ending = f"/{_DOCUMENT}"
    keys = store.list(SAVEPOINTS)
    return [key.removeprefix(SAVEPOINTS).removesuffix(ending) for key in keys if key.endswith(ending)]


def delete_savepoint(store: CheckpointStore, location: str) -> None:
    """Remove the savepoint at `location`; jobs that started from it have copies of their own."""
    folder = load_savepoint(store, location).store
    folder.delete(_DOCUMENT)
    for key in folder.list(""):
        folder.delete(key)


def import_state(
    savepoint: Savepoint, operators: tuple[OperatorSnapshot, ...], store: CheckpointStore, token: int
) -> tuple[OperatorSnapshot, ...]:
    """Copy the files of `operators`, which are the savepoint's, into `store` for the attempt with `token`.

    Returns
    -------
    tuple of OperatorSnapshot
        `operators`, referring to the copies.

    Raises
    ------
    CorruptState
        If a file is missing or damaged (P12).
    """
    prefix = f"{state_prefix(token, savepoint.manifest.epoch)}imported-"
    return _copy_files(operators, savepoint.store, store, lambda n: f"{prefix}{n}.arrow")


class _Document(msgspec.Struct):
    format: int
    manifest: Manifest


def _folder(store: CheckpointStore, location: str) -> CheckpointStore:
    if os.path.isabs(location):
        return FilesystemStore(Path(location))
    return PrefixedStore(store, f"{SAVEPOINTS}{check_name('savepoint', location)}/")


def _settle(manifest: Manifest, committed_through: Mapping[str, Mapping[str, int]]) -> Manifest:
    # What was applied beyond this manifest's own epochs is none of the savepoint's: on restore it is "sink ahead".
    committed = {sink: dict(slots) for sink, slots in manifest.committed_through.items()}
    for committable in manifest.pending:
        sink, slot, epoch = committable.sink, str(committable.slot), committable.epoch
        if committed_through.get(sink, {}).get(slot, 0) < epoch:
            raise SavepointUnsettled(
                f"sink {sink!r}, slot {slot} has not applied epoch {epoch}, which the savepoint would hold",
                hint="wait until the epoch is committed, then take the savepoint",
                sink=sink,
                slot=committable.slot,
                epoch=epoch,
            )
        slots = committed.setdefault(sink, {})
        slots[slot] = max(slots.get(slot, 0), epoch)
    return msgspec.structs.replace(manifest, committed_through=committed, pending=())


def _check_retained(log: JobLog, manifest: Manifest) -> None:
    wanted = (manifest.token, manifest.epoch)
    if wanted not in {(m.token, m.epoch) for m in log.read_as(manifest.token).manifests()}:
        raise KeyMissing(f"epoch {manifest.epoch} is retired: no savepoint can be made of it", key=str(manifest.epoch))


def _copy(manifest: Manifest, source: CheckpointStore, folder: CheckpointStore) -> Manifest:
    # The attempt is part of the names, so that two of them never mix their files in one place.
    prefix = f"{manifest.token}-{manifest.epoch}/"
    operators = _copy_files(manifest.operators, source, folder, lambda n: f"{prefix}{n}.arrow")
    return msgspec.structs.replace(manifest, operators=operators)


def _copy_files(
    snapshots: tuple[OperatorSnapshot, ...],
    source: CheckpointStore,
    target: CheckpointStore,
    name: Callable[[int], str],
) -> tuple[OperatorSnapshot, ...]:
    files = {file.key: file for snapshot in snapshots for file in snapshot.files}
    copies: dict[str, StateFile] = {}
    try:
        for number, (key, file) in enumerate(sorted(files.items())):
            copies[key] = copy_verified(source, file, target, name(number))
    except BaseException:
        for copy in copies.values():
            target.delete(copy.key)
        raise
    return tuple(
        msgspec.structs.replace(snapshot, files=tuple(copies[file.key] for file in snapshot.files))
        for snapshot in snapshots
    )


def _taken(location: str) -> SavepointExists:
    return SavepointExists(
        f"there is a savepoint at {location!r} already", hint="savepoints are never overwritten: choose another name"
    )
