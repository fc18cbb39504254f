"""P15: every sink's own record is compared with the log before a job goes on."""

from __future__ import annotations

import pytest

from krishiv_checkpoint import (
    CheckpointStore,
    ForeignMarks,
    SinkAhead,
    SinkBehind,
)
from tests.unit.checkpoint_store.support import (
    LINEAGE,
    OTHER,
    Sinks,
    World,
    begin,
    committable,
    logged,
    manifest,
    two_sinks,
)


def test_a_sink_ahead_of_the_tip_is_refused_and_the_epochs_are_named(store: CheckpointStore) -> None:
    """P15: the log was set back, or lies."""
    world = World()
    for epoch in (1, 2, 3):
        world.apply(epoch)
    logged(store, manifest(1, pending=(committable(1),)))
    with pytest.raises(SinkAhead, match=r"slot 0 holds epochs 2 to 3") as caught:
        begin(store, Sinks({"out": world}))
    assert caught.value.fields["epochs"] == {"out": (2, 3)}
    assert world.epochs() == [1, 2, 3]


def test_a_sink_ahead_is_rewound_when_it_can(store: CheckpointStore) -> None:
    """P15."""
    world = World(can_rewind=True)
    for epoch in (1, 2, 3):
        world.apply(epoch)
    logged(store, manifest(1, pending=(committable(1),)))
    attempt = begin(store, Sinks({"out": world}), on_sink_ahead="rewind")
    assert world.epochs() == [1]
    assert (attempt.lineage, attempt.next_epoch, attempt.overlap) == (LINEAGE, 4, ())


def test_a_sink_ahead_that_cannot_rewind_is_refused(store: CheckpointStore) -> None:
    """P15."""
    world = World()
    world.apply(3)
    logged(store, manifest(1))
    with pytest.raises(SinkAhead):
        begin(store, Sinks({"out": world}), on_sink_ahead="rewind")


def test_a_sink_that_says_it_rewound_and_did_not_is_refused(store: CheckpointStore) -> None:
    """P15."""

    class Liar(World):
        def newest(self, lineage: str, slot: int) -> int | None:
            return 7

    logged(store, manifest(1, committed={"out": {"0": 1}}))
    with pytest.raises(SinkAhead):
        begin(store, Sinks({"out": Liar(can_rewind=True)}), on_sink_ahead="rewind")


def test_duplicates_are_accepted_under_a_new_lineage_and_reported(store: CheckpointStore) -> None:
    """P15: new lineage; what the checkpoint holds is committed under the old one first."""
    ahead, pending = World(), World()
    for epoch in (1, 2, 3):
        ahead.apply(epoch)
    listed = (committable(1, sink="left"), committable(1, sink="right"))
    logged(store, manifest(1, plan=two_sinks(), pending=listed))
    sinks = Sinks({"left": ahead, "right": pending})
    attempt = begin(store, sinks, on_sink_ahead="duplicate", fingerprint=two_sinks())
    assert pending.epochs() == [1]
    assert attempt.lineage != LINEAGE
    assert sinks.opened == [(LINEAGE, 2), (attempt.lineage, 2)]
    assert attempt.committed_through == {}
    assert attempt.overlap == ("sink 'left', slot 0 holds epochs 2 to 3",)
    assert attempt.next_epoch == 4


def test_accepted_duplicates_need_no_second_leave(store: CheckpointStore) -> None:
    """P15: the new lineage is in the log when the attempt begins; a restart goes on in it."""
    world = World()
    world.apply(3)
    logged(store, manifest(1))
    first = begin(store, Sinks({"out": world}), on_sink_ahead="duplicate")
    second = begin(store, Sinks({"out": world}))
    assert (second.lineage, second.overlap) == (first.lineage, ())


def test_a_sink_that_lost_committed_epochs_is_refused_in_any_case(store: CheckpointStore) -> None:
    """P15: marker lost, server restored from a backup."""
    world = World()
    world.apply(1)
    logged(store, manifest(3, committed={"out": {"0": 3}}))
    for policy in ("refuse", "duplicate", "rewind"):
        with pytest.raises(SinkBehind, match="ends at epoch 1, but epoch 3 was committed"):
            begin(store, Sinks({"out": world}), on_sink_ahead=policy)


def test_a_slot_that_only_the_sink_knows_is_found(store: CheckpointStore) -> None:
    """P15: marks of a wider parallelism that the log lost."""
    world = World()
    world.apply(1, 0)
    world.apply(2, 1)
    logged(store, manifest(1, committed={"out": {"0": 1}}))
    with pytest.raises(SinkAhead, match="slot 1"):
        begin(store, Sinks({"out": world}))


def test_marks_under_an_empty_log_are_foreign(store: CheckpointStore) -> None:
    """P15: a lost data_dir; the job's name finds what the lineage cannot."""
    world = World()
    world.apply(4, lineage=OTHER)
    with pytest.raises(ForeignMarks, match="holds epochs up to 4"):
        begin(store, Sinks({"out": world}))


def test_foreign_marks_stay_refused_when_the_start_is_repeated(store: CheckpointStore) -> None:
    """P15: the takeover that the refused start left in the log must not make the marks look known."""
    world = World()
    world.apply(4, lineage=OTHER)
    for _ in range(3):
        with pytest.raises(ForeignMarks):
            begin(store, Sinks({"out": world}))


def test_foreign_marks_of_another_job_do_not_matter(store: CheckpointStore) -> None:
    """P15: the name is an attribute of the mark."""
    world = World()
    world.apply(4, lineage=OTHER, job="another")
    assert begin(store, Sinks({"out": world})).overlap == ()


def test_foreign_marks_are_accepted_as_duplicates_once_and_for_all(store: CheckpointStore) -> None:
    """P15."""
    world = World()
    world.apply(4, lineage=OTHER)
    first = begin(store, Sinks({"out": world}), on_sink_ahead="duplicate")
    assert len(first.overlap) == 1
    assert (first.operators, first.committed_through) == ((), {})
    second = begin(store, Sinks({"out": world}))
    assert (second.lineage, second.overlap) == (first.lineage, ())


def test_marks_of_the_own_lineage_without_any_manifest_are_ahead(store: CheckpointStore) -> None:
    """P15: a log that lost all its manifests."""
    world = World()
    world.apply(2)
    logged(store)
    with pytest.raises(SinkAhead, match="ends at epoch 0"):
        begin(store, Sinks({"out": world}))
