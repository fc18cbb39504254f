"""Splits go to subtasks once; finished ones never again; vanished ones are named; unread ones hold back time."""

from collections.abc import Sequence

import pytest

from krishiv_checkpoint import OperatorSnapshot
from krishiv_connectors import Reader, Source, SourceContext, Split
from krishiv_guarantees import SourceCapabilities
from krishiv_stream._engine.errors import NewInput, SplitVanished
from krishiv_stream._engine.sources.assigner import SplitAssigner


class Named(Source[int]):
    """A source that only has splits."""

    def __init__(self, *names: str, sequential: bool = True, minima: dict[str, int] | None = None) -> None:
        self.names = list(names)
        self.sequential = sequential
        self.minima = minima or {}

    def schema(self):
        raise AssertionError

    def splits(self) -> Sequence[Split]:
        return [Split(name) for name in self.names]

    def open(self, split: Split, position: int | None, ctx: SourceContext) -> Reader[int]:
        raise AssertionError

    def capabilities(self) -> SourceCapabilities:
        return SourceCapabilities(
            bounded=False, replayable=True, exact_positions=True, ordered_replay=True, discovers_splits=True
        )

    def event_time_minimum(self, split: Split, column: str) -> int | None:
        return self.minima.get(split.id)


def assigner(source: Named, parallelism: int = 1, snapshots: Sequence[OperatorSnapshot] = ()) -> SplitAssigner:
    made = SplitAssigner(source, "time", parallelism)
    made.finished = made.restore(snapshots)
    return made


def snapshot(opened: Sequence[str] = (), finished: Sequence[str] = (), known: Sequence[str] = ()) -> OperatorSnapshot:
    entries = [entry(name, position=7) for name in opened]
    return OperatorSnapshot("source", 0, inline={"open": entries, "finished": list(finished), "known": list(known)})


def entry(name: str, position: int) -> dict[str, object]:
    return {"id": name, "payload": {}, "position": position, "watermark": 100}


def ids(made: SplitAssigner, already_open: int = 0) -> list[str]:
    found = []
    while (assigned := made.take(already_open)) is not None:
        found.append(assigned.split.id)
    return found


def test_sequential_splits_are_handed_out_one_at_a_time_in_order():
    made = assigner(Named("a", "b", "c"))
    assert made.take(0).split.id == "a"
    assert made.take(1) is None
    assert made.take(0).split.id == "b"


def test_other_splits_are_spread_over_the_subtasks():
    made = assigner(Named("a", "b", "c", "d", "e", sequential=False), parallelism=2)
    first = [made.take(n).split.id for n in range(3)]
    assert made.take(3) is None
    second = [made.take(n).split.id for n in range(2)]
    assert first + second == ["a", "b", "c", "d", "e"]


def test_restored_splits_go_on_where_they_were_before_new_ones_begin():
    made = assigner(
        Named("a", "b", "c", "d"), snapshots=[snapshot(opened=["b"], finished=["a"], known=["a", "b", "c"])]
    )
    assert made.finished == {"a"}
    first = made.take(0)
    assert (first.split.id, first.position, first.watermark) == ("b", 7, 100)
    assert ids(made) == ["c", "d"]


def test_restored_splits_are_read_in_the_order_of_the_source_whoever_had_them():
    """One that has given no rows yet holds back no time: it must not come after a later one."""
    made = assigner(Named("a", "b", "c"), snapshots=[snapshot(opened=["b"], known=["a", "b"]), snapshot(opened=["a"])])
    assert ids(made) == ["a", "b", "c"]


def test_a_split_that_vanished_unread_is_named():
    with pytest.raises(SplitVanished, match="'c'"):
        assigner(Named("a", "b"), snapshots=[snapshot(opened=["b"], finished=["a"], known=["a", "b", "c"])])


def test_a_finished_split_may_vanish():
    made = assigner(Named("b"), snapshots=[snapshot(opened=["b"], finished=["a"], known=["a", "b"])])
    assert ids(made) == ["b"]


def test_discovery_adds_new_splits_and_no_old_one_again():
    source = Named("a")
    made = assigner(source)
    assert ids(made) == ["a"]
    source.names.append("b")
    made.discover()
    made.discover()
    assert ids(made) == ["b"]


def test_discovery_names_a_waiting_split_that_is_gone():
    source = Named("a", "b")
    made = assigner(source)
    made.take(0)
    source.names.remove("b")
    with pytest.raises(SplitVanished, match="'b'"):
        made.discover()


def test_unread_splits_hold_time_at_their_minimum():
    made = assigner(Named("a", "b", minima={"a": 50, "b": 30}))
    assert made.unread_minimum() == 30
    made.take(0)
    made.take(0)
    assert made.unread_minimum() is None


def test_unread_splits_without_a_known_minimum_do_not_hold_time():
    assert assigner(Named("a", "b")).unread_minimum() is None


def test_restored_splits_hold_time_at_their_own_watermark():
    made = assigner(Named("a", "b", minima={"b": 500}), snapshots=[snapshot(opened=["a"], known=["a", "b"])])
    assert made.unread_minimum() == 100


def test_a_restored_split_that_nobody_had_taken_by_the_barrier_stays_where_it_was():
    first = snapshot(opened=["a", "b"], known=["a", "b", "c"])
    attempt = assigner(Named("a", "b", "c"), snapshots=[first])
    attempt.take(0)
    later = OperatorSnapshot(
        "source", 0, inline={"open": [entry("a", position=9)], "finished": [], **attempt.snapshot()}
    )
    again = assigner(Named("a", "b", "c"), snapshots=[later])
    assert {at.split.id: at.position for at in iter(lambda: again.take(0), None)} == {"b": 7, "a": 9, "c": None}


def test_a_restored_split_that_was_taken_and_finished_by_the_barrier_is_not_read_again():
    attempt = assigner(Named("a", "b"), snapshots=[snapshot(opened=["a"], known=["a", "b"])])
    later = OperatorSnapshot("source", 0, inline={"open": [], "finished": ["a"], **attempt.snapshot()})
    assert ids(assigner(Named("a", "b"), snapshots=[later])) == ["b"]


def test_splits_are_shared_out_by_what_is_left_and_not_by_what_was_read_before():
    known = [f"old-{n}" for n in range(8)] + ["a", "b"]
    made = assigner(Named(*known, sequential=False), 2, [snapshot(finished=known[:8], known=known)])
    assert made.take(0).split.id == "a"
    assert made.take(1) is None
    assert made.take(0).split.id == "b"


def test_the_least_unread_minimum_rises_as_splits_are_taken():
    made = assigner(Named("a", "b", "c", "d", minima={"a": 10, "b": 5, "d": 20}))
    found = [made.unread_minimum()]
    while made.take(0):
        found.append(made.unread_minimum())
    assert found == [5, 5, 20, 20, None]


def ended(finished: Sequence[str], **inline: object) -> OperatorSnapshot:
    made = snapshot(finished=finished, known=finished)
    return OperatorSnapshot("source", 0, inline={**made.inline, "ended": True, "time": 7, **inline})


def test_a_source_that_had_ended_ends_again_and_refuses_what_is_new():
    assert ids(assigner(Named("a"), snapshots=[ended(["a"])])) == []
    with pytest.raises(NewInput, match="'b' and 1 more"):
        assigner(Named("a", "b", "c"), snapshots=[ended(["a"])])


def test_a_source_of_which_one_subtask_had_ended_takes_what_is_new():
    going_on = snapshot(opened=["b"], known=["a", "b"])
    made = assigner(Named("a", "b", "c"), 2, [ended(["a"]), going_on])
    assert ids(made) == ["b", "c"]


def test_restored_time_is_the_least_of_the_subtasks_that_had_not_ended():
    def at(time: int | None) -> OperatorSnapshot:
        return OperatorSnapshot("source", 0, inline={"open": [], "finished": [], "time": time})

    assert assigner(Named(), snapshots=[at(30), at(20)]).restored_time == 20
    assert assigner(Named(), snapshots=[at(30), at(None)]).restored_time is None
    assert assigner(Named(), snapshots=[at(30), ended([], time=5)]).restored_time == 30
    assert assigner(Named(), snapshots=[]).restored_time is None


def test_a_source_one_of_whose_subtasks_was_drained_is_drained():
    assert assigner(Named(), snapshots=[snapshot(), ended([], drained=True)]).drained
    assert not assigner(Named(), snapshots=[snapshot(), ended([])]).drained
