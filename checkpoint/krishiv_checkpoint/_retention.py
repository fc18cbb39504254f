"""What is removed once newer manifests make it superfluous, and what dead attempts left behind (P5, P11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krishiv_checkpoint._failpoints import failpoint
from krishiv_checkpoint._keys import LOG, STAGED, STATE, log_key, parse_log_key, parse_staged_key, parse_state_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from krishiv_checkpoint._entries import Manifest
    from krishiv_checkpoint._job_log import JobLog
    from krishiv_checkpoint._log_view import LogView
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = ["retire"]


def retire(log: JobLog, store: CheckpointStore, keep: int, own_token: int) -> None:
    """Remove log entries, state and staged files that nothing retained refers to. Idempotent.

    Retained are the last `keep` manifests and all that they refer to, and savepoints. Which manifests those are is
    declared by the newest manifest itself: a changed `keep` takes effect with the next one.

    Parameters
    ----------
    keep : int
        How many manifests stay, 1 or more.
    own_token : int
        Whoever calls; files of its epochs in flight are not touched.

    Raises
    ------
    Fenced
        If another attempt took the job over; nothing was removed then.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, not 1 or more")
    failpoint("retire.before")
    log.keep_manifests(keep)
    view = log.read_as(own_token)
    for key in superfluous_entries(store.list(LOG), view.first):
        store.delete(key)
    for key in superfluous_files([*store.list(STATE), *store.list(STAGED)], view, log.held, own_token):
        store.delete(key)
    failpoint("retire.after")


def superfluous_entries(keys: Iterable[str], first: int) -> list[str]:
    """Return the log's keys below entry `first`, oldest first: the order in which they have to go."""
    return sorted(key for key in keys if parse_log_key(key) is not None and key < log_key(first))


def superfluous_files(keys: Iterable[str], view: LogView, held: Iterable[Manifest], own_token: int) -> list[str]:
    """Return those of `keys` that no manifest refers to and that no attempt may still come to refer to.

    That is what lower tokens wrote, and what this attempt wrote for epochs before its newest manifest: an epoch that
    failed is carried by the next one, so what the next one does not refer to will never be referred to.
    """
    manifests = [*view.manifests(), *held]
    referenced = {file.key for m in manifests for snapshot in m.operators for file in snapshot.files}
    staged = set() if view.finish else {(c.sink, c.token, c.epoch, c.slot) for m in manifests for c in m.pending}
    newest = view.manifest
    settled = newest.epoch + bool(view.finish) if newest is not None and newest.token == own_token else 0
    doomed: list[str] = []
    for key in keys:
        staged_file = parse_staged_key(key)
        origin = staged_file[1:3] if staged_file else parse_state_key(key)
        if origin is None or key in referenced or staged_file in staged:
            continue
        token, epoch = origin
        if token < own_token or (token == own_token and epoch < settled):
            doomed.append(key)
    return doomed
