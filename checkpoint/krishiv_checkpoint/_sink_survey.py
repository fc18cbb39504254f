"""Asking every sink what it has applied, and deciding with the user's leave what a disagreement means (P15)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from krishiv_checkpoint._errors import ForeignMarks, OtherTopology, SinkAhead, SinkBehind
from krishiv_checkpoint._records import CommitScope
from krishiv_checkpoint._recovery_rules import Difference, DifferenceKind, SinkState, compare, foreign_marks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from krishiv_checkpoint._attempt import RetryPolicy
    from krishiv_checkpoint._records import Committable, Mark
    from krishiv_checkpoint._seams import Committer

__all__ = ["Expectation", "OnSinkAhead", "SinkSurvey"]

OnSinkAhead = Literal["refuse", "duplicate", "rewind"]
"""What to do about a sink that holds more than the checkpoint (P15)."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the state to restore says about the sinks.

    Parameters
    ----------
    lineage : str
        The lineage that their marks are under.
    epoch : int
        The state's epoch; 0 for none.
    committed : mapping of sink id to mapping of slot to epoch
        What is recorded as applied; slots are decimal strings.
    pending : tuple of Committable
        What is prepared above that.
    own : bool
        The state was this job's, not another one's: what it wrote must be there, and may be taken back.
    """

    lineage: str
    epoch: int
    committed: Mapping[str, Mapping[str, int]]
    pending: tuple[Committable, ...]
    own: bool


class SinkSurvey:
    """The sinks of one job, compared with what a checkpoint expects of them.

    Parameters
    ----------
    committers : mapping of sink id to Committer
        Every two-phase sink of the plan.
    job : str
        Whose marks count as output of this job.
    """

    def __init__(
        self, committers: Mapping[str, Committer], job: str, expectation: Expectation, retry: RetryPolicy
    ) -> None:
        self._committers = committers
        self.expected = expectation
        self._retry = retry
        self._job = job
        self._check_complete()
        self._marks = {sink: retry.call(partial(committer.marks, job)) for sink, committer in committers.items()}

    def foreign(self, known: Collection[str], on_sink_ahead: OnSinkAhead) -> tuple[str, ...]:
        """Return which sinks hold output of this job under lineages other than `known`.

        Raises
        ------
        ForeignMarks
            If there are some, and the user did not accept duplicates.
        """
        found = {sink: foreign_marks(marks, known) for sink, marks in self._marks.items()}
        lines = tuple(_foreign_line(sink, marks) for sink, marks in found.items() if marks)
        if lines and on_sink_ahead != "duplicate":
            raise ForeignMarks(
                f"job {self._job!r} begins anew, but its output is there already: " + "; ".join(lines),
                hint="give the job its old data_dir or a savepoint; or another output or job name; or accept that "
                'rows are written twice with on_sink_ahead="duplicate"',
                sinks=[sink for sink, marks in found.items() if marks],
            )
        return lines

    def look(self) -> list[SinkState]:
        """Ask every sink for its own record of every slot that anyone knows of.

        Old slots of another parallelism are asked too: that is what fences and finishes them (P16).
        """
        return [self._look_at(sink, committer) for sink, committer in self._committers.items()]

    def accept(self, found: list[SinkState], on_sink_ahead: OnSinkAhead) -> tuple[list[SinkState], tuple[str, ...]]:
        """Return the sinks as they are once they fit, and which epochs will be written twice.

        Raises
        ------
        SinkBehind
            If a sink lost what was committed to it.
        SinkAhead
            If a sink holds what the state does not know, and nothing else was asked for or possible.
        """
        ahead = self.ahead(found)
        if not ahead:
            return found, ()
        if on_sink_ahead == "duplicate":
            return found, tuple(map(str, ahead))
        if on_sink_ahead == "refuse" or not self._rewind({difference.sink for difference in ahead}):
            raise self.sink_ahead(ahead)
        found = self.look()
        if ahead := self.ahead(found):
            raise self.sink_ahead(ahead)
        return found, ()

    def ahead(self, found: list[SinkState]) -> list[Difference]:
        """Return where sinks are ahead; raise `SinkBehind` where one is behind."""
        differences = [difference for sink in found for difference in compare(sink)]
        behind = [d for d in differences if d.kind is DifferenceKind.BEHIND and (self.expected.own or d.applied)]
        if behind:
            raise SinkBehind(
                "output that was committed is gone: " + "; ".join(map(str, behind)),
                hint="restore the sink's data as it was; or restore from a savepoint at or before what the sink holds, "
                'or begin anew with restore="none", with the output moved away or on_sink_ahead="duplicate"',
                sinks=[difference.sink for difference in behind],
            )
        return [difference for difference in differences if difference.kind is DifferenceKind.AHEAD]

    def sink_ahead(self, ahead: list[Difference]) -> SinkAhead:
        """Return the error that names the epochs."""
        return SinkAhead(
            f"the state to restore ends at epoch {self.expected.epoch}, but " + "; ".join(map(str, ahead)),
            hint='restore a newer state; or take those epochs back with on_sink_ahead="rewind" where the sink can; or '
            'accept that their rows are written twice with on_sink_ahead="duplicate"',
            sinks=[difference.sink for difference in ahead],
            epochs={d.sink: (d.checkpoint + 1, d.applied) for d in ahead},
        )

    def _check_complete(self) -> None:
        missing = sorted({c.sink for c in self.expected.pending} - set(self._committers))
        if missing:
            raise OtherTopology(
                f"sinks {', '.join(missing)} have epochs that are prepared and not committed, and cannot commit now",
                hint="run the job once as it was, then stop it with a savepoint and restore that",
                operators=missing,
            )

    def _look_at(self, sink: str, committer: Committer) -> SinkState:
        expected, scope = self.expected, committer.commit_scope
        committed = {int(slot): epoch for slot, epoch in expected.committed.get(sink, {}).items()}
        pending = tuple(c for c in expected.pending if c.sink == sink)
        marked = {mark.slot for mark in self._marks[sink] if mark.lineage == expected.lineage}
        slots = sorted({*committed, *(c.slot for c in pending), *marked})
        asked = slots[:1] if scope is CommitScope.EPOCH else slots
        applied = {slot: self._last_applied(committer, slot) for slot in asked}
        return SinkState(sink=sink, scope=scope, committed=committed, pending=pending, applied=applied)

    def _last_applied(self, committer: Committer, slot: int) -> int:
        return self._retry.call(partial(committer.last_applied, self.expected.lineage, slot)) or 0

    def _rewind(self, sinks: Collection[str]) -> bool:
        # Output of another job is not ours to take back.
        return self.expected.own and all(
            self._committers[sink].rewind(self.expected.lineage, self.expected.epoch) for sink in sorted(sinks)
        )


def _foreign_line(sink: str, marks: Sequence[Mark]) -> str:
    newest = max(mark.epoch for mark in marks)
    lineages = sorted({mark.lineage[:8] for mark in marks})
    return f"sink {sink!r} holds epochs up to {newest} of lineage {', '.join(lineages)}"
