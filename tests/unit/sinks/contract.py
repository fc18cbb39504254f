"""What every two-phase sink has to do, as plain functions over a target: call one with a `Target`, it asserts.

A target is a place that rows go to. `Target.sink` gives a new sink object on it each time, as a new process would make
one; `Target.rows` reads what any reader of the place sees, as sorted row tuples.
"""

from __future__ import annotations

import copy
import os
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from krishiv_checkpoint import CommitScope, CommitStatus, Committable, CorruptState, FailpointError, Fenced
from krishiv_checkpoint._failpoints import arm, disarm
from krishiv_connectors import SinkContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from krishiv_checkpoint import CheckpointStore, CommitOutcome
    from krishiv_connectors import TwoPhaseSink

__all__ = ["CHECKS", "LINEAGE", "OTHER_LINEAGE", "SCHEMA", "Attempt", "Target", "batch", "rows_of"]

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("price", pa.float64())])
_PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "alone")
# Tests that run beside each other share servers, and Kafka's transactional ids are made of these.
LINEAGE = uuid.uuid5(uuid.NAMESPACE_OID, f"a lineage of {_PROCESS}").hex
OTHER_LINEAGE = uuid.uuid5(uuid.NAMESPACE_OID, f"another lineage of {_PROCESS}").hex
Rows = list[tuple[int, str, float]]


@dataclass(kw_only=True)
class Target:
    """A place and how to reach it.

    Parameters
    ----------
    sink : callable
        Gives a new sink object on the place.
    rows : callable
        Gives what readers see: sorted ``(id, name, price)``.
    damage : callable
        Changes one byte of what a committable refers to, not its size; None where nothing lies open to damage.
    lose : callable
        Removes what a committable refers to.
    store : CheckpointStore
        Of the job.
    rewinds : bool
        Whether the sink can take epochs back.
    """

    sink: Callable[[], TwoPhaseSink]
    rows: Callable[[], Rows]
    lose: Callable[[Committable], None]
    damage: Callable[[Committable], None] | None = None
    store: CheckpointStore | None = None
    rewinds: bool = False


@dataclass
class Attempt:
    """One life of a job at a target: a writer per slot, opened when first used, and a committer."""

    target: Target
    token: int = 1
    lineage: str = LINEAGE
    job: str = "shop"
    sink_id: str = "orders"
    previous: dict[int, int] = field(default_factory=dict[int, int])

    def __enter__(self) -> Attempt:
        self._stack = ExitStack()
        self._sink = self.target.sink()
        self._writers: dict[int, TwoPhaseSink] = {}
        self.committer = self._open(None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._stack.close()

    def write(self, slot: int, *ids: int) -> None:
        """Write one batch with `ids` to `slot`."""
        self.writer(slot).write(batch(*ids))

    def prepare(self, slot: int, epoch: int) -> Committable:
        """Prepare `epoch` of `slot`."""
        payload = self.writer(slot).prepare(epoch)
        previous, self.previous[slot] = self.previous.get(slot, 0), epoch
        return Committable(self.sink_id, slot, epoch, self.token, previous, payload)

    def stage(self, slot: int, epoch: int, *ids: int) -> Committable:
        """Write `ids`, if there are any, and prepare `epoch`."""
        if ids:
            self.write(slot, *ids)
        return self.prepare(slot, epoch)

    def commit(self, *committables: Committable) -> list[CommitStatus]:
        """Commit them as the sink's scope wants it."""
        return [outcome.status for outcome in self.outcomes(*committables)]

    def outcomes(self, *committables: Committable) -> list[CommitOutcome]:
        """Commit them as the sink's scope wants it."""
        epoch = committables[0].epoch
        if self.committer.commit_scope is CommitScope.EPOCH:
            return [self.committer.commit(epoch, committables)]
        return [self.committer.commit(epoch, [committable]) for committable in committables]

    def writer(self, slot: int) -> TwoPhaseSink:
        """Return the writer of `slot`."""
        if slot not in self._writers:
            self._writers[slot] = self._open(slot)
        return self._writers[slot]

    def _open(self, slot: int | None) -> TwoPhaseSink:
        sink = copy.copy(self._sink)
        sink.open(
            SinkContext(
                job=self.job,
                lineage=self.lineage,
                sink_id=self.sink_id,
                slot=slot,
                token=self.token,
                schema=SCHEMA,
                store=self.target.store,
            )
        )
        self._stack.callback(sink.close)
        return sink


def batch(*ids: int) -> pa.RecordBatch:
    """Return one row per id."""
    return pa.RecordBatch.from_pydict(
        {"id": list(ids), "name": [f"n{i}" for i in ids], "price": [i / 4 for i in ids]}, schema=SCHEMA
    )


def rows_of(*ids: int) -> Rows:
    """Return what `Target.rows` gives for `ids`."""
    return [(i, f"n{i}", i / 4) for i in sorted(ids)]


DONE, ALREADY = {CommitStatus.DONE}, {CommitStatus.ALREADY_DONE}


def check_prepared_rows_are_invisible_until_the_commit(target: Target) -> None:
    with Attempt(target) as attempt:
        attempt.write(0, 1, 2)
        attempt.write(0, 3)
        assert target.rows() == []
        committable = attempt.prepare(0, 1)
        attempt.write(0, 4)
        assert target.rows() == []
        assert set(attempt.commit(committable)) == DONE
        assert target.rows() == rows_of(1, 2, 3)
        assert attempt.committer.last_applied(LINEAGE, 0) == 1


def check_a_commit_repeated_is_already_done(target: Target) -> None:
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1, 2)
        assert set(attempt.commit(committable)) == DONE
        assert set(attempt.commit(committable)) == ALREADY
        assert target.rows() == rows_of(1, 2)


def check_a_fresh_process_commits_what_a_dead_one_prepared(target: Target) -> None:
    with Attempt(target) as dead:
        committable = dead.stage(0, 1, 1, 2)
    with Attempt(target, token=2) as fresh:
        assert set(fresh.commit(committable)) == DONE
    with Attempt(target, token=3) as third:
        assert set(third.commit(committable)) == ALREADY
        assert third.committer.last_applied(LINEAGE, 0) == 1
    assert target.rows() == rows_of(1, 2)


def check_a_crash_anywhere_in_a_commit_loses_and_doubles_nothing(target: Target) -> None:
    written: list[int] = []
    crashes, epoch, crashed = 0, 0, True
    while crashed:
        epoch += 1
        ids = [epoch * 10, epoch * 10 + 1, epoch * 10 + 2]
        previous = {0: epoch - 1, 1: epoch - 1}
        with Attempt(target, token=epoch, previous=previous) as dead:
            committables = [dead.stage(0, epoch, *ids[:2]), dead.stage(1, epoch, ids[2])]
            crashed = _crashes_in_commit(dead, committables, at=epoch)
        with Attempt(target, token=epoch + 1) as fresh:
            assert set(fresh.commit(*committables)) <= DONE | ALREADY
            assert set(fresh.commit(*committables)) == ALREADY
        written += ids
        assert target.rows() == rows_of(*written)
        crashes += crashed
    assert crashes >= 2, "the sink passes the failpoint commit.during before and after what it does"


def _crashes_in_commit(attempt: Attempt, committables: list[Committable], at: int) -> bool:
    arm("commit.during", "raise", at)
    try:
        attempt.commit(*committables)
    except FailpointError:
        return True
    finally:
        disarm()
    return False


def check_all_slots_of_an_epoch_are_published(target: Target) -> None:
    with Attempt(target) as attempt:
        first = [attempt.stage(0, 1, 1), attempt.stage(1, 1, 2, 3), attempt.stage(12, 1)]
        assert set(attempt.commit(*first)) == DONE
        second = [attempt.stage(0, 2), attempt.stage(1, 2, 4), attempt.stage(12, 2, 5)]
        assert set(attempt.commit(*second)) == DONE
        assert target.rows() == rows_of(1, 2, 3, 4, 5)
        assert [attempt.committer.last_applied(LINEAGE, slot) for slot in (0, 1, 12)] == [2, 2, 2]


def check_epochs_prepared_before_the_first_commit_are_applied_in_order(target: Target) -> None:
    with Attempt(target) as attempt:
        prepared = [attempt.stage(0, epoch, epoch) for epoch in (3, 4, 7)]
        for committable in prepared:
            assert set(attempt.commit(committable)) == DONE
        assert [set(attempt.commit(committable)) for committable in prepared] == [ALREADY] * 3
        assert target.rows() == rows_of(3, 4, 7)
        assert attempt.committer.last_applied(LINEAGE, 0) == 7


def check_empty_epochs_move_the_mark(target: Target) -> None:
    with Attempt(target) as attempt:
        assert attempt.committer.last_applied(LINEAGE, 0) is None
        committables = [attempt.stage(0, 1), attempt.stage(0, 2, 1), attempt.stage(0, 3), attempt.stage(0, 4)]
        for committable in committables:
            assert set(attempt.commit(committable)) == DONE
            assert attempt.committer.last_applied(LINEAGE, 0) == committable.epoch
    with Attempt(target, token=2) as fresh:
        assert [set(fresh.commit(committable)) for committable in committables] == [ALREADY] * 4
        assert fresh.committer.last_applied(LINEAGE, 0) == 4
        assert target.rows() == rows_of(1)


def check_list_prepared_names_what_is_neither_committed_nor_aborted(target: Target) -> None:
    with Attempt(target) as dead:
        committed = dead.stage(0, 1, 1)
        dead.stage(0, 2, 2)
        dead.stage(1, 2, 3)
    with Attempt(target, token=2) as fresh:
        assert _prepared(fresh) == {(1, 1, 0), (1, 2, 0), (1, 2, 1)}
        fresh.commit(committed)
        assert _prepared(fresh) == {(1, 2, 0), (1, 2, 1)}
        fresh.committer.abort(fresh.committer.list_prepared(LINEAGE))
        assert _prepared(fresh) == set()
    assert target.rows() == rows_of(1)


def check_abort_discards_exactly_what_it_is_given(target: Target) -> None:
    with Attempt(target) as dead:
        kept, doomed = dead.stage(0, 1, 1), dead.stage(0, 2, 2)
    with Attempt(target, token=2) as fresh:
        prepared = [p for p in fresh.committer.list_prepared(LINEAGE) if p.epoch == doomed.epoch]
        assert len(prepared) == 1
        fresh.committer.abort(prepared)
        fresh.committer.abort(prepared)
        assert _prepared(fresh) == {(1, 1, 0)}
        assert set(fresh.commit(kept)) == DONE
        assert target.rows() == rows_of(1)


def check_unprepared_rows_of_a_dead_writer_are_never_published(target: Target) -> None:
    with Attempt(target) as dead:
        dead.write(0, 1)
    with Attempt(target, token=2) as fresh:
        committable = fresh.stage(0, 1, 2)
        assert set(fresh.commit(committable)) == DONE
        assert target.rows() == rows_of(2)


def check_an_epoch_id_that_comes_back_under_a_higher_token_is_another_epoch(target: Target) -> None:
    with Attempt(target) as zombie:
        leftover = zombie.stage(0, 5, 1)
        with Attempt(target, token=2) as fresh:
            fresh.committer.abort(fresh.committer.list_prepared(LINEAGE))
            committable = fresh.stage(0, 5, 2)
            assert set(fresh.commit(committable)) == DONE
        # In no manifest, so that no commit of it is ever right; a sink may say that epoch 5 is applied, or refuse.
        assert set(zombie.commit(leftover)) <= {CommitStatus.ALREADY_DONE, CommitStatus.FAILED}
        assert target.rows() == rows_of(2)


def check_a_zombie_cannot_abort_what_a_newer_attempt_prepared(target: Target) -> None:
    with Attempt(target) as zombie, Attempt(target, token=2) as fresh:
        committable = fresh.stage(0, 1, 1)
        with pytest.raises(Fenced):
            zombie.committer.abort(zombie.committer.list_prepared(LINEAGE))
        with pytest.raises(Fenced):
            fresh.committer.abort(fresh.committer.list_prepared(LINEAGE))
        assert set(fresh.commit(committable)) == DONE
        assert target.rows() == rows_of(1)


def check_a_zombie_that_commits_a_listed_epoch_again_changes_nothing(target: Target) -> None:
    with Attempt(target) as zombie:
        first, second = zombie.stage(0, 1, 1), zombie.stage(0, 2, 2)
        with Attempt(target, token=2) as fresh:
            assert set(fresh.commit(first)) == DONE
            assert set(zombie.commit(first)) == ALREADY
            assert set(zombie.commit(second)) == DONE
            assert set(fresh.commit(second)) == ALREADY
        assert target.rows() == rows_of(1, 2)


def check_marks_carry_job_and_lineage(target: Target) -> None:
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
        attempt.commit(attempt.stage(0, 4))
    with Attempt(target, lineage=OTHER_LINEAGE) as other:
        assert other.committer.last_applied(OTHER_LINEAGE, 0) is None
        other.commit(other.stage(0, 2, 2))
        marks = {(mark.lineage, mark.job, mark.slot, mark.epoch) for mark in other.committer.marks("shop")}
        assert marks == {(LINEAGE, "shop", 0, 4), (OTHER_LINEAGE, "shop", 0, 2)}
        assert list(other.committer.marks("shop-2")) == []
        assert other.committer.last_applied(LINEAGE, 0) == 4
    assert target.rows() == rows_of(1, 2)


def check_lineages_and_sinks_do_not_see_each_others_prepared_epochs(target: Target) -> None:
    if target.store is not None:
        return  # staged in the job's own store, which holds one sink id per directory and outlives lineages
    with Attempt(target) as one, Attempt(target, lineage=OTHER_LINEAGE) as two, Attempt(target, sink_id="x") as three:
        for attempt in (one, two, three):
            attempt.stage(0, 1, attempt.token)
        for attempt in (one, two, three):
            assert _prepared(attempt, attempt.lineage) == {(1, 1, 0)}


def check_rewind_takes_back_later_epochs_or_says_that_it_cannot(target: Target) -> None:
    with Attempt(target) as attempt:
        for epoch, ids in ((1, [1]), (2, []), (3, [3]), (4, [])):
            attempt.commit(attempt.stage(0, epoch, *ids))
    with Attempt(target, token=2) as fresh:
        assert fresh.committer.rewind(LINEAGE, 2) is target.rewinds
        assert target.rows() == (rows_of(1) if target.rewinds else rows_of(1, 3))
        if target.rewinds:
            assert fresh.committer.last_applied(LINEAGE, 0) == 2
            fresh.previous[0] = 2
            assert set(fresh.commit(fresh.stage(0, 5, 5))) == DONE
            assert target.rows() == rows_of(1, 5)


def check_an_epoch_whose_staged_rows_are_lost_fails(target: Target) -> None:
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1)
        target.lose(committable)
        _refuses(attempt, committable)
        assert target.rows() == []
        assert attempt.committer.last_applied(LINEAGE, 0) is None


def check_an_epoch_whose_staged_rows_are_damaged_fails(target: Target) -> None:
    if target.damage is None:
        return
    with Attempt(target) as attempt:
        committable = attempt.stage(0, 1, 1)
        target.damage(committable)
        _refuses(attempt, committable)
        assert target.rows() == []
        assert attempt.committer.last_applied(LINEAGE, 0) is None


def check_the_columns_are_accepted_before_the_job_runs(target: Target) -> None:
    target.sink().check(SCHEMA)
    with Attempt(target) as attempt:
        attempt.commit(attempt.stage(0, 1, 1))
    target.sink().check(SCHEMA)
    assert target.rows() == rows_of(1)


def _refuses(attempt: Attempt, committable: Committable) -> None:
    try:
        statuses = attempt.commit(committable)
    except CorruptState:
        return
    assert set(statuses) == {CommitStatus.FAILED}


def _prepared(attempt: Attempt, lineage: str = LINEAGE) -> set[tuple[int, int, int]]:
    return {(p.token, p.epoch, p.slot) for p in attempt.committer.list_prepared(lineage)}


CHECKS: dict[str, Callable[[Target], None]] = {
    name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")
}
