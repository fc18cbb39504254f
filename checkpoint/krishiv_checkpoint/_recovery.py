"""Taking a job over and bringing it to one known state, by a fresh process, on another host if need be.

The order is fixed (P1, P2, P5, P9, P11, P15, P16):

1. a takeover entry fences older writers, and only then is the log read for good;
2. the state to restore is found and has to fit the plan; every sink's own record has to fit the state;
3. what the checkpoint holds prepared is committed, oldest first;
4. where another state or lineage takes the tip's place, one manifest says so: that entry is the point of no return;
5. what dead attempts prepared and no manifest lists is aborted.

A refusal before step 4 leaves the state as it was. What step 4 wrote holds: from then on ``restore="latest"`` goes on
from it, and needs no more the leave that `on_sink_ahead`, `state_map` and `drop_state` gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from krishiv_checkpoint._attempt import Attempt, RetryPolicy, utc_now
from krishiv_checkpoint._errors import CorruptManifest, OtherTopology
from krishiv_checkpoint._failpoints import failpoint
from krishiv_checkpoint._identity import map_state, new_writer
from krishiv_checkpoint._job_log import JobLog
from krishiv_checkpoint._keys import check_name
from krishiv_checkpoint._recovery_steps import OpenCommitters, Recovery, RecoveryRequest
from krishiv_checkpoint._savepoints import load_savepoint
from krishiv_checkpoint._sink_survey import OnSinkAhead
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from krishiv_checkpoint._entries import Fingerprint, Manifest
    from krishiv_checkpoint._log_view import LogView
    from krishiv_checkpoint._seams import CheckpointStore

__all__ = ["OpenCommitters", "begin_attempt"]

_LATEST, _NOTHING = "latest", "none"


def begin_attempt(
    store: CheckpointStore,
    *,
    job: str,
    fingerprint: Fingerprint,
    open_committers: OpenCommitters,
    writer: str | None = None,
    restore: str = _LATEST,
    on_sink_ahead: OnSinkAhead = "refuse",
    state_map: Mapping[str, str] | None = None,
    drop_state: Collection[str] = (),
    retry: RetryPolicy | None = None,
    now: Callable[[], str] = utc_now,
) -> Attempt:
    """Take `job` over and recover it.

    Blocks as long as sinks need to apply what was prepared.

    Parameters
    ----------
    store : CheckpointStore
        The job's.
    fingerprint : Fingerprint
        Of the plan to run (P3).
    open_committers : callable (lineage, token) -> mapping of sink id to Committer
        Called once, and once more if the attempt goes on under a new lineage: then the later ones stand.
    writer : str, optional
        Unique id of this attempt's writer.
    restore : str
        ``"latest"``; ``"none"`` to begin anew; or a savepoint, by name or absolute directory.
    on_sink_ahead : {"refuse", "duplicate", "rewind"}
        What to do if a sink holds epochs that the state to restore does not know, or output of another lineage.
    state_map, drop_state
        As `map_state` takes them.

    Raises
    ------
    CorruptManifest, CorruptState, FutureFormat
        If the log or the savepoint cannot be used. A damaged log stops only ``restore="latest"``.
    OtherTopology, SavepointMissing
        If there is no such state, or it does not fit the plan; also if the job has finished with another plan.
    SinkAhead, SinkBehind, ForeignMarks
        If a sink does not fit the state (P15).
    CommitFailed
        If a sink can never apply what it prepared (P5).
    Fenced
        If yet another attempt took over.
    """
    if on_sink_ahead not in get_args(OnSinkAhead):
        valid = ", ".join(get_args(OnSinkAhead))
        raise ConfigurationError(f"on_sink_ahead is {on_sink_ahead!r}", hint=f"use one of {valid}")
    request = RecoveryRequest(
        store=store,
        job=check_name("job", job),
        fingerprint=fingerprint,
        open_committers=open_committers,
        writer=writer or new_writer(),
        latest=restore == _LATEST,
        savepoint=None if restore in (_LATEST, _NOTHING) else load_savepoint(store, restore),
        on_sink_ahead=on_sink_ahead,
        state_map=dict(state_map or {}),
        drop_state=frozenset(drop_state),
        retry=retry or RetryPolicy(),
        now=now,
    )
    log = JobLog(store)
    # A finished job is not even taken over: its result can be asked for as often as one likes (P7).
    view = log.read() if request.latest else None
    if view is None or not view.finish:
        view = _take_over(request, log)
    if request.latest and view.finish:
        return _finished(request, log, view)
    return Recovery(request, log, view).run()


def _take_over(request: RecoveryRequest, log: JobLog) -> LogView:
    failpoint("takeover.before")
    try:
        view = log.take_over(request.takeover)
    except CorruptManifest:
        if request.latest:
            raise
        view = log.take_over_damaged(request.takeover_damaged)
    failpoint("takeover.after")
    return view


def _finished(request: RecoveryRequest, log: JobLog, view: LogView) -> Attempt:
    manifest = view.manifest
    if manifest is not None:
        _check_finished(request, manifest)
    return Attempt(
        job=request.job,
        lineage=view.lineage,
        token=view.token,
        writer=request.writer,
        log=log,
        manifest=manifest,
        operators=manifest.operators if manifest else (),
        committed_through=manifest.committed_through if manifest else {},
        next_epoch=view.highest_epoch + 1,
        finished=view.finish,
    )


def _check_finished(request: RecoveryRequest, manifest: Manifest) -> None:
    """Refuse to give one pipeline's result out as that of another."""
    mapped = [request.state_map.get(operator.id, operator.id) for operator in manifest.fingerprint.operators]
    new = [operator.id for operator in request.fingerprint.operators if operator.id not in mapped]
    problem = f"{', '.join(map(repr, new))} is new" if new else ""
    try:
        map_state(manifest, request.fingerprint, request.state_map, request.drop_state)
    except OtherTopology as other:
        problem = other.message
    if problem:
        raise OtherTopology(
            f"job {request.job!r} has finished, with another pipeline: {problem}",
            hint='give this pipeline a job name of its own, or begin anew with restore="none" and another output',
            job=request.job,
        )
