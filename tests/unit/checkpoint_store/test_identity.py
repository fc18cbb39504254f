"""P3: which operators a checkpoint may be restored into."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_checkpoint import (
    Fingerprint,
    OperatorIdentity,
    OperatorSnapshot,
    OtherTopology,
    map_state,
    new_lineage,
    new_writer,
)
from tests.unit.checkpoint_store.support import PLAN, committable, manifest

BIDS = OperatorIdentity("bids", "source", True)
TOTALS = OperatorIdentity("totals", "window", True, "sum: int64", ("bids",))
OUT = OperatorIdentity("out", "sink", True, "", ("totals",))
SNAPSHOTS = (OperatorSnapshot("bids", 0), OperatorSnapshot("totals", 0), OperatorSnapshot("totals", 1))


def plan(*operators: OperatorIdentity, groups: int = 128) -> Fingerprint:
    return Fingerprint(operators, groups)


def stored(*operators: OperatorIdentity, pending: bool = False):
    holders = tuple(OperatorSnapshot(o.id, 0) for o in operators if o.kind != "sink")
    return manifest(
        5,
        plan=plan(*operators),
        operators=holders,
        committed={o.id: {"0": 4} for o in operators if o.kind == "sink"},
        pending=(committable(5),) if pending else (),
    )


def test_lineages_and_writers_are_unique() -> None:
    """P1: minted, 32 hex digits."""
    assert len({new_lineage() for _ in range(100)}) == 100
    assert int(new_lineage(), 16) >= 0
    assert len(new_lineage()) == 32
    assert len({new_writer() for _ in range(100)}) == 100


def test_state_goes_to_operators_of_the_same_name() -> None:
    """P3: named operators restore by id."""
    state = map_state(manifest(5, operators=SNAPSHOTS, committed={"out": {"0": 4}}), PLAN)
    assert state.operators == SNAPSHOTS
    assert state.committed_through == {"out": {"0": 4}}


def test_named_operators_restore_into_another_topology() -> None:
    """P3: a new operator between them starts empty."""
    extra = OperatorIdentity("dedup", "dedup", True, "seen: binary", ("bids",))
    moved = OperatorIdentity("totals", "window", True, "sum: int64", ("dedup",))
    assert map_state(stored(BIDS, TOTALS, OUT), plan(BIDS, extra, moved, OUT)).operators


def test_unnamed_operators_restore_into_an_equal_topology() -> None:
    """P3."""
    unnamed = OperatorIdentity("window-1", "window", False, "sum: int64", ("bids",))
    assert map_state(stored(BIDS, unnamed, OUT), plan(BIDS, unnamed, OUT)).operators


def test_unnamed_operators_are_named_by_the_error_when_the_topology_differs() -> None:
    """P3."""
    unnamed = OperatorIdentity("window-1", "window", False, "sum: int64", ("bids",))
    extra = OperatorIdentity("more", "sink", True, "", ("bids",))
    with pytest.raises(OtherTopology, match="'window-1' has no name of its own") as caught:
        map_state(stored(BIDS, unnamed, OUT), plan(BIDS, unnamed, OUT, extra))
    assert caught.value.fields["operators"] == ["window-1"]
    assert "name=" in caught.value.hint


def test_a_mapped_unnamed_operator_restores_anywhere() -> None:
    """P3: state_map maps explicitly."""
    unnamed = OperatorIdentity("window-1", "window", False, "sum: int64", ("bids",))
    state = map_state(stored(BIDS, unnamed, OUT), plan(BIDS, TOTALS, OUT), {"window-1": "totals"})
    assert [s.operator for s in state.operators] == ["bids", "totals"]


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (plan(BIDS, OUT), "'totals' is not in the pipeline"),
        (plan(BIDS, OperatorIdentity("totals", "join", True, "sum: int64"), OUT), "'totals' is a window in"),
        (
            plan(BIDS, OperatorIdentity("totals", "window", True, "sum: double"), OUT),
            "sum: int64 in the checkpoint and",
        ),
        (plan(BIDS, OperatorIdentity("totals", "window", True, ""), OUT), "and no state in the pipeline"),
        (plan(TOTALS, OUT), "'bids' is not in the pipeline"),
        (plan(BIDS, TOTALS), "'out' is not in the pipeline"),
        (plan(BIDS, TOTALS, OUT, groups=64), "128 key groups and the pipeline 64"),
    ],
)
def test_state_that_has_no_place_to_go_is_an_error(now: Fingerprint, message: str) -> None:
    """P3: nothing that the checkpoint remembers is lost in silence."""
    with pytest.raises(OtherTopology, match=message):
        map_state(stored(BIDS, TOTALS, OUT), now)


def test_every_operator_without_a_place_is_named_at_once() -> None:
    """P3."""
    with pytest.raises(OtherTopology) as caught:
        map_state(stored(BIDS, TOTALS, OUT), plan())
    assert caught.value.fields["operators"] == ["bids", "totals", "out"]


def test_dropped_operators_leave_the_state() -> None:
    """P3: drop_state drops explicitly."""
    state = map_state(stored(BIDS, TOTALS, OUT), plan(BIDS), drop_state=["totals", "out"])
    assert [s.operator for s in state.operators] == ["bids"]
    assert state.committed_through == {}


def test_a_sink_with_uncommitted_epochs_cannot_be_dropped() -> None:
    """P5: a prepared epoch is never dropped."""
    with pytest.raises(OtherTopology, match="'out' has epochs that are prepared"):
        map_state(stored(BIDS, TOTALS, OUT, pending=True), plan(BIDS, TOTALS), drop_state=["out"])


def test_a_sink_cannot_be_renamed() -> None:
    """P1: marks outside are keyed by lineage and sink id."""
    new = OperatorIdentity("new", "sink", True, "", ("totals",))
    with pytest.raises(OtherTopology, match="marks outside carry its name"):
        map_state(stored(BIDS, TOTALS, OUT), plan(BIDS, TOTALS, new), {"out": "new"})


def test_two_operators_cannot_become_one() -> None:
    """P3."""
    sums = OperatorIdentity("sums", "window", True, "sum: int64", ("bids",))
    with pytest.raises(OtherTopology, match="would both become 'totals'"):
        map_state(stored(BIDS, TOTALS, sums, OUT), plan(BIDS, TOTALS, OUT), {"sums": "totals"})


def test_a_map_to_nowhere_is_an_error() -> None:
    """P3."""
    with pytest.raises(OtherTopology, match="no operator 'nowhere' to go to"):
        map_state(stored(BIDS, TOTALS, OUT), plan(BIDS, TOTALS, OUT), {"totals": "nowhere"})


def test_a_map_that_was_applied_before_does_no_harm() -> None:
    """P3: the same call restarts a job whose state was mapped by the attempt before."""
    state = map_state(stored(BIDS, TOTALS, OUT), plan(BIDS, TOTALS, OUT), {"old": "totals"}, ["gone"])
    assert [s.operator for s in state.operators] == ["bids", "totals"]


def test_the_hint_proposes_the_name_that_is_close() -> None:
    """P3."""
    new = OperatorIdentity("totals2", "window", True, "sum: int64", ("bids",))
    with pytest.raises(OtherTopology) as caught:
        map_state(stored(BIDS, TOTALS, OUT), plan(BIDS, new, OUT))
    assert "state_map={'totals': 'totals2'}" in caught.value.hint


IDS = st.sampled_from("abcd")
OPERATORS = st.builds(OperatorIdentity, IDS, st.sampled_from(["source", "window"]), st.booleans(), IDS, st.just(()))
PLANS = st.lists(OPERATORS, max_size=4, unique_by=lambda o: o.id).map(lambda operators: plan(*operators))


@given(PLANS, PLANS, st.dictionaries(IDS, IDS, max_size=3), st.sets(IDS, max_size=2))
def test_restored_state_is_complete_and_goes_to_operators_that_fit(
    old: Fingerprint, new: Fingerprint, renamed: dict[str, str], dropped: set[str]
) -> None:
    """P3, as a law: either an error, or each snapshot not dropped lands on one operator of its kind and schema."""
    before = {o.id: o for o in old.operators}
    now = {o.id: o for o in new.operators}
    snapshots = tuple(OperatorSnapshot(id, subtask) for id in before for subtask in (0, 1))
    try:
        state = map_state(manifest(1, plan=old, operators=snapshots), new, renamed, dropped)
    except OtherTopology:
        kept = [id for id in before if id not in dropped]
        targets = [renamed.get(id, id) for id in kept]
        fits = all(
            t in now and (now[t].kind, now[t].state) == (before[id].kind, before[id].state)
            for id, t in zip(kept, targets, strict=True)
        )
        equal = {(o.id, o.kind) for o in old.operators} == {(o.id, o.kind) for o in new.operators}
        named = all(before[id].named or id in renamed or equal for id in kept)
        assert not (fits and named and len(set(targets)) == len(targets))
        return
    assert len(state.operators) == 2 * len([id for id in before if id not in dropped])
    assert len({(s.operator, s.subtask) for s in state.operators}) == len(state.operators)
    assert all(snapshot.operator in now for snapshot in state.operators)
