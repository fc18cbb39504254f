"""The blocking steps: each takes an instruction, does its I/O, and returns the event that answers it.

They hold no threads and no clock, so that the driver runs them on its workers and the simulator between its crashes.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from krishiv_checkpoint import _events as ev
from krishiv_checkpoint import _instructions as do
from krishiv_checkpoint._attempt import utc_now
from krishiv_checkpoint._entries import FORMAT, Finish, Manifest
from krishiv_checkpoint._errors import KeyMissing, StoreFull, StoreUnwritable
from krishiv_checkpoint._failpoints import failpoint
from krishiv_checkpoint._records import CommitOutcome, CommitStatus
from krishiv_checkpoint._retention import retire
from krishiv_checkpoint._savepoints import create_savepoint
from krishiv_guarantees import ConfigurationError, FatalError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krishiv_checkpoint._attempt import Attempt
    from krishiv_checkpoint._entries import Fingerprint
    from krishiv_checkpoint._seams import CheckpointStore, Committer

__all__ = ["Blocking", "Steps"]

_log = logging.getLogger("krishiv_checkpoint")

Blocking = do.WriteManifest | do.WriteFinish | do.WriteSavepoint | do.Commit | do.Retire
"""The instructions that do I/O."""

_EVERY = sys.maxsize


class Steps:
    """Does the I/O of one attempt.

    Parameters
    ----------
    attempt : Attempt
        In whose name everything is written.
    committers : mapping of sink id to Committer
        The two-phase sinks.
    fingerprint : Fingerprint
        Of the running plan.
    keep : int
        How many manifests stay restorable.
    """

    def __init__(
        self,
        attempt: Attempt,
        store: CheckpointStore,
        committers: Mapping[str, Committer],
        fingerprint: Fingerprint,
        keep: int,
    ) -> None:
        self._attempt = attempt
        self._store = store
        self._committers = committers
        self._fingerprint = fingerprint
        self._keep = keep
        self._manifest: Manifest | None = None

    def perform(self, instruction: Blocking, stimulus_id: str) -> ev.Event | None:
        """Do what `instruction` says; None if nothing is to be answered.

        An error that is no part of any plan comes back as `StepFailed`: being fenced is one. Only what is no
        `Exception` is raised.
        """
        try:
            return self._perform(instruction, stimulus_id)
        except Exception as error:
            return ev.StepFailed(stimulus_id=stimulus_id, error=error)

    def _perform(self, instruction: Blocking, stimulus_id: str) -> ev.Event | None:
        match instruction:
            case do.WriteManifest():
                return self._write_manifest(instruction, stimulus_id)
            case do.WriteFinish():
                return self._write_finish(instruction, stimulus_id)
            case do.WriteSavepoint():
                return self._write_savepoint(instruction, stimulus_id)
            case do.Commit():
                return self._commit(instruction, stimulus_id)
            case do.Retire():
                self._retire()
                return None

    def _write_manifest(self, instruction: do.WriteManifest, stimulus_id: str) -> ev.Event:
        epoch = instruction.epoch
        try:
            self._attempt.log.keep_manifests(_EVERY if instruction.hold else self._keep)
            failpoint("manifest.before")
            self._append_manifest(instruction)
            failpoint("manifest.after")
        except (StoreFull, StoreUnwritable) as error:
            return ev.ManifestFailed(stimulus_id=stimulus_id, epoch=epoch, error=error)
        except (RetriableError, OSError) as error:
            _log.warning("job %s: it is unknown whether epoch %d is in the log: %s", self._attempt.job, epoch, error)
            return ev.ManifestUnknown(stimulus_id=stimulus_id, epoch=epoch, error=error)
        return ev.ManifestWritten(stimulus_id=stimulus_id, epoch=epoch)

    def _append_manifest(self, instruction: do.WriteManifest) -> None:
        log, token = self._attempt.log, self._attempt.token
        if instruction.tries:
            written = {(manifest.token, manifest.epoch) for manifest in log.read_as(token).manifests()}
            if (token, instruction.epoch) in written:
                return
        if self._manifest is None or self._manifest.epoch != instruction.epoch:
            self._manifest = self._make_manifest(instruction)
        log.append(self._manifest)

    def _make_manifest(self, instruction: do.WriteManifest) -> Manifest:
        attempt = self._attempt
        return Manifest(
            format=FORMAT,
            job=attempt.job,
            lineage=attempt.lineage,
            token=attempt.token,
            writer=attempt.writer,
            epoch=instruction.epoch,
            highest_epoch=instruction.highest_epoch,
            kind=instruction.kind,
            fingerprint=self._fingerprint,
            operators=instruction.operators,
            committed_through=_as_stored(instruction.committed_through),
            pending=instruction.pending,
            created=utc_now(),
            left=attempt.manifest.left if attempt.manifest else (),
        )

    def _write_finish(self, instruction: do.WriteFinish, stimulus_id: str) -> ev.Event:
        log, token = self._attempt.log, self._attempt.token
        try:
            failpoint("finish.before")
            if log.read_as(token).finish is None:
                log.append(Finish(FORMAT, token, self._attempt.writer, instruction.epoch, instruction.kind))
            failpoint("finish.after")
        except (StoreFull, StoreUnwritable, RetriableError, OSError) as error:
            return ev.FinishFailed(stimulus_id=stimulus_id, error=error)
        return ev.FinishWritten(stimulus_id=stimulus_id)

    def _write_savepoint(self, instruction: do.WriteSavepoint, stimulus_id: str) -> ev.Event:
        request, location = instruction.request, instruction.location
        try:
            create_savepoint(
                self._attempt.log,
                self._written_manifest(instruction.epoch),
                location,
                _as_stored(instruction.committed_through),
            )
        except (ConfigurationError, KeyMissing, StoreFull, RetriableError, OSError) as error:
            return ev.SavepointFailed(stimulus_id=stimulus_id, request=request, error=error)
        return ev.SavepointWritten(stimulus_id=stimulus_id, request=request, location=location)

    def _written_manifest(self, epoch: int) -> Manifest:
        token = self._attempt.token
        for manifest in self._attempt.log.read_as(token).manifests():
            if (manifest.token, manifest.epoch) == (token, epoch):
                return manifest
        raise KeyMissing(f"epoch {epoch} is not in the log any more", key=str(epoch))

    def _commit(self, instruction: do.Commit, stimulus_id: str) -> ev.Event:
        sink, slot, epoch = instruction.sink, instruction.slot, instruction.epoch
        try:
            outcome = self._commit_once(instruction)
        except RetriableError as error:
            outcome = CommitOutcome.retry(str(error), error.after)
        except OSError as error:
            return ev.CommitRaised(stimulus_id=stimulus_id, sink=sink, slot=slot, epoch=epoch, error=error)
        if outcome.status is CommitStatus.RETRY_LATER and not instruction.tries:
            _log.warning(
                "job %s: sink %r cannot apply epoch %d yet: %s", self._attempt.job, sink, epoch, outcome.reason
            )
        return ev.CommitEnded(stimulus_id=stimulus_id, sink=sink, slot=slot, epoch=epoch, outcome=outcome)

    def _commit_once(self, instruction: do.Commit) -> CommitOutcome:
        committer = self._committers[instruction.sink]
        if instruction.tries:  # what became of the last try is unknown: the sink's own record says (P5)
            slot = instruction.committables[0].slot
            if (committer.last_applied(self._attempt.lineage, slot) or 0) >= instruction.epoch:
                return CommitOutcome.already_done()
        failpoint("commit.before")
        try:
            outcome = committer.commit(instruction.epoch, instruction.committables)
        except FatalError:
            self._attempt.log.read_as(self._attempt.token)  # a newer attempt may have removed what was to be committed
            raise
        failpoint("commit.after")
        if outcome.status is CommitStatus.FAILED:
            self._attempt.log.read_as(self._attempt.token)  # a newer attempt may have gone past this one
        return outcome

    def _retire(self) -> None:
        try:
            retire(self._attempt.log, self._store, self._keep, self._attempt.token)
        except (StoreFull, StoreUnwritable, RetriableError, OSError) as error:
            _log.warning("job %s: what is superfluous stays for now: %s", self._attempt.job, error)


def _as_stored(committed_through: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {sink: {str(slot): slots[slot] for slot in sorted(slots)} for sink, slots in committed_through.items()}
