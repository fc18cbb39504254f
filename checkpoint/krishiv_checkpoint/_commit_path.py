"""The modules that decide what is committed. Certificates are bound to them: an edit of one makes them stale."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["COMMIT_PATH", "commit_path_texts"]

COMMIT_PATH: tuple[str, ...] = (
    "krishiv_checkpoint._answers",
    "krishiv_checkpoint._attempt",
    "krishiv_checkpoint._commits",
    "krishiv_checkpoint._coordinator",
    "krishiv_checkpoint._driver",
    "krishiv_checkpoint._entries",
    "krishiv_checkpoint._epoch",
    "krishiv_checkpoint._events",
    "krishiv_checkpoint._identity",
    "krishiv_checkpoint._instructions",
    "krishiv_checkpoint._job_lock",
    "krishiv_checkpoint._job_log",
    "krishiv_checkpoint._keys",
    "krishiv_checkpoint._log_record",
    "krishiv_checkpoint._log_view",
    "krishiv_checkpoint._progress",
    "krishiv_checkpoint._records",
    "krishiv_checkpoint._recovery",
    "krishiv_checkpoint._recovery_rules",
    "krishiv_checkpoint._recovery_steps",
    "krishiv_checkpoint._requests",
    "krishiv_checkpoint._retention",
    "krishiv_checkpoint._savepoints",
    "krishiv_checkpoint._sealed",
    "krishiv_checkpoint._settings",
    "krishiv_checkpoint._sink_survey",
    "krishiv_checkpoint._state_files",
    "krishiv_checkpoint._steps",
    "krishiv_checkpoint._timers",
    "krishiv_checkpoint._workers",
)
"""What epochs hold, what is published, committed, aborted, retired and restored.

Not listed: `_errors` and `_failpoints` (what is said, and where tests interfere), `_seams` (types only), `_inspection`
(it only looks), and the stores, each of which is a part of its own in a certificate.
"""


def commit_path_texts() -> dict[str, str]:
    """Return the source text of every module on the commit path, by name; one without a text is left out."""
    texts: dict[str, str] = {}
    for name in COMMIT_PATH:
        spec = find_spec(name)
        get_source = getattr(spec.loader if spec else None, "get_source", None)
        text: str | None = get_source(name) if get_source else None
        if text is not None:
            texts[name] = text
    return texts
