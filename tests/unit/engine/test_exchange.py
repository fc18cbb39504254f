"""The ends of a task: every row goes to the owner of its key, in order; signals go to all."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krishiv_stream._engine.elements import End, Idle, Watermark
from krishiv_stream._engine.key_hash import key_group_owners, key_group_range, key_groups
from krishiv_stream._engine.operators.exchange import Forward, HashExchange
from tests.unit.engine.support import Emptied, barrier, moments

GROUPS = 128


def exchange(targets: int, groups: int = GROUPS) -> tuple[HashExchange, list[Emptied]]:
    inboxes = [Emptied(1, 1 << 30) for _ in range(targets)]
    owners = key_group_owners(targets, groups)
    made = HashExchange([(i, 0) for i in inboxes], lambda batch: key_groups(batch.columns[:1], groups), owners)
    return made, inboxes


def taken(inbox: Emptied) -> list:
    found = []
    while inbox._ready() is not None:
        found.append(inbox.get()[1])
    return found


@given(
    st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=60),
    st.integers(1, 9),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_every_row_reaches_the_one_subtask_whose_key_groups_hold_its_key_in_order(keys, targets, cuts):
    whole = pa.record_batch({"key": pa.array(keys, pa.string()), "row": range(len(keys))})
    made, inboxes = exchange(targets)
    edges = sorted({0, len(keys), *(cut for cut in cuts if cut < len(keys))})
    for first, past in itertools.pairwise(edges):
        made.process(whole.slice(first, past - first))
    seen = []
    for subtask, inbox in enumerate(inboxes):
        rows = [row for batch in taken(inbox) for row in batch.to_pylist()]
        first, past = key_group_range(subtask, targets, GROUPS)
        groups = key_groups([pa.array([row["key"] for row in rows], pa.string())], GROUPS)
        assert ((groups >= first) & (groups < past)).all()
        numbers = [row["row"] for row in rows]
        assert numbers == sorted(numbers)
        seen += numbers
    assert sorted(seen) == list(range(len(keys)))


@given(st.integers(1, 300), st.sampled_from([1, 7, 128, 1_000, 32_768]))
def test_key_groups_are_owned_by_exactly_one_subtask_and_evenly(targets, groups):
    owners = key_group_owners(targets, groups)
    ranges = [key_group_range(subtask, targets, groups) for subtask in range(targets)]
    assert [owner for owner, (first, past) in enumerate(ranges) for _ in range(first, past)] == owners.tolist()
    counts = np.bincount(owners, minlength=targets)
    assert counts.max() - counts.min() <= 1


def test_a_batch_of_one_owner_is_sent_as_it_is():
    made, inboxes = exchange(4)
    batch = pa.record_batch({"key": ["a"] * 10})
    made.process(batch)
    (found,) = [batch for inbox in inboxes for batch in taken(inbox)]
    assert found is batch


@pytest.mark.parametrize("targets", [1, 3])
def test_signals_reach_every_target_in_order(targets):
    made, inboxes = exchange(targets)
    made.watermark(5)
    made.idle()
    made.barrier(barrier(1), None)
    made.end_following()
    for inbox in inboxes:
        assert taken(inbox) == [Watermark(5), Idle(), barrier(1), End()]


def test_forward_sends_everything_on():
    inbox = Emptied(1, 1 << 20)
    forward = Forward((inbox, 0))
    batch = moments(1)
    forward.process(batch)
    forward.watermark(1)
    assert taken(inbox) == [batch, Watermark(1)]
