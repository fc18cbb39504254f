"""One entry of the log as it is stored: numbered, sealed, and chained to the entry before it (P9, P12)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from krishiv_checkpoint._entries import FORMAT, LogEntry
from krishiv_checkpoint._keys import log_key
from krishiv_checkpoint._sealed import check_format, corrupt, seal, unseal

__all__ = ["LogRecord", "decode_record", "encode_record"]


class _Envelope(msgspec.Struct):
    format: int
    sequence: int
    first: int
    previous: str
    entry: msgspec.Raw


@dataclass(frozen=True)
class LogRecord:
    """An entry at its place in the log.

    Parameters
    ----------
    sequence : int
        Its number, from 1 without gaps.
    first : int
        The oldest entry that still counts, from this one's view: everything below is retired.
    previous : str
        Digest of the entry before; empty for the first one.
    digest : str
        Hex SHA-256 over the whole record.
    entry : LogEntry
        What it says.
    encoded : bytes
        The entry as JSON: equal bytes are the same entry.
    """

    sequence: int
    first: int
    previous: str
    digest: str
    entry: LogEntry
    encoded: bytes


def encode_record(sequence: int, first: int, previous: str, entry: LogEntry) -> tuple[bytes, LogRecord]:
    """Return the bytes to store for an entry at a place in the log, and the record that reading them gives."""
    encoded = msgspec.json.encode(entry)
    data, digest = seal(msgspec.json.encode(_Envelope(FORMAT, sequence, first, previous, msgspec.Raw(encoded))))
    return data, LogRecord(sequence, first, previous, digest, entry, encoded)


def decode_record(sequence: int, data: bytes | memoryview) -> LogRecord:
    """Return the record in `data`, which lies at place `sequence`.

    Raises
    ------
    CorruptManifest
        If it is damaged, or belongs somewhere else.
    FutureFormat
        If a newer version wrote it.
    """
    key = log_key(sequence)
    document, digest = unseal(key, data)
    try:
        envelope = msgspec.json.decode(document, type=_Envelope)
        check_format(key, envelope.entry)
        entry = msgspec.json.decode(envelope.entry, type=LogEntry)
    except msgspec.DecodeError as error:
        raise corrupt(key, f"cannot be read ({error})") from error
    if envelope.sequence != sequence:
        raise corrupt(key, f"says that it is entry {envelope.sequence}")
    return LogRecord(sequence, envelope.first, envelope.previous, digest, entry, bytes(envelope.entry))
