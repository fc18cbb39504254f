"""Broken variants, each of one rule of the protocol. The simulator has to notice every one of them.

They replace parts of the product or of the model for the length of a run; the product itself has no such switches.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from unittest import mock

from krishiv_checkpoint import CommitOutcome, JobLog, _retention, _sink_survey, staged_key
from krishiv_checkpoint._commits import CommitLedger, LaneState
from krishiv_checkpoint._log_view import LogView
from krishiv_checkpoint._recovery_steps import Recovery
from krishiv_checkpoint._steps import Steps
from tests.simulate import outside
from tests.simulate.outside import StagedName
from tests.simulate.process import Process
from tests.simulate.sinks import FileSink
from tests.simulate.tasks import CountTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from krishiv_checkpoint import Committable, Takeover
    from krishiv_checkpoint import _instructions as do
    from krishiv_checkpoint._entries import LogEntry
    from krishiv_checkpoint._log_record import LogRecord
    from krishiv_checkpoint._recovery_rules import Difference

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """A rule, how it is broken, and the break.

    Parameters
    ----------
    applied : callable
        Breaks the rule within a ``with`` block.
    """

    rule: str
    how: str
    applied: Callable[[], AbstractContextManager[None]]


def _patch(*targets: tuple[object, str, object]) -> Callable[[], AbstractContextManager[None]]:
    @contextlib.contextmanager
    def applied() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for target, name, replacement in targets:
                stack.enter_context(mock.patch.object(target, name, replacement))
            yield

    return applied


# ---------------------------------------------------------------- P4


def _abort_failed(self: Process, epoch: int) -> None:
    """Abort a failed epoch at once: tasks and coordinator forget what was prepared for it."""
    for count in self.counts:
        count._carried = [c for c in count._carried if c.epoch != epoch]
    assert self.coordinator is not None
    known = self.coordinator._ledger._known
    for key in [key for key in known if key[2] == epoch]:
        del known[key]


def _no_chain(self: CommitLedger, slot: list[Committable]) -> None:
    """Do not look for gaps: they are what this mutant makes."""


def _clear_at_once(self: CountTask) -> None:
    """Take a snapshot for complete as soon as it is taken."""
    self._changed = {}


# ---------------------------------------------------------------- P5

_pending = CommitLedger.pending
_publish = CommitLedger.publish


def _only_the_newest(self: CommitLedger) -> tuple[Committable, ...]:
    """List the committables of the newest epoch alone."""
    pending = _pending(self)
    newest = max((c.epoch for c in pending), default=0)
    return tuple(c for c in pending if c.epoch == newest)


def _newest_first(self: CommitLedger, manifest: Iterable[Committable]) -> None:
    """Let newer epochs overtake older ones that have not begun."""
    _publish(self, manifest)
    for lane in self._lanes.values():
        begun = [] if lane.state is LaneState.IDLE else [lane.listed.popleft()]
        lane.listed = deque([*begun, *sorted(lane.listed, reverse=True, key=lambda listed: listed[0])])


def _forget_failures(self: Steps, instruction: do.Commit) -> CommitOutcome:
    """Log what a commit says, and go on as if it had succeeded."""
    with contextlib.suppress(OSError):
        self._committers[instruction.sink].commit(instruction.epoch, instruction.committables)
    return CommitOutcome.done()


def _retire_what_is_pending(keys: object, view: LogView, held: object, own_token: int) -> list[str]:
    """Remove staged files as soon as a manifest lists them."""
    pending = view.manifest.pending if view.manifest else ()
    return [staged_key(c.sink, c.token, c.epoch, c.slot) for c in pending if c.sink == "table"]


# ---------------------------------------------------------------- P9


def _read_before_takeover(self: JobLog, make: Callable[[LogView], Takeover]) -> LogView:
    """Recover from the log as it was before the takeover was in it."""
    before = self.read()
    entry = make(before)
    self.append(entry)
    return replace(before, token=entry.token, writer=entry.writer, lineage=entry.lineage)


def _never_fenced(self: JobLog, entry: LogEntry) -> None:
    """Go on behind whoever was faster, whatever their token."""


_after = LogView._after


def _any_token(self: LogView, record: LogRecord) -> LogView:
    """Read a lower token behind a higher one without complaint."""
    view = _after(replace(self, token=0), record)
    return replace(view, token=max(view.token, self.token))


# ---------------------------------------------------------------- P11


def _no_token(self: FileSink, token: int, epoch: int, slot: int) -> StagedName:
    """Name staged files without their token."""
    return StagedName(self.who.lineage, 0, epoch, slot)


def _abort_everything(self: Recovery, since: int) -> None:
    """Abort whatever is prepared, without a fresh look at the log or at the tokens."""
    for committer in self._committers.values():
        committer.abort(committer.list_prepared(self._lineage))


def _all_of_the_directory(self: FileSink, epoch: int, listed: dict[StagedName, str]) -> list[StagedName]:
    """Publish what the staging directory holds for the epoch."""
    return [name for name in self.files.staged if name.epoch == epoch]


# ---------------------------------------------------------------- P14, P15


def _no_comparison(mark: int, previous: int) -> None:
    """Move the mark whatever it says."""


def _all_fit(sink: object) -> list[Difference]:
    """Never compare a sink's own record with the checkpoint."""
    return []


MUTANTS: dict[str, Mutant] = {
    "P4-abort": Mutant(
        "P4",
        "a failed epoch is aborted while its attempt lives",
        _patch((Process, "epoch_failed", _abort_failed), (CommitLedger, "_check_chain", _no_chain)),
    ),
    "P4-dirty": Mutant(
        "P4", "dirty sets clear when a snapshot is taken", _patch((CountTask, "snapshot_taken", _clear_at_once))
    ),
    "P5-newest": Mutant(
        "P5",
        "a manifest lists its own epoch's committables only",
        _patch((CommitLedger, "pending", _only_the_newest)),
    ),
    "P5-order": Mutant("P5", "newer epochs are committed first", _patch((CommitLedger, "publish", _newest_first))),
    "P5-forget": Mutant(
        "P5", "a commit that failed is taken for done", _patch((Steps, "_commit_once", _forget_failures))
    ),
    "P5-retire": Mutant(
        "P5",
        "staged data retires before a later manifest records it committed",
        _patch((_retention, "superfluous_files", _retire_what_is_pending)),
    ),
    "P9-read-first": Mutant(
        "P9",
        "recovery uses the log as it was before the takeover",
        _patch((JobLog, "take_over", _read_before_takeover)),
    ),
    "P9-no-fence": Mutant(
        "P9",
        "a writer that loses a create goes on behind a higher token",
        _patch((JobLog, "_check_holder", _never_fenced), (LogView, "_after", _any_token)),
    ),
    "P11-names": Mutant("P11", "staged names carry no token", _patch((FileSink, "name", _no_token))),
    "P11-abort": Mutant(
        "P11", "recovery aborts everything, without a fresh read", _patch((Recovery, "_abort", _abort_everything))
    ),
    "P11-directory": Mutant(
        "P11", "a commit publishes what the directory holds", _patch((FileSink, "collect", _all_of_the_directory))
    ),
    "P14": Mutant("P14", "apply does not compare the mark", _patch((outside, "compare_and_set", _no_comparison))),
    "P15": Mutant("P15", "sinks are not compared with the checkpoint", _patch((_sink_survey, "compare", _all_fit))),
}
