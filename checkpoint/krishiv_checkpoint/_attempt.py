"""One life of a job: what recovery hands to the coordinator and to the data plane."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from krishiv_checkpoint._errors import CommitFailed
from krishiv_checkpoint._records import CommitOutcome, CommitStatus
from krishiv_guarantees import RetriableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from krishiv_checkpoint._entries import Finish, Manifest
    from krishiv_checkpoint._job_log import JobLog
    from krishiv_checkpoint._records import OperatorSnapshot
    from krishiv_checkpoint._recovery_rules import CommitStep
    from krishiv_checkpoint._seams import Committer

    T = TypeVar("T")

__all__ = ["Attempt", "RetryPolicy", "commit_step", "utc_now"]

_log = logging.getLogger("krishiv_checkpoint")


def utc_now() -> str:
    """Return the time as ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A job taken over and recovered: everything prepared before is committed or aborted.

    Parameters
    ----------
    job, lineage, writer : str
        The job's name; the key of everything written outside (P1); the id of this attempt's writer.
    token : int
        Fencing token: above that of every attempt before.
    log : JobLog
        Where manifests are appended under `token` and `writer`.
    manifest : Manifest or None
        What the job continues from; None if it begins.
    operators : tuple of OperatorSnapshot
        The state to restore, under the plan's operator ids; empty where the job begins from nothing.
    committed_through : mapping of sink id to mapping of slot to epoch
        What is applied now, old slots included; slots are decimal strings. The next manifest starts from it.
    next_epoch : int
        The first epoch to trigger (P2).
    committers : mapping of sink id to Committer
        As `open_committers` returned them for `lineage`; empty if the job is finished.
    finished : Finish or None
        Set if the job is over: nothing was taken over, nothing may be written (P7).
    overlap : tuple of str
        Which epochs the sinks hold that this attempt will write again, by the user's leave; empty: none.
    """

    job: str
    lineage: str
    token: int
    writer: str
    log: JobLog
    manifest: Manifest | None
    operators: tuple[OperatorSnapshot, ...]
    committed_through: Mapping[str, Mapping[str, int]]
    next_epoch: int
    committers: Mapping[str, Committer] = field(default_factory=dict[str, "Committer"])
    finished: Finish | None = None
    overlap: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How recovery deals with sinks that are in trouble.

    Parameters
    ----------
    max_errors : int
        How often in a row a call may raise a `RetriableError` or an `OSError` before it is let through.
    give_up_after : float or None
        Seconds after which a commit that keeps asking for more time fails; None: never.
    sleep, clock : callables
        Injected by tests. Seconds.
    """

    max_errors: int = 5
    give_up_after: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def call(self, step: Callable[[], T]) -> T:
        """Call `step` until it does not raise."""
        for failures in range(1, self.max_errors):
            try:
                return step()
            except (RetriableError, OSError) as error:
                self.sleep(wait_after(error, failures))
        return step()


def commit_step(committer: Committer, step: CommitStep, lineage: str, retry: RetryPolicy) -> None:
    """Apply `step`, again and again until it is applied (P5).

    After an outcome that is not known the sink's own record is read before the next try.

    Raises
    ------
    CommitFailed
        If the sink says that it can never be applied, or time ran out.
    """
    began, errors, slot = retry.clock(), 0, step.committables[0].slot
    while True:
        try:
            outcome = committer.commit(step.epoch, step.committables)
            errors = 0
        except (RetriableError, OSError) as error:
            errors += 1
            if errors >= retry.max_errors:
                raise
            outcome = _unknown(error, errors)
        if outcome.status in (CommitStatus.DONE, CommitStatus.ALREADY_DONE):
            return
        if outcome.status is CommitStatus.FAILED:
            raise _failed(step, outcome.reason)
        _log.warning("%s cannot apply epoch %d yet: %s", _where(step), step.epoch, outcome.reason)
        if retry.give_up_after is not None and retry.clock() - began >= retry.give_up_after:
            raise _failed(step, f"it still had to wait after {retry.give_up_after:g} s: {outcome.reason}")
        retry.sleep(outcome.after)
        if (retry.call(lambda: committer.last_applied(lineage, slot)) or 0) >= step.epoch:
            return


def wait_after(error: RetriableError | OSError, failures: int) -> float:
    """Return how many seconds to wait after the `failures`-th error in a row."""
    return error.after if isinstance(error, RetriableError) else min(0.1 * 2**failures, 5.0)


def _unknown(error: RetriableError | OSError, failures: int) -> CommitOutcome:
    return CommitOutcome.retry(str(error), wait_after(error, failures))


def _where(step: CommitStep) -> str:
    return f"sink {step.sink!r}" if step.slot is None else f"sink {step.sink!r}, slot {step.slot}"


def _failed(step: CommitStep, reason: str) -> CommitFailed:
    return CommitFailed(
        f"{_where(step)} cannot apply epoch {step.epoch}: {reason}",
        hint="mend what the reason says and run the job again: the epoch stays prepared and is tried again first",
        sink=step.sink,
        slot=step.slot,
        epoch=step.epoch,
        reason=reason,
    )
