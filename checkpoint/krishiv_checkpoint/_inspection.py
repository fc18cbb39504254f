"""Looking at a job's checkpoints from outside, without changing anything: listing, showing, verifying."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from krishiv_checkpoint._entries import Manifest
from krishiv_checkpoint._errors import CorruptManifest, CorruptState, FutureFormat, KeyMissing
from krishiv_checkpoint._job_log import JobLog
from krishiv_checkpoint._keys import LOG, SAVEPOINTS, log_key, parse_log_key
from krishiv_checkpoint._log_record import decode_record
from krishiv_checkpoint._log_view import check_chain
from krishiv_checkpoint._savepoints import load_savepoint, savepoint_names
from krishiv_checkpoint._stores import read_verified
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from krishiv_checkpoint._log_record import LogRecord
    from krishiv_checkpoint._records import StateFile
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = ["CheckpointInfo", "Problem", "list_checkpoints", "show_checkpoint", "verify"]


@dataclass(frozen=True)
class CheckpointInfo:
    """One manifest of a log.

    Parameters
    ----------
    sequence : int
        Its place in the log.
    files, bytes : int
        State files that it refers to, and their size together.
    manifest : Manifest
        All of it.
    """

    sequence: int
    manifest: Manifest
    files: int
    bytes: int

    @classmethod
    def of(cls, record: LogRecord, manifest: Manifest) -> CheckpointInfo:
        """Count what `manifest` refers to."""
        files = _files(manifest)
        return cls(record.sequence, manifest, len(files), sum(file.size for file in files))


@dataclass(frozen=True)
class Problem:
    """Something in a store that recovery would stumble over.

    Parameters
    ----------
    key : str
        Where.
    code : str
        Of the error that recovery would raise.
    message : str
        What is wrong.
    """

    key: str
    code: str
    message: str


def list_checkpoints(store: CheckpointStore) -> list[CheckpointInfo]:
    """Return every manifest in the log of `store`, oldest first.

    Raises
    ------
    CorruptManifest, FutureFormat
        If the log cannot be read; `verify` says more.
    """
    records = JobLog(store).read().records
    return [CheckpointInfo.of(r, r.entry) for r in records if isinstance(r.entry, Manifest)]


def show_checkpoint(store: CheckpointStore, *, sequence: int | None = None, epoch: int | None = None) -> CheckpointInfo:
    """Return one manifest: by its place in the log, by its epoch (the newest of that id), or else the newest.

    Raises
    ------
    KeyMissing
        If there is none.
    """
    for info in reversed(list_checkpoints(store)):
        if sequence in (None, info.sequence) and epoch in (None, info.manifest.epoch):
            return info
    wanted = f"entry {sequence}" if sequence is not None else f"epoch {epoch}" if epoch is not None else "checkpoint"
    raise KeyMissing(f"there is no {wanted} in the log", hint="list what is there with 'checkpoints ls'", key=wanted)


def verify(store: CheckpointStore) -> list[Problem]:
    """Check every entry that counts, the chain, every state file and every savepoint against their digests.

    Returns
    -------
    list of Problem
        Empty if all is well. Reads everything; a job that runs meanwhile may retire some of it, and shows as missing.
    """
    records, problems = _read_entries(store)
    manifests = [record.entry for record in records if isinstance(record.entry, Manifest)]
    problems += _chain_problems(records)
    problems += _file_problems(store, manifests)
    for name in savepoint_names(store):
        try:
            savepoint = load_savepoint(store, name)
        except KrishivError as error:
            problems.append(Problem(f"{SAVEPOINTS}{name}", error.code, error.message))
        else:
            problems += _file_problems(savepoint.store, [savepoint.manifest], f"{SAVEPOINTS}{name}/")
    return problems


def _read_entries(store: CheckpointStore) -> tuple[list[LogRecord], list[Problem]]:
    """Read as many entries as can be read, from the newest back to the first that counts."""
    records: list[LogRecord] = []
    problems: list[Problem] = []
    sequences = sorted(filter(None, map(parse_log_key, store.list(LOG))))
    sequence, first = (sequences[-1], sequences[0]) if sequences else (0, 1)
    while sequence >= first:
        key = log_key(sequence)
        try:
            record = decode_record(sequence, store.get(key))
        except KeyMissing:
            problems.append(Problem(key, CorruptManifest.code, "is missing from the middle of the log"))
        except (CorruptManifest, FutureFormat) as error:
            problems.append(Problem(key, error.code, error.message))
        else:
            records.append(record)
            first = max(first, record.first)
        sequence -= 1
    return records[::-1], problems[::-1]


def _chain_problems(records: list[LogRecord]) -> Iterator[Problem]:
    for pair in pairwise(records):
        if pair[0].sequence + 1 == pair[1].sequence:
            try:
                check_chain(pair)
            except CorruptManifest as error:
                yield Problem(log_key(pair[1].sequence), error.code, error.message)


def _file_problems(store: CheckpointStore, manifests: Iterable[Manifest], prefix: str = "") -> Iterator[Problem]:
    for file in {file.key: file for manifest in manifests for file in _files(manifest)}.values():
        try:
            read_verified(store, file)
        except CorruptState as error:
            yield Problem(prefix + file.key, error.code, error.message)


def _files(manifest: Manifest) -> list[StateFile]:
    return list({file.key: file for snapshot in manifest.operators for file in snapshot.files}.values())
