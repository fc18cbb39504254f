"""What must hold of a two-phase sink by itself, called as the engine calls it: no process is killed here."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from krishiv_checkpoint import CommitStatus, Mark
from krishiv_conformance._case import Case, expect
from krishiv_conformance._cases.sink_bench import SinkBench, identities
from krishiv_connectors import MarkMoved, StagedSink
from krishiv_guarantees import KrishivError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyarrow as pa

    from krishiv_checkpoint import Committable
    from krishiv_conformance._case import Ground
    from krishiv_connectors import TwoPhaseSink

T = TypeVar("T")

__all__ = ["contract_cases"]

ENDED = (CommitStatus.DONE, CommitStatus.ALREADY_DONE)


def contract_cases(kind: type) -> list[Case]:
    """Return the contract cases of a two-phase sink of class `kind`."""
    staged = [apply_is_compare_and_set] if issubclass(kind, StagedSink) else []
    return [_case(check) for check in (*_CHECKS, *staged)]


def _case(check: Callable[[SinkBench], None]) -> Case:
    def on_ground(ground: Ground) -> None:
        with SinkBench(ground) as bench:
            check(bench)

    about = (check.__doc__ or "").strip().splitlines()[0]
    return Case(name=f"sink/contract/{check.__name__.replace('_', '-')}", about=about, check=on_ground)


def prepared_rows_stay_invisible(bench: SinkBench) -> None:
    """Rows are seen by readers after commit, not after write, prepare or close."""
    slot, rows = bench.slot(), bench.rows()
    slot.write(rows)
    bench.expect_visible([], "after write")
    committable = slot.prepare(1)
    bench.expect_visible([], "after prepare")
    slot.sink.close()
    bench.expect_visible([], "after the writer was closed")
    bench.commit(bench.committer(), [committable])
    bench.expect_visible([rows], "after commit")


def a_fresh_object_commits(bench: SinkBench) -> None:
    """What one object prepared, another one that knows the committable alone can commit (recovers_prepared)."""
    rows = bench.rows()
    slot = bench.slot()
    committable = bench.stage(slot, 1, rows)
    slot.sink.close()
    for token in (2, 3):
        statuses = bench.commit(bench.committer(token=token), [committable])
        bench.expect_visible([rows], f"after the commit under token {token}")
    expect(statuses == [CommitStatus.ALREADY_DONE], f"the second commit reported {statuses}, not already_done")


def a_second_commit_changes_nothing(bench: SinkBench) -> None:
    """Committing an epoch again, from the same object or a fresh one, reports success and adds no rows."""
    slot, committer = bench.slot(), bench.committer()
    first, second = bench.rows(), bench.rows()
    committables = [bench.stage(slot, 1, first), bench.stage(slot, 2, second)]
    bench.commit(committer, committables)
    bench.commit(committer, committables[1:])
    bench.expect_visible([first, second], "after a second commit of the newest epoch")
    bench.commit(bench.committer(token=2), committables)
    bench.expect_visible([first, second], "after a fresh object committed both epochs again")


def commit_publishes_what_is_listed_and_nothing_else(bench: SinkBench) -> None:
    """Of two attempts that prepared one epoch, exactly the one whose committable is given is published (P11)."""
    dead, living = bench.slot(token=1), bench.slot(token=2)
    unwanted, wanted = bench.rows(), bench.rows()
    bench.stage(dead, 3, unwanted)
    committable = bench.stage(living, 3, wanted)
    bench.commit(bench.committer(token=2), [committable])
    bench.expect_visible([wanted], "after the commit of the second attempt's epoch")
    follow = bench.rows()
    bench.commit(bench.committer(token=2), [bench.stage(living, 4, follow)])
    bench.expect_visible([wanted, follow], "after the next epoch")


def prepared_epochs_are_found(bench: SinkBench) -> None:
    """A fresh object lists what a dead one prepared, by token, epoch and slot, until it is committed or aborted."""
    slot = bench.slot(token=1)
    committables = [bench.stage(slot, epoch, bench.rows()) for epoch in (1, 2)]
    found = bench.committer(token=2).list_prepared(bench.lineage)
    expect(identities(found) == [(1, 1, 0), (1, 2, 0)], f"epochs 1 and 2 of token 1 are prepared, listed are {found}")
    bench.commit(bench.committer(token=2), committables[:1])
    left = bench.committer(token=2).list_prepared(bench.lineage)
    expect(identities(left) == [(1, 2, 0)], f"epoch 2 alone is prepared, listed are {left}")
    bench.committer(token=2).abort(left)
    nothing = identities(bench.committer(token=2).list_prepared(bench.lineage))
    expect(nothing == [], f"everything is committed or aborted, listed are {nothing}")


def abort_removes_what_it_is_given_and_nothing_else(bench: SinkBench) -> None:
    """Aborting a dead attempt's epoch leaves a living attempt's, of the same number, fit to be committed (P11)."""
    dead, living = bench.slot(token=1), bench.slot(token=2)
    rows = bench.rows()
    bench.stage(dead, 5, bench.rows())
    committable = bench.stage(living, 5, rows)
    committer = bench.committer(token=2)
    leftovers = [item for item in committer.list_prepared(bench.lineage) if item.token == 1]
    expect(bool(leftovers), "the dead attempt's epoch is not listed")
    committer.abort(leftovers)
    committer.abort(leftovers)
    bench.expect_visible([], "after the abort")
    bench.commit(committer, [committable])
    bench.expect_visible([rows], "after the commit of what was not aborted")


def a_zombie_aborts_nothing_of_its_successor(bench: SinkBench) -> None:
    """A committer with a lower token destroys nothing that a higher one prepared, whatever it is asked (P11)."""
    zombie = bench.committer(token=1)
    living = bench.slot(token=2)
    rows = bench.rows()
    committable = bench.stage(living, 1, rows)
    found = bench.committer(token=2).list_prepared(bench.lineage)
    with suppress(KrishivError):  # refusing aloud is as good as doing nothing
        zombie.abort([item for item in found if item.token == 2])
    bench.commit(bench.committer(token=2), [committable])
    bench.expect_visible([rows], "after a zombie was asked to abort it")


def last_applied_tells_what_is_published(bench: SinkBench) -> None:
    """`last_applied` follows commit, not prepare, from a fresh object too; other lineages have none."""
    slot, committer = bench.slot(), bench.committer()
    expect(committer.last_applied(bench.lineage, 0) is None, "nothing was committed, yet last_applied is not None")
    for epoch in (1, 4):
        committable = bench.stage(slot, epoch, bench.rows())
        before = bench.committer().last_applied(bench.lineage, 0)
        expect((before or 0) < epoch, f"epoch {epoch} is only prepared, yet last_applied is {before}")
        bench.commit(committer, [committable])
        for each in (committer, bench.committer(token=2)):
            after = each.last_applied(bench.lineage, 0)
            expect(after == epoch, f"epoch {epoch} was committed, yet last_applied is {after}")
    other = committer.last_applied(bench.new_lineage(), 0)
    expect(other is None, f"another lineage committed nothing, yet its last_applied is {other}")


def marks_name_job_and_lineage(bench: SinkBench) -> None:
    """`marks` finds the newest epoch of each lineage that a job left, and none of other jobs (P15)."""
    other = bench.new_lineage()
    bench.commit(bench.committer(), [bench.stage(bench.slot(), 2, bench.rows())])
    bench.commit(bench.committer(lineage=other), [bench.stage(bench.slot(lineage=other), 7, bench.rows())])
    found = set(bench.committer(token=2).marks(bench.job))
    wanted = {Mark(bench.lineage, bench.job, 0, 2), Mark(other, bench.job, 0, 7)}
    expect(found == wanted, f"the marks are {sorted(found, key=str)}, they should be {sorted(wanted, key=str)}")
    strangers = list(bench.committer(token=2).marks("another-job"))
    expect(strangers == [], f"another job wrote nothing here, yet it has marks {strangers}")


def an_epoch_without_rows_is_an_epoch(bench: SinkBench) -> None:
    """Epochs without rows are prepared and committed like others, first, between and last (P6)."""
    slot, committer = bench.slot(), bench.committer()
    rows = bench.rows()
    for epoch, table in ((1, None), (2, rows), (3, None), (4, None)):
        bench.commit(committer, [bench.stage(slot, epoch, table)])
        applied = bench.committer(token=2).last_applied(bench.lineage, 0)
        expect(applied == epoch, f"epoch {epoch} was committed, yet last_applied is {applied}")
    bench.expect_visible([rows], "after epochs with and without rows")


def a_later_epoch_may_be_prepared_before_a_commit(bench: SinkBench) -> None:
    """Epochs overlap: n+1 is written and prepared while n waits; each commit publishes its own rows (P5)."""
    slot, committer = bench.slot(), bench.committer()
    tables = [bench.rows() for _ in range(4)]
    committables = [bench.stage(slot, epoch, table) for epoch, table in zip((1, 2, 4), tables, strict=False)]
    slot.write(tables[3])
    for count in (1, 2, 3):
        bench.commit(committer, committables[count - 1 : count])
        bench.expect_visible(tables[:count], f"after {count} of 3 commits")
    bench.commit(committer, [slot.prepare(5)])
    bench.expect_visible(tables, "after the epoch that was being written meanwhile")


def slots_are_published_side_by_side(bench: SinkBench) -> None:
    """Two slots prepare one epoch; all of their rows are published, and each slot's own record says so."""
    slots = [bench.slot(0), bench.slot(1)]
    committer = bench.committer()
    tables = [bench.rows(), bench.rows()]
    committables = [bench.stage(slot, 1, table) for slot, table in zip(slots, tables, strict=True)]
    found = identities(bench.committer(token=2).list_prepared(bench.lineage))
    expect(found == [(1, 1, 0), (1, 1, 1)], f"two slots prepared epoch 1, listed are {found}")
    bench.commit(committer, committables)
    bench.expect_visible(tables, "after both slots' epoch was committed")
    more = bench.rows()
    bench.commit(committer, [bench.stage(slots[0], 2), bench.stage(slots[1], 2, more)])
    bench.expect_visible([*tables, more], "after an epoch in which one slot had no rows")
    applied = [bench.committer(token=2).last_applied(bench.lineage, slot) for slot in (0, 1)]
    expect(applied == [2, 2], f"both slots committed epoch 2, last_applied says {applied}")


def rows_that_were_not_prepared_are_dropped(bench: SinkBench) -> None:
    """Rows that a writer took and did not prepare are in no later epoch: they will be replayed."""
    dead = bench.slot(token=1)
    dead.write(bench.rows())
    dead.sink.close()
    bench.expect_visible([], "after a writer was closed without prepare")
    rows = bench.rows()
    committer = bench.committer(token=2)
    committer.abort(committer.list_prepared(bench.lineage))
    bench.commit(committer, [bench.stage(bench.slot(token=2), 1, rows)])
    bench.expect_visible([rows], "after the next attempt's epoch")


def a_lost_epoch_is_never_reported_done(bench: SinkBench) -> None:
    """If what was prepared is gone, commit fails or raises: it must not report a success that never was."""
    slot = bench.slot(token=1)
    committable = bench.stage(slot, 1, bench.rows())
    slot.sink.close()
    thief = bench.committer(token=2)
    thief.abort(thief.list_prepared(bench.lineage))
    expect(identities(thief.list_prepared(bench.lineage)) == [], "an aborted epoch is still listed as prepared")
    try:
        status = bench.try_commit(bench.committer(token=3), 1, [committable]).status
    except (KrishivError, OSError):
        return
    expect(status not in ENDED, f"the prepared epoch was gone, yet commit reported {status.value}")


def racing_commits_publish_once(bench: SinkBench) -> None:
    """Two committers apply one epoch at the same time, as a zombie and its successor may: its rows appear once."""
    slot = bench.slot(token=1)
    tables = [bench.rows(200) for _ in range(5)]
    committers = [bench.committer(token=1), bench.committer(token=2)]
    for epoch, table in enumerate(tables, start=1):
        committable = bench.stage(slot, epoch, table)
        _race(bench, committers, committable)
        bench.commit(bench.committer(token=3), [committable])
        bench.expect_visible(tables[:epoch], f"after a race for epoch {epoch}")


def _race(bench: SinkBench, committers: Sequence[TwoPhaseSink], committable: Committable) -> None:
    def run(committer: TwoPhaseSink) -> None:
        # The loser may say so aloud; what counts is what readers see.
        with suppress(KrishivError, OSError):
            bench.try_commit(committer, committable.epoch, [committable])

    _at_once(run, committers)


def lineages_and_sinks_do_not_mix(bench: SinkBench) -> None:
    """Two lineages, and two sinks of one job, write to one target: each has its own epochs and marks (P1)."""
    other = bench.new_lineage()
    tables = [bench.rows() for _ in range(3)]
    keys = [(bench.lineage, "sink"), (other, "sink"), (bench.lineage, "second")]
    for (lineage, sink_id), table in zip(keys, tables, strict=True):
        slot = bench.slot(lineage=lineage, sink_id=sink_id)
        committer = bench.committer(lineage=lineage, sink_id=sink_id)
        before = committer.last_applied(lineage, 0)
        expect(before is None, f"nothing was committed here yet, but last_applied is {before}")
        bench.commit(committer, [bench.stage(slot, 3, table)])
    bench.expect_visible(tables, "after three commits of epoch 3 by different owners")


def what_can_be_rewound_is_taken_back_whole(bench: SinkBench) -> None:
    """A sink that can rewind takes back exactly the epochs above the one it is told, with their marks (P15)."""
    slot, committer = bench.slot(), bench.committer()
    tables = [bench.rows() for _ in range(3)]
    for epoch, table in enumerate(tables, start=1):
        bench.commit(committer, [bench.stage(slot, epoch, table)])
    rewinder = bench.committer(token=2)
    if not rewinder.rewind(bench.lineage, 1):
        bench.expect_visible(tables, "after rewind said that it cannot")
        return
    bench.expect_visible(tables[:1], "after rewinding to epoch 1")
    applied = bench.committer(token=2).last_applied(bench.lineage, 0)
    expect(applied == 1, f"the sink was rewound to epoch 1, yet last_applied is {applied}")


def apply_is_compare_and_set(bench: SinkBench) -> None:
    """`apply` moves the mark from `previous` or does nothing; of two racing ones exactly one wins (P14)."""
    slot, tables = bench.slot(), [bench.rows() for _ in range(4)]
    staged = [bench.staged(slot, number, table) for number, table in enumerate(tables, start=1)]
    appliers = [bench.staged_committer(token=token) for token in (1, 2)]
    appliers[0].apply(0, 2, 0, 1, iter(staged[0]))
    for epoch, previous in ((3, 0), (3, 1), (3, 3)):
        moved = _try_apply(appliers[1], epoch, previous, staged[1])
        expect(not moved, f"the mark says 2, yet apply moved it from {previous} to {epoch}")
        applied = bench.committer(token=3).last_applied(bench.lineage, 0)
        expect(applied == 2, f"apply refused, yet the mark is {applied}")
    bench.expect_visible(tables[:1], "after apply refused three times")
    winners: list[int] = []

    def race(number: int) -> None:
        if _try_apply(appliers[number], 5, 2, staged[2 + number]):
            winners.append(number)

    _at_once(race, range(len(appliers)))
    expect(len(winners) == 1, f"{len(winners)} of two racing applies moved the mark from 2 to 5")
    bench.expect_visible([tables[0], tables[2 + winners[0]]], "after two applies raced")


def _try_apply(sink: StagedSink, epoch: int, previous: int, batches: Sequence[pa.RecordBatch]) -> bool:
    try:
        sink.apply(0, epoch, previous, 1, iter(batches))
    except MarkMoved:
        return False
    return True


def _at_once(run: Callable[[T], None], arguments: Iterable[T]) -> None:
    """Call `run` for each of `arguments` at the same time."""
    together = list(arguments)
    barrier = threading.Barrier(len(together))

    def start(argument: T) -> None:
        barrier.wait()
        run(argument)

    threads = [threading.Thread(target=start, args=(argument,)) for argument in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_CHECKS: tuple[Callable[[SinkBench], None], ...] = (
    prepared_rows_stay_invisible,
    a_fresh_object_commits,
    a_second_commit_changes_nothing,
    commit_publishes_what_is_listed_and_nothing_else,
    prepared_epochs_are_found,
    abort_removes_what_it_is_given_and_nothing_else,
    a_zombie_aborts_nothing_of_its_successor,
    last_applied_tells_what_is_published,
    marks_name_job_and_lineage,
    an_epoch_without_rows_is_an_epoch,
    a_later_epoch_may_be_prepared_before_a_commit,
    slots_are_published_side_by_side,
    rows_that_were_not_prepared_are_dropped,
    a_lost_epoch_is_never_reported_done,
    racing_commits_publish_once,
    lineages_and_sinks_do_not_mix,
    what_can_be_rewound_is_taken_back_whole,
)
