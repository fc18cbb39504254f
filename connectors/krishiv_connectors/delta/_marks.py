"""Which epochs a table holds: what its application transactions say, less what a RESTORE took back.

``RESTORE`` makes the rows of an older version current again and leaves application transactions where they are: a
transaction says 9 and the rows end with epoch 4. The log shows it: it is walked from its end back to the transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from krishiv_checkpoint import KeyExists, Mark
from krishiv_connectors.delta._delta_log import TableLog
from krishiv_connectors.delta._errors import DeltaFailed, DeltaMissing, delta_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krishiv_checkpoint import CheckpointStore
    from krishiv_connectors._sink import SinkContext
    from krishiv_connectors.delta._table import TableAddress

__all__ = ["AppliedEpochs", "app_id", "marks_of", "properties", "register"]


class AppliedEpochs:
    """The epochs that one table holds, each by the id of its application transaction.

    Parameters
    ----------
    address : TableAddress
    """

    def __init__(self, address: TableAddress) -> None:
        self._address = address
        self._log = TableLog(address)
        self._table: Any = None
        self._known: dict[str, tuple[int, int, int]] = {}
        """By id: the version looked at last, the epoch held then, and the version that it came with."""

    def refresh(self) -> Any:
        """Load the newest version and return the table; what is asked next is about it."""
        if self._table is None:
            self._table = self._address.open()
        else:
            with delta_errors(self._address.uri):
                self._table.update_incremental()
        return self._table

    def forget(self) -> None:
        """Load anew next time: something went wrong meanwhile."""
        self._table = None

    def epoch(self, app: str) -> int | None:
        """Return the newest epoch of `app` that the loaded version holds."""
        told: int | None = self._table.transaction_version(app)
        if told is None:
            return None
        newest: int = self._table.version()
        seen, epoch, since = self._known.get(app, (-1, told, newest))
        found = self._walk(app, newest, seen)
        if found is not None:
            epoch, since = found
        self._known[app] = newest, epoch, since
        return epoch or None

    def ever(self, app: str) -> int:
        """Return the newest epoch of `app` that was committed, whether its rows are still there or not; 0: none."""
        told: int | None = self._table.transaction_version(app)
        return told or 0

    def sync(self, app: str, *, files: bool = False) -> None:
        """Force the log to the disk from the commit of `app` on, and `files`: who wrote it may have died before."""
        newest, _, since = self._known.get(app, (self._table.version(),) * 3)
        self._log.sync(since, newest, files=files)

    def _walk(self, app: str, newest: int, seen: int) -> tuple[int, int] | None:
        """Return the epoch that versions above `seen` leave, and the version that says so; None: the one before.

        A version that is no longer in the log ends the walk: what a RESTORE before it did is not seen.
        """
        for version in range(newest, seen, -1):
            notes = self._log.notes(version)
            if notes is None:
                return None
            for action in notes:
                if (applied := action.get("txn")) and applied["appId"] == app:
                    return int(applied["version"]), version
                if (info := action.get("commitInfo")) and info.get("operation") == "RESTORE":
                    return self._before(app, info.get("operationParameters") or {}), version
        return None

    def _before(self, app: str, parameters: Mapping[str, Any]) -> int:
        """Return the epoch that the version held which was restored; 0 if that cannot be found out any more."""
        try:
            table = self._restored(parameters)
        except (DeltaMissing, DeltaFailed, KeyError, ValueError):
            return 0
        told: int | None = table.transaction_version(app)
        if told is None:
            return 0
        found = self._walk(app, table.version(), -1)
        return told if found is None else found[0]

    def _restored(self, parameters: Mapping[str, Any]) -> Any:
        if str(parameters.get("version", "")).isdigit():
            return self._address.open(int(parameters["version"]))
        table = self._address.open()
        with delta_errors(self._address.uri):
            table.load_as_version(datetime.fromtimestamp(int(parameters["datetime"]) / 1_000, UTC))
        return table


def app_id(lineage: str, sink: str, slot: int | None = None) -> str:
    """Return the id of the application transaction that carries the epoch."""
    return f"krishiv/{lineage}/{sink}" + ("" if slot is None else f"/{slot}")


def properties(app: str, job: str, epoch: int, token: int) -> Any:
    """Return what a commit of an epoch carries.

    No retries by the library: it would look for conflicts itself, and commit upon a version that was not looked at.
    """
    from deltalake import CommitProperties, Transaction

    told = {"krishiv.job": job, "krishiv.epoch": str(epoch), "krishiv.token": str(token)}
    return CommitProperties(custom_metadata=told, max_commit_retries=0, app_transactions=[Transaction(app, epoch)])


def register(store: CheckpointStore, ctx: SinkContext) -> None:
    """Note in the table that a lineage of a job writes there, before it does: marks are found by it (P15)."""
    try:
        store.create(f"jobs/{ctx.job}/{ctx.lineage}.{ctx.sink_id}", b"")
    except KeyExists:
        return


def marks_of(epochs: AppliedEpochs, store: CheckpointStore, job: str, slots: Sequence[int | None]) -> list[Mark]:
    """Return the marks that a job left in a table."""
    epochs.refresh()
    found: list[Mark] = []
    for lineage, sink in _registered(store, job):
        for slot in slots:
            epoch = epochs.epoch(app_id(lineage, sink, slot))
            if epoch is not None:
                found.append(Mark(lineage, job, slot or 0, epoch))
    return found


def _registered(store: CheckpointStore, job: str) -> list[tuple[str, str]]:
    prefix = f"jobs/{job}/"
    names = (key.removeprefix(prefix).partition(".") for key in store.list(prefix))
    return [(lineage, sink) for lineage, _, sink in names]
