"""Names of jobs, sinks and savepoints, and the keys of everything that one job keeps in its store.

::

    log/<20 digits>.json                                  the chained log
    state/<token>-<epoch>/<operator>-<subtask>-<n>.arrow  snapshots
    staged/<sink>/<token>-<epoch>-<slot>.arrow            output between prepare and commit
    savepoints/<name>/...                                 savepoints
"""

from __future__ import annotations

import re
from typing import NamedTuple

from krishiv_guarantees import ConfigurationError

__all__ = [
    "LOG",
    "SAVEPOINTS",
    "STAGED",
    "STATE",
    "StagedKey",
    "check_key",
    "check_name",
    "is_name",
    "log_key",
    "parse_log_key",
    "parse_staged_key",
    "parse_state_key",
    "staged_key",
    "state_key",
    "state_prefix",
]

LOG = "log/"
STATE = "state/"
STAGED = "staged/"
SAVEPOINTS = "savepoints/"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LOG_KEY = re.compile(r"log/([0-9]{20})\.json")
_STATE_KEY = re.compile(r"state/([0-9]+)-([0-9]+)/.+")
_STAGED_KEY = re.compile(r"staged/([^/]+)/([0-9]+)-([0-9]+)-([0-9]+)\.arrow")


class StagedKey(NamedTuple):
    """What the name of a staged file says: it is the identity of its committable."""

    sink: str
    token: int
    epoch: int
    slot: int


def is_name(text: str) -> bool:
    """Whether `text` can name a job, a sink or a savepoint."""
    return _NAME.fullmatch(text) is not None


def check_name(kind: str, text: str) -> str:
    """Return `text` if it can name a `kind` ("job", "sink", "savepoint"); raise `ConfigurationError` if not."""
    if is_name(text):
        return text
    raise ConfigurationError(
        f"{text!r} cannot name a {kind}",
        hint="use up to 100 letters, digits, '_', '.' and '-', beginning with a letter or a digit",
        name=text,
    )


def check_key(key: str) -> str:
    """Return `key` if it stays inside its store; raise ValueError if not."""
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise ValueError(f"{key!r} is not a key: keys are relative, without empty parts, '.' and '..'")
    return key


def log_key(sequence: int) -> str:
    """Return the key of the log entry numbered `sequence`, from 1."""
    return f"{LOG}{sequence:020d}.json"


def parse_log_key(key: str) -> int | None:
    """Return the sequence number in `key`, or None if it is no log entry's."""
    match = _LOG_KEY.fullmatch(key)
    return int(match[1]) if match else None


def state_prefix(token: int, epoch: int) -> str:
    """Return where the files that an attempt writes for one epoch begin."""
    return f"{STATE}{token}-{epoch}/"


def state_key(token: int, epoch: int, operator: str, subtask: int, number: int) -> str:
    """Return the key of the `number`-th file of a subtask's snapshot."""
    return f"{state_prefix(token, epoch)}{operator}-{subtask}-{number}.arrow"


def parse_state_key(key: str) -> tuple[int, int] | None:
    """Return token and epoch in `key`, or None if it is no state file's."""
    match = _STATE_KEY.fullmatch(key)
    return (int(match[1]), int(match[2])) if match else None


def staged_key(sink: str, token: int, epoch: int, slot: int) -> str:
    """Return the key under which a staging sink's slot keeps an epoch between prepare and commit."""
    return f"{STAGED}{sink}/{token}-{epoch}-{slot}.arrow"


def parse_staged_key(key: str) -> StagedKey | None:
    """Return what `key` says, or None if it is no staged file's."""
    match = _STAGED_KEY.fullmatch(key)
    return StagedKey(match[1], int(match[2]), int(match[3]), int(match[4])) if match else None
