"""What recovery decides, over every small case: comparison, commits, aborts, the next epoch id."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_checkpoint import CommitScope, Committable, Mark, Prepared
from krishiv_checkpoint._recovery_rules import (
    DifferenceKind,
    SinkState,
    committed_after,
    compare,
    foreign_marks,
    leftovers,
    next_epoch,
    plan_commits,
)
from tests.unit.checkpoint_store.support import committable, manifest

SLOT, EPOCH = CommitScope.SLOT, CommitScope.EPOCH


def state(
    committed: dict[int, int],
    pending: tuple[Committable, ...],
    applied: dict[int, int],
    scope: CommitScope = SLOT,
) -> SinkState:
    return SinkState(sink="out", scope=scope, committed=committed, pending=pending, applied=applied)


@pytest.mark.parametrize(
    ("committed", "pending", "applied"),
    [*itertools.product(range(4), [(), (1,), (2,), (3,), (2, 3), (1, 2, 3)], range(5))],
)
def test_one_slot_fits_exactly_between_committed_and_prepared(
    committed: int, pending: tuple[int, ...], applied: int
) -> None:
    """P15, every case of one slot: below committed is behind, above what is prepared is ahead, else it fits."""
    differences = compare(state({0: committed}, tuple(map(committable, pending)), {0: applied}))
    known = max((committed, *pending))
    if applied > known:
        assert [(d.kind, d.applied, d.checkpoint) for d in differences] == [(DifferenceKind.AHEAD, applied, known)]
    elif applied < committed:
        assert [(d.kind, d.applied, d.checkpoint) for d in differences] == [(DifferenceKind.BEHIND, applied, committed)]
    else:
        assert differences == []


def test_a_slot_that_the_checkpoint_does_not_know_is_ahead() -> None:
    """P15: marks of slots from a later, wider parallelism."""
    differences = compare(state({0: 3}, (), {0: 3, 1: 2}))
    assert [(d.slot, d.kind) for d in differences] == [(1, DifferenceKind.AHEAD)]


def test_an_epoch_scope_sink_is_compared_as_a_whole() -> None:
    """P15, P13: old slots of another parallelism ended earlier, the sink went on."""
    assert compare(state({0: 9, 1: 9, 2: 4, 3: 4}, (), {0: 9}, EPOCH)) == []
    behind = compare(state({0: 9, 2: 4}, (), {0: 4}, EPOCH))
    assert [(d.slot, d.kind) for d in behind] == [(None, DifferenceKind.BEHIND)]
    ahead = compare(state({0: 9}, (committable(10),), {0: 11}, EPOCH))
    assert [(d.kind, d.checkpoint) for d in ahead] == [(DifferenceKind.AHEAD, 10)]


def test_differences_name_the_epochs() -> None:
    """P15: refuse and name the epochs."""
    (ahead,) = compare(state({0: 3}, (), {0: 6}))
    assert str(ahead) == "sink 'out', slot 0 holds epochs 4 to 6"
    (behind,) = compare(state({0: 3}, (), {0: 0}))
    assert str(behind) == "sink 'out', slot 0 has no mark at all, but epoch 3 was committed to it"
    (whole,) = compare(state({0: 3}, (), {0: 1}, EPOCH))
    assert str(whole) == "sink 'out' ends at epoch 1, but epoch 3 was committed to it"


PENDING = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), max_size=8, unique=True).map(
    lambda pairs: tuple(committable(epoch, slot) for epoch, slot in pairs)
)
SLOTS = st.dictionaries(st.integers(0, 2), st.integers(0, 6), max_size=3)


@given(SLOTS, PENDING, SLOTS)
def test_slots_commit_all_that_is_not_applied_oldest_first(
    committed: dict[int, int], pending: tuple[Committable, ...], applied: dict[int, int]
) -> None:
    """P5: oldest first, per slot, nothing left out, nothing that the sink has already."""
    steps = plan_commits(state(committed, pending, applied))
    done = [(c.slot, c.epoch) for step in steps for c in step.committables]
    assert sorted(done) == sorted((c.slot, c.epoch) for c in pending if c.epoch > applied.get(c.slot, 0))
    assert [step.epoch for step in steps] == sorted(step.epoch for step in steps)
    assert all(len(step.committables) == 1 and step.slot == step.committables[0].slot for step in steps)


@given(SLOTS, PENDING, st.integers(0, 6))
def test_epoch_scope_commits_all_slots_of_an_epoch_in_one_call(
    committed: dict[int, int], pending: tuple[Committable, ...], applied: int
) -> None:
    """P13, P5."""
    slots = {*committed, *(c.slot for c in pending)}
    steps = plan_commits(state(committed, pending, dict.fromkeys(list(slots)[:1], applied), EPOCH))
    assert [step.epoch for step in steps] == sorted({c.epoch for c in pending if c.epoch > applied})
    for step in steps:
        assert step.slot is None
        assert sorted(c.slot for c in step.committables) == sorted(c.slot for c in pending if c.epoch == step.epoch)


@given(SLOTS, PENDING)
def test_committed_after_recovery_covers_committed_and_pending_of_every_slot(
    committed: dict[int, int], pending: tuple[Committable, ...]
) -> None:
    """P5, P16: cumulative, with old slots."""
    after = committed_after(state(committed, pending, {}))
    for slot in {*committed, *(c.slot for c in pending)}:
        epochs = [c.epoch for c in pending if c.slot == slot]
        assert after[str(slot)] == max([committed.get(slot, 0), *epochs])


@pytest.mark.parametrize(("token", "listed"), [*itertools.product([1, 2, 3], [False, True])])
def test_only_unlisted_artefacts_of_lower_tokens_are_aborted(token: int, listed: bool) -> None:
    """P11, every case: abort touches lower tokens only, and nothing that a manifest lists."""
    prepared = Prepared(token, 5, 0, b"")
    manifests = [manifest(5, pending=(committable(5, token=token),))] if listed else [manifest(5)]
    doomed = leftovers("out", [prepared], manifests, own_token=2)
    assert doomed == ([prepared] if token == 1 and not listed else [])


@pytest.mark.parametrize(
    "listed",
    [
        committable(5, sink="other"),
        committable(5, slot=1),
        committable(6),
        committable(5, token=2),
    ],
)
def test_an_artefact_is_listed_only_by_its_whole_identity(listed: Committable) -> None:
    """P2: (token, epoch) of one sink and slot is what is unique."""
    assert leftovers("out", [Prepared(1, 5, 0, b"")], [manifest(6, pending=(listed,))], own_token=3)


def test_marks_of_unknown_lineages_are_foreign() -> None:
    """P15."""
    marks = [Mark("a", "job", 0, 3), Mark("b", "job", 0, 4)]
    assert foreign_marks(marks, {"a"}) == marks[1:]


@given(st.integers(0, 50), st.lists(SLOTS, max_size=3))
def test_next_epoch_is_above_every_id_seen_anywhere(highest: int, sinks: list[dict[int, int]]) -> None:
    """P2: the log's highest and every sink's last_applied."""
    result = next_epoch(highest, [state({}, (), applied) for applied in sinks])
    seen = [highest, *(epoch for applied in sinks for epoch in applied.values())]
    assert result == 1 + max(seen)
