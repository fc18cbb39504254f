"""The steps of a recovery, after the takeover: the state, the sinks, the commits, the fork, the aborts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from krishiv_checkpoint._attempt import Attempt, RetryPolicy, commit_step
from krishiv_checkpoint._entries import FORMAT, Fingerprint, Manifest, Takeover
from krishiv_checkpoint._errors import CommitFailed, ForeignMarks, SinkAhead, SinkBehind
from krishiv_checkpoint._failpoints import failpoint
from krishiv_checkpoint._identity import MappedState, map_state, new_lineage
from krishiv_checkpoint._log_view import LogView, is_damaged
from krishiv_checkpoint._records import BarrierKind
from krishiv_checkpoint._recovery_rules import committed_after, leftovers, next_epoch, plan_commits
from krishiv_checkpoint._savepoints import Savepoint, import_state
from krishiv_checkpoint._seams import CheckpointStore, Committer
from krishiv_checkpoint._sink_survey import Expectation, OnSinkAhead, SinkSurvey
from krishiv_checkpoint._stores import read_verified

if TYPE_CHECKING:
    from krishiv_checkpoint._job_log import JobLog
    from krishiv_checkpoint._recovery_rules import SinkState

__all__ = ["OpenCommitters", "Recovery", "RecoveryRequest"]

OpenCommitters = Callable[[str, int], Mapping[str, Committer]]
"""Opens the committer of every two-phase sink under a lineage and a token; closing them is the caller's."""


@dataclass(frozen=True, kw_only=True)
class RecoveryRequest:
    """What `begin_attempt` was asked for."""

    store: CheckpointStore
    job: str
    fingerprint: Fingerprint
    open_committers: OpenCommitters
    writer: str
    latest: bool
    savepoint: Savepoint | None
    on_sink_ahead: OnSinkAhead
    state_map: Mapping[str, str]
    drop_state: frozenset[str]
    retry: RetryPolicy
    now: Callable[[], str]

    def takeover(self, view: LogView) -> Takeover:
        """Return the entry that takes over a log that says `view`."""
        base = "tip" if view.records else "empty"
        lineage = view.lineage or new_lineage()
        return Takeover(FORMAT, self.job, lineage, view.token + 1, self.writer, view.highest_epoch, base)

    def takeover_damaged(self, token: int) -> Takeover:
        """Return the entry that takes over a log that cannot be read."""
        return Takeover(FORMAT, self.job, "", token, self.writer, 0, "damaged")


@dataclass(frozen=True)
class _Outcome:
    """What the sinks turned out to be, and what follows from it."""

    sinks: list[SinkState]
    overlap: tuple[str, ...]
    next_epoch: int
    new_lineage: bool


class Recovery:
    """Steps 2 to 5 for one attempt."""

    def __init__(self, request: RecoveryRequest, log: JobLog, view: LogView) -> None:
        self._request = request
        self._log = log
        self._view = view
        self._base = request.savepoint.manifest if request.savepoint else view.manifest if request.latest else None
        # A savepoint of the lineage that the log is in continues it; of any other, and nothing at all, is a fork (P1).
        continues = request.latest or (self._base is not None and self._base.lineage == view.lineage)
        self._lineage = view.lineage if continues else new_lineage()
        self._committers: Mapping[str, Committer] = {}

    def run(self) -> Attempt:
        """Recover; see `begin_attempt` for what may be raised."""
        state = self._map_state()
        self._open(self._lineage)
        self._check_not_left()
        survey = SinkSurvey(self._committers, self._request.job, self._expectation(state), self._request.retry)
        try:
            outcome = self._settle(survey)
            committed = self._commit(state, outcome.sinks)
        except (CommitFailed, ForeignMarks, SinkAhead, SinkBehind):
            self._log.read_as(self._view.token)  # a newer attempt may have gone past this one: then that is the error
            raise
        if outcome.new_lineage:
            self._open(new_lineage())
            committed = {}
        manifest, since = self._base, 1
        if self._replaces_tip(state, outcome):
            manifest, since = self._replace_tip(state, committed, outcome)
        self._abort(since)
        self._look_again(survey, outcome)
        failpoint("recovery.after_restore")
        return Attempt(
            job=self._request.job,
            lineage=self._lineage,
            token=self._view.token,
            writer=self._request.writer,
            log=self._log,
            manifest=manifest,
            operators=manifest.operators if manifest else (),
            committed_through=committed,
            next_epoch=outcome.next_epoch,
            committers=self._committers,
            overlap=outcome.overlap,
        )

    def _map_state(self) -> MappedState:
        if self._base is None:
            return MappedState((), {})
        return map_state(self._base, self._request.fingerprint, self._request.state_map, self._request.drop_state)

    def _open(self, lineage: str) -> None:
        self._lineage = lineage
        self._committers = self._request.open_committers(lineage, self._view.token)

    def _expectation(self, state: MappedState) -> Expectation:
        base, savepoint = self._base, self._request.savepoint
        return Expectation(
            lineage=savepoint.manifest.lineage if savepoint else self._lineage,
            epoch=base.epoch if base else 0,
            committed=state.committed_through,
            pending=base.pending if base else (),
            own=base is None or base.job == self._request.job,
        )

    def _settle(self, survey: SinkSurvey) -> _Outcome:
        request, expected = self._request, survey.expected
        begins = self._base is None or self._lineage != self._view.lineage
        foreign = survey.foreign({self._lineage, expected.lineage}, request.on_sink_ahead) if begins else ()
        found = survey.look()
        if request.on_sink_ahead == "rewind":
            self._prove_savepoint()
            self._log.read_as(self._view.token)  # a zombie takes nothing back
        fits, ahead = survey.accept(found, request.on_sink_ahead)
        highest = max(self._view.highest_epoch, self._base.highest_epoch if self._base else 0)
        forks = bool(ahead) and expected.lineage == self._lineage
        return _Outcome(fits, (*foreign, *ahead), next_epoch(highest, found), forks)

    def _prove_savepoint(self) -> None:
        # Once output is taken back, the tip no longer fits: the savepoint must not turn out to be damaged after that.
        if savepoint := self._request.savepoint:
            for snapshot in savepoint.manifest.operators:
                for file in snapshot.files:
                    read_verified(savepoint.store, file)

    def _commit(self, state: MappedState, sinks: list[SinkState]) -> dict[str, dict[str, int]]:
        failpoint("recovery.before_commit")
        committed = dict(state.committed_through)
        for sink in sinks:
            for step in plan_commits(sink):
                commit_step(self._committers[sink.sink], step, self._lineage, self._request.retry)
            if known := committed_after(sink):
                committed[sink.sink] = known
        failpoint("recovery.after_commit")
        return committed if self._lineage == self._view.lineage else {}

    def _replaces_tip(self, state: MappedState, outcome: _Outcome) -> bool:
        remapped = self._base is not None and state.operators != self._base.operators
        dropped = self._base is not None and state.committed_through.keys() != self._base.committed_through.keys()
        return not self._request.latest or bool(outcome.overlap) or remapped or dropped

    def _replace_tip(
        self, state: MappedState, committed: dict[str, dict[str, int]], outcome: _Outcome
    ) -> tuple[Manifest, int]:
        failpoint("recovery.before_fork")
        request, view = self._request, self._view
        operators = state.operators
        if request.savepoint:
            operators = import_state(request.savepoint, operators, request.store, view.token)
        manifest = Manifest(
            format=FORMAT,
            job=request.job,
            lineage=self._lineage,
            token=view.token,
            writer=request.writer,
            epoch=self._base.epoch if self._base else view.highest_epoch,
            highest_epoch=outcome.next_epoch - 1,
            kind=BarrierKind.CHECKPOINT,
            fingerprint=request.fingerprint,
            operators=operators,
            committed_through=committed,
            pending=(),
            created=request.now(),
            left=self._left(),
        )
        damaged = any(record.entry.token == view.token and is_damaged(record.entry) for record in view.records)
        record = self._log.append(manifest, anew=damaged)
        failpoint("recovery.after_fork")
        return manifest, record.sequence

    def _left(self) -> tuple[tuple[int, int], ...]:
        """Return where the lineage went back, this time included."""
        if self._lineage != self._view.lineage or self._view.manifest is None:
            return ()
        savepoint = self._request.savepoint
        now = ((self._view.token, savepoint.manifest.epoch),) if savepoint else ()
        return self._view.manifest.left + now

    def _check_not_left(self) -> None:
        """Refuse a savepoint whose output was taken back: to rewind the sinks to it would destroy what they hold."""
        savepoint, tip = self._request.savepoint, self._view.manifest
        if savepoint is None or tip is None or self._lineage != self._view.lineage or not self._committers:
            return
        for token, epoch in tip.left:
            if savepoint.manifest.token < token and savepoint.manifest.epoch > epoch:
                raise SinkBehind(
                    f"savepoint {savepoint.location!r} holds epoch {savepoint.manifest.epoch}, but the job went back "
                    f"to epoch {epoch} after it, and what came between is not in the sinks any more",
                    hint=f"restore a savepoint up to epoch {epoch}, or one that was taken since",
                    savepoint=savepoint.location,
                    epoch=epoch,
                )

    def _abort(self, since: int) -> None:
        """Abort what dead attempts prepared and no manifest from entry `since` on lists, in every lineage here."""
        failpoint("recovery.before_abort")
        token = self._view.token
        for lineage in filter(None, dict.fromkeys([self._view.lineage, self._lineage])):
            for sink, committer in self._committers.items():
                prepared = self._request.retry.call(partial(committer.list_prepared, lineage))
                manifests = list(self._log.read_as(token).manifests(since))
                if doomed := leftovers(sink, prepared, manifests, token):
                    committer.abort(doomed)
        failpoint("recovery.after_abort")

    def _look_again(self, survey: SinkSurvey, outcome: _Outcome) -> None:
        # What the tip held prepared is aborted by now if a savepoint took its place within the lineage. If a zombie got
        # to commit it before that, it shows.
        goes_back = self._request.savepoint and survey.expected.lineage == self._lineage
        if goes_back and not outcome.overlap and (ahead := survey.ahead(survey.look())):
            raise survey.sink_ahead(ahead)
