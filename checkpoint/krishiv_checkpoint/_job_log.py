"""The chained log of one job: takeovers, manifests, savepoints and the finish, each created conditionally (P9).

An append is one conditional create behind the last entry known; no listing. Whoever loses it reads what is there now.

Old entries retire in two steps, so that a writer that slept through them cannot slip an entry into their place: first
a new entry declares durably which older one is the first that still counts; only then are those below deleted, oldest
first. A writer whose create succeeded therefore looks whether the entry before its own is still the one it knew. If it
is not, the create filled a hole far behind the tip, where no reader looks.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from krishiv_checkpoint._entries import Manifest
from krishiv_checkpoint._errors import CorruptManifest, Fenced, KeyExists, KeyMissing
from krishiv_checkpoint._keys import LOG, log_key, parse_log_key
from krishiv_checkpoint._log_record import LogRecord, decode_record, encode_record
from krishiv_checkpoint._log_view import LogView, check_chain
from krishiv_checkpoint._sealed import corrupt, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from krishiv_checkpoint._entries import LogEntry, Takeover
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = ["JobLog"]


class JobLog:
    """The log of one job in `store`. Thread-safe; reading it changes nothing.

    Parameters
    ----------
    store : CheckpointStore
        Must create conditionally.
    """

    def __init__(self, store: CheckpointStore) -> None:
        self.store = store
        self._lock = threading.RLock()
        self._records: dict[int, LogRecord] = {}
        self._view: LogView | None = None
        self._floor = 1
        self._behind: tuple[int, int] | None = None
        self._keep: int | None = None
        self._held: list[Manifest] = []

    def read(self) -> LogView:
        """List the log anew and return what it says.

        Raises
        ------
        CorruptManifest
            If an entry that counts is missing or damaged, or the chain is broken (P12).
        FutureFormat
            If a newer version wrote one.
        """
        with self._lock:
            sequences = self._list()
            while True:
                try:
                    records = self._load(sequences)
                    check_chain(records)
                    self._view = LogView.of(records)
                    break
                except (KeyMissing, CorruptManifest) as trouble:
                    now = self._list()
                    if now[-1:] == sequences[-1:]:
                        if isinstance(trouble, CorruptManifest):
                            raise
                        raise corrupt(trouble.fields["key"], "is missing from the middle of the log") from trouble
                    # It was retired while we read, and a sleeper may have filled the hole.
                    sequences, self._records = now, {}
            self._records = {record.sequence: record for record in records}
            return self._view

    def append(self, entry: LogEntry, *, anew: bool = False) -> LogRecord:
        """Put `entry` at the end of the log.

        Parameters
        ----------
        entry : LogEntry
            Its token and writer say on whose behalf.
        anew : bool
            Let the log begin with this entry: nothing before it counts any more.

        Raises
        ------
        Fenced
            If another attempt took the job over.
        StoreFull, StoreUnwritable
            The entry is not in the log. After any other error of the store it may be: appending the same entry again
            finds out.
        """
        with self._lock:
            if self._view is None and self._behind is None:
                self.read()
            while True:
                self._check_holder(entry)
                data, record = self._encode(entry, anew)
                if self._create(record, data):
                    self._take(record)
                    return record
                if present := self._lost(record):
                    return present

    def take_over(self, make: Callable[[LogView], Takeover]) -> LogView:
        """Append what `make` returns for the log as it is, again and again until no rival got in between.

        Returns
        -------
        LogView
            The log, read after the takeover was in it.

        Raises
        ------
        Fenced
            If a rival took over right after.
        """
        while True:
            entry = make(self.read())
            with suppress(Fenced):
                self.append(entry)
                break
        return self.read_as(entry.token)

    def take_over_damaged(self, make: Callable[[int], Takeover]) -> LogView:
        """Append what `make` returns for a safe token, without reading entries that cannot be read.

        Every token took an entry of its own, so the number of the next entry is above all of them. The damaged
        entries go on counting until an entry is appended `anew`.
        """
        while True:
            with self._lock:
                sequences = self._list()
                self._records, self._view = {}, None
                self._behind, self._floor = (sequences[-1], sequences[0]), sequences[-1] + 1
                entry = make(self._floor)
                with suppress(Fenced):
                    self.append(entry)
                    break
        return self.read_as(entry.token)

    def read_as(self, token: int) -> LogView:
        """List the log anew for whoever holds `token`, who is about to remove something (P11).

        Raises
        ------
        Fenced
            If a newer attempt took the job over.
        CorruptManifest
            If the log lost the entries of this attempt.
        """
        view = self.read()
        if view.token > token:
            raise _fenced(token, view)
        if view.token < token:
            raise corrupt(LOG, f"has lost every entry of the attempt with token {token}")
        return view

    def keep_manifests(self, number: int) -> None:
        """Let every manifest from now on declare that only the last `number` manifests count, itself included."""
        with self._lock:
            self._keep = number

    @contextmanager
    def holding(self, manifest: Manifest) -> Generator[None]:
        """Keep what `manifest` refers to from being retired by this process, within the block."""
        with self._lock:
            self._held.append(manifest)
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(manifest)

    @property
    def held(self) -> tuple[Manifest, ...]:
        """Manifests that must not be retired now."""
        with self._lock:
            return tuple(self._held)

    def _list(self) -> list[int]:
        sequences = map(parse_log_key, self.store.list(LOG))
        return sorted(sequence for sequence in sequences if sequence is not None and sequence >= self._floor)

    def _load(self, sequences: list[int]) -> list[LogRecord]:
        if not sequences:
            return []
        tip = self._record(sequences[-1])
        first = max(tip.first, self._floor)
        return [*map(self._record, range(first, tip.sequence)), tip]

    def _record(self, sequence: int) -> LogRecord:
        # Entries never change, so one that was read once need not be read again.
        known = self._records.get(sequence)
        return known or decode_record(sequence, self.store.get(log_key(sequence)))

    def _encode(self, entry: LogEntry, anew: bool) -> tuple[bytes, LogRecord]:
        tip = self._view.tip if self._view else None
        sequence, first, previous = (tip.sequence, tip.first, tip.digest) if tip else (0, 1, "")
        if tip is None and self._behind is not None:
            sequence, first = self._behind
        if anew:
            first = sequence + 1
        elif isinstance(entry, Manifest):
            first = max(first, self._first_kept(sequence + 1))
        return encode_record(sequence + 1, first, previous, entry)

    def _first_kept(self, sequence: int) -> int:
        manifests = [r.sequence for r in self._records.values() if isinstance(r.entry, Manifest)]
        kept = [*sorted(manifests), sequence]
        return kept[-self._keep] if self._keep and self._keep <= len(kept) else 1

    def _check_holder(self, entry: LogEntry) -> None:
        view = self._view
        if view and (view.token > entry.token or (view.token == entry.token and view.writer != entry.writer)):
            raise _fenced(entry.token, view)

    def _create(self, record: LogRecord, data: bytes) -> bool:
        try:
            self.store.create(log_key(record.sequence), data)
        except KeyExists:
            return False
        if self._follows_the_chain(record):
            return True
        self._records = {}  # what was read before may be gone
        return False

    def _lost(self, record: LogRecord) -> LogRecord | None:
        view = self.read()
        self._check_holder(record.entry)
        since = (r for r in view.records if r.sequence >= record.sequence)
        return next((r for r in since if r.encoded == record.encoded), None)

    def _follows_the_chain(self, record: LogRecord) -> bool:
        if record.sequence == 1:
            return self.store.list(LOG) == [log_key(1)]
        before = log_key(record.sequence - 1)
        if not record.previous:  # behind entries that cannot be read
            return self.store.list(before) == [before]
        try:
            data = self.store.get(before)
        except KeyMissing:
            return False
        # Another sleeper may have filled the hole before this one: its entry is not the one that was there.
        return unseal(before, data).digest == record.previous

    def _take(self, record: LogRecord) -> None:
        records = self._view.records if self._view else ()
        self._view = LogView.of([r for r in (*records, record) if r.sequence >= record.first])
        self._records = {r.sequence: r for r in self._view.records}


def _fenced(token: int, view: LogView) -> Fenced:
    return Fenced(
        f"the attempt with token {token} lost its job to {view.writer} with token {view.token}",
        hint="nothing is lost: the newer attempt goes on from the last checkpoint; let this one end",
        token=token,
        holder=view.token,
        writer=view.writer,
    )
