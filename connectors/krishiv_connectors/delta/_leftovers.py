"""Which data files of sinks a table no longer has, nor needs for its older versions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from krishiv_connectors.delta._data_files import FileName
from krishiv_connectors.delta._delta_log import TableLog
from krishiv_connectors.delta._errors import DeltaFailed, DeltaMissing, DeltaUnfit, delta_errors
from krishiv_connectors.delta._marks import AppliedEpochs, app_id
from krishiv_connectors.delta._table import STAGING

if TYPE_CHECKING:
    from krishiv_connectors.delta._table import TableAddress

__all__ = ["removable", "retention"]

_RETENTION = "delta.deletedFileRetentionDuration"
_INTERVAL = re.compile(r"(?:interval\s+)?(\d+)\s+(second|minute|hour|day|week)s?", re.IGNORECASE)


def removable(address: TableAddress) -> list[str]:
    """Return the keys of staged files that no version needs any more.

    A file may go if its epoch was applied when the retention began and still is (a RESTORE since then has epochs
    written anew), and neither a version that was the newest since then nor the newest one has it. Files of epochs that
    wait for their commit are never among them.
    """
    epochs = AppliedEpochs(address)
    table = epochs.refresh()
    old = _as_of(address, table, datetime.now(UTC) - retention(address.uri, table))
    if old is None:
        return []
    needed = _paths(address.uri, old) | _paths(address.uri, table)
    log = TableLog(address)
    for version in range(old.version() + 1, table.version()):
        needed.update(log.paths(version))
    applied: dict[str, int] = {}
    found: list[str] = []
    for key in address.files().list(""):
        name = FileName.parse(key)
        if name is None or f"{STAGING}/{key}" in needed:
            continue
        app = app_id(name.lineage, name.sink)
        if app not in applied:
            applied[app] = min(old.transaction_version(app) or 0, epochs.epoch(app) or 0)
        if name.epoch <= applied[app]:
            found.append(key)
    return found


def retention(uri: str, table: Any) -> timedelta:
    """Return for how long a table keeps files that were removed from it."""
    told = dict(table.metadata().configuration).get(_RETENTION)
    if told is None:
        return timedelta(days=7)
    match = _INTERVAL.fullmatch(told.strip())
    if match is None:
        raise DeltaUnfit(
            f"{uri} has {_RETENTION}={told!r}, which is not understood",
            hint='write it as "interval 7 days"',
            uri=uri,
            feature=_RETENTION,
        )
    return timedelta(**{f"{match[2].lower()}s": int(match[1])})


def _as_of(address: TableAddress, table: Any, moment: datetime) -> Any | None:
    """Return the table as it was, or None if it was not there yet, or its log does not go so far back."""
    old = address.open()
    try:
        with delta_errors(address.uri):
            old.load_as_version(moment)
    except (DeltaMissing, DeltaFailed):
        return None
    return old if old.version() <= table.version() else None


def _paths(uri: str, table: Any) -> set[str]:
    with delta_errors(uri):
        return {unquote(path) for path in pa.table(table.get_add_actions()).column("path").to_pylist()}
