"""A source task: batches of useful size, barriers before what was not yet read, time as its splits tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import krishiv_stream as ks
from krishiv_checkpoint import BarrierKind, OperatorSnapshot
from krishiv_guarantees import SkippableError
from krishiv_stream._engine.elements import END_OF_TIME, START_OF_TIME
from krishiv_stream._engine.errors import DifferentSourceSchema
from krishiv_stream._engine.inbox import Cancelled
from krishiv_stream._engine.metrics import OperatorMetrics, TaskMetrics
from krishiv_stream._engine.sources.assigner import SplitAssigner
from krishiv_stream._engine.sources.bad_rows import BadRows
from krishiv_stream._engine.sources.limiter import RateLimiter
from krishiv_stream._engine.sources.open_split import SplitClock
from krishiv_stream._engine.sources.source_time import SourceTime
from krishiv_stream._engine.sources.task import SourceHead, SourceOptions, SourceTask
from tests.unit.engine.support import MOMENTS, Clock, Heard, Recorder, Script, Taken, barrier, moments

if TYPE_CHECKING:
    from collections.abc import Sequence

UTC = pa.timestamp("us", tz="UTC")


class Driven:
    """The subtasks of one source; a test runs each on its own thread until an item of the script says `stop`."""

    def __init__(
        self,
        script: Script,
        *,
        subtasks: int = 1,
        restored: Sequence[OperatorSnapshot] = (),
        columns: tuple[str, ...] = ("x", "moment"),
        idle_timeout: str | None = None,
        batch_rows: int = 1_000,
        linger: float = 0.0,
        rate: float | None = None,
        on_bad_row: str = "fail",
    ) -> None:
        self.clock = Clock()
        self.heard = Heard()
        self.taken = Taken()
        strategy = ks.bounded_delay(0, idle_timeout)
        assigner = SplitAssigner(script, "moment", subtasks)
        finished = assigner.restore(restored)
        time = SourceTime(subtasks, assigner.restored_time)
        if assigner.drained:
            self.heard.control.draining.set()
        limiter = None if rate is None else RateLimiter(rate)
        self.tasks, self.outs, self.letters = [], [], []
        for subtask in range(subtasks):
            head, out, letters = SourceHead(), Recorder(), Recorder()
            head.outputs.append(out)
            head.letters.append(letters)
            counters = OperatorMetrics()
            task = SourceTask(
                f"s#{subtask}",
                head,
                self.heard.control,
                self.taken,
                TaskMetrics(),
                source=script,
                assigner=assigner,
                clock=SplitClock(strategy, "moment", "us", self.clock),
                time=time,
                options=SourceOptions(
                    operator_id="s",
                    subtask=subtask,
                    columns=columns,
                    schema=script.schema(),
                    batch_rows=batch_rows,
                    linger=linger,
                ),
                counters=counters,
                bad_rows=BadRows("s", counters, fail=on_bad_row == "fail", letters=head.send_letters),
                limiter=limiter,
                finished=finished if subtask == 0 else frozenset(),
            )
            self.tasks.append(task)
            self.outs.append(out)
            self.letters.append(letters)

    @property
    def out(self) -> Recorder:
        return self.outs[0]

    def stop(self) -> None:
        self.heard.control.cancelled.set()

    def trigger(self, epoch: int, kind: BarrierKind = BarrierKind.CHECKPOINT) -> None:
        for task in self.tasks:
            task.trigger(barrier(epoch, kind))

    def run(self, subtask: int = 0) -> list[Any]:
        """Run one subtask until it is stopped; return what came out."""
        before = len(self.outs[subtask].events)
        self.heard.control.cancelled.clear()
        with pytest.raises(Cancelled):
            self.tasks[subtask].run()
        return self.outs[subtask].events[before:]

    def snapshots(self) -> list[OperatorSnapshot]:
        return self.taken.written()


def driven(items: dict[str, list[Any]], *, script: dict[str, Any] | None = None, **options: Any) -> Driven:
    """Make a source of `items`; the names of methods of `Driven` in them stand for a call."""
    made: list[Driven] = []

    def filled(item: Any) -> Any:
        return (lambda: getattr(made[0], item)()) if isinstance(item, str) else item

    source = Script({name: [filled(item) for item in part] for name, part in items.items()}, **(script or {}))
    made.append(Driven(source, **options))
    return made[0]


def rows_of(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, list)]


def times_of(events: list[Any]) -> list[Any]:
    return [event if event == "idle" else event[1] for event in events if event == "idle" or event[0] == "watermark"]


# --- batches


def test_small_batches_are_joined_up_to_the_rows_wished_for():
    source = driven({"a": [moments(1, 2), moments(3), moments(4, 5), moments(6), "stop"]}, batch_rows=3, linger=1e9)
    assert rows_of(source.run()) == [[1, 2, 3], [4, 5, 6]]


def test_a_small_batch_goes_on_its_way_after_the_linger():
    source = driven({"a": []}, linger=10.0, script={"bounded": False})
    clock = source.clock
    source.tasks[0]._source.items["a"] = [
        moments(1),
        lambda: setattr(clock, "now", clock.now + 9),
        moments(2),
        lambda: setattr(clock, "now", clock.now + 2),
        moments(3),
        moments(4),
        source.stop,
    ]
    assert rows_of(source.run()) == [[1, 2]]


def test_rows_read_before_a_barrier_are_sent_before_it_and_its_positions_count_them():
    source = driven({"a": [moments(1), moments(2), lambda: source.trigger(1), moments(3), "stop"]}, linger=1e9)
    assert source.run() == [[1, 2], ("watermark", 2), ("barrier", 1)]
    (snapshot,) = source.snapshots()
    (entry,) = snapshot.inline["open"]
    assert (entry["position"], entry["watermark"]) == (3, 2)


def test_two_barriers_at_once_pass_one_after_the_other():
    source = driven({"a": [lambda: source.trigger(1), lambda: source.trigger(2), "stop"]})
    source.trigger(0)
    assert source.run() == [("barrier", 0), ("barrier", 1), ("barrier", 2)]


def test_a_stop_barrier_ends_the_reading_and_a_later_one_still_passes():
    source = driven({"a": [moments(1), lambda: source.trigger(1, BarrierKind.STOP), moments(2)]})
    source.taken.submit = lambda task, taken: source.stop()
    assert source.run()[-1] == ("barrier", 1)
    source.trigger(2, BarrierKind.STOP)
    assert source.run()[-1] == ("barrier", 2)
    assert source.out.rows == [1]


def test_columns_are_put_in_order_and_superfluous_ones_left_out():
    wide = pa.schema([("extra", pa.string()), ("moment", UTC), ("x", pa.int64())])
    batch = pa.RecordBatch.from_arrays([pa.array(["e"]), pa.array([5]).cast(UTC), pa.array([7])], schema=wide)
    source = driven({"a": [batch]})
    source.heard.control.on_ended = lambda _: source.stop()
    assert rows_of(source.run()) == [[7]]


@pytest.mark.parametrize(
    "schema", [pa.schema([("x", pa.int32()), ("moment", UTC)]), pa.schema([("x", pa.int64())])], ids=["type", "missing"]
)
def test_other_columns_than_planned_are_an_error_that_shows_both(schema):
    batch = pa.RecordBatch.from_arrays([pa.array([1], field.type) for field in schema], schema=schema)
    source = driven({"a": [batch]}, columns=("x", "moment"))
    source.tasks[0]._clock = SplitClock(None, None, None)
    with pytest.raises(DifferentSourceSchema, match=r"planned with \['x', 'moment'\]"):
        source.tasks[0].run()


def test_empty_batches_count_as_nothing():
    source = driven({"a": [moments(), moments(1), moments(), "stop"]})
    assert rows_of(source.run()) == [[1]]


def test_a_batch_larger_than_wished_for_is_sent_whole():
    source = driven({"a": [moments(*range(10)), "stop"]}, batch_rows=3)
    assert rows_of(source.run()) == [list(range(10))]


# --- bad rows


def bad(source: Driven, text: str) -> None:
    source.tasks[0]._context.bad_rows(SkippableError(text, place="p", raw=text.encode()))


def test_dead_letters_go_before_the_barrier_that_covers_their_place():
    source = driven(
        {"a": [lambda: bad(source, "one"), moments(1), lambda: bad(source, "two"), lambda: source.trigger(1), "stop"]},
        on_bad_row="letters",
    )
    source.run()
    assert [event for event in source.letters[0].events if event[0] != "watermark"] == [["s"], ["s"], ("barrier", 1)]
    assert source.tasks[0]._counters.dropped_rows == 2


def test_a_bad_row_fails_the_job_if_it_is_to():
    source = driven({"a": [lambda: bad(source, "one")]})
    with pytest.raises(SkippableError, match="one"):
        source.tasks[0].run()


# --- the end


def test_the_end_of_all_splits_is_told_once_and_barriers_go_on():
    source = driven({"a": [moments(1)], "b": [moments(2)]})
    source.heard.control.on_ended = lambda _: (source.trigger(1), source.trigger(2))
    source.taken.submit = lambda task, taken: source.stop() if taken.epoch == 2 else None
    events = source.run()
    assert sorted(rows_of(events)) == [[1], [2]]
    assert events[-4:] == [("watermark", END_OF_TIME), "end", ("barrier", 1), ("barrier", 2)]
    assert sorted(source.tasks[0]._source.closed) == ["a", "b"]


def test_drained_sources_end_with_what_they_have_read_and_say_so_in_every_later_snapshot():
    source = driven({"a": [moments(1), lambda: source.heard.control.draining.set(), moments(2)]}, linger=1e9)
    source.heard.control.on_ended = lambda _: source.trigger(1)
    source.taken.submit = lambda *taken: (source.taken.collected.append(taken), source.stop())
    assert source.run() == [[1], ("watermark", 1), ("watermark", END_OF_TIME), "end", ("barrier", 1)]
    (snapshot,) = source.snapshots()
    assert snapshot.inline["drained"]
    assert [(e["id"], e["position"]) for e in snapshot.inline["open"]] == [("a", 2)]


def test_time_is_not_told_any_more_after_the_end_though_splits_are_left():
    """Else a channel that was at the end of time would fall back, and windows would never close."""
    source = driven({"a": [moments(1)], "b": [moments(9), lambda: source.heard.control.draining.set()]})
    source.heard.control.on_ended = lambda _: source.trigger(1)
    source.taken.submit = lambda *taken: source.stop()
    source.tasks[0]._source.bounded = False
    assert source.run()[-3:] == [("watermark", END_OF_TIME), "end", ("barrier", 1)]


def test_a_checkpoint_taken_while_draining_goes_on_draining_when_it_is_restored():
    """Windows have closed by then: rows read after it would all be late, and be lost."""
    source = driven({"a": [moments(1), lambda: source.heard.control.draining.set(), moments(2)]})
    source.heard.control.on_ended = lambda _: source.trigger(1)
    source.taken.submit = lambda *taken: (source.taken.collected.append(taken), source.stop())
    source.run()
    again = Driven(Script({"a": [moments(1), None, moments(2)]}), restored=source.snapshots())
    again.heard.control.on_ended = lambda _: again.stop()
    assert rows_of(again.run()) == []


def test_a_source_that_had_ended_refuses_new_splits():
    source = driven({"a": [moments(1)]})
    source.heard.control.on_ended = lambda _: source.trigger(1)
    source.taken.submit = lambda *taken: (source.taken.collected.append(taken), source.stop())
    source.run()
    with pytest.raises(ks.KrishivError, match=r"KS-NEW-INPUT.*'b'"):
        Driven(Script({"a": [moments(1)], "b": [moments(2)]}), restored=source.snapshots())


def test_every_reader_is_closed_though_one_fails_to():
    source = driven({"a": [moments(1), None], "b": [None, "stop"]})
    task, script = source.tasks[0], source.tasks[0]._source
    closed = []
    script.closed = closed
    original = script.open

    def open_one(split, position, ctx):
        reader = original(split, position, ctx)
        if split.id == "a":
            reader.close = lambda: 1 // 0
        return reader

    script.open = open_one
    script.bounded = False
    task.start()
    task.join()
    assert closed == ["b"]
    assert [type(error) for _, error in source.heard.failures] == [ZeroDivisionError]


# --- restore


def test_a_restored_source_goes_on_at_its_positions_and_times():
    source = driven({"a": [moments(5), lambda: source.trigger(1), moments(6), "stop"]})
    source.run()
    again = driven({"a": [moments(5), None, moments(6), "stop"]}, restored=source.snapshots())
    assert again.run() == [("watermark", 5), [6], ("watermark", 6)]


def test_time_is_restored_where_every_split_was_read_and_more_are_awaited():
    source = driven({"a": [moments(5)]}, script={"discovers": True, "sequential": True})
    source.clock.after(20, source.stop)
    source.run()
    source.trigger(1)
    source.run()
    assert source.snapshots()[0].inline["finished"] == ["a"]
    again = Driven(Script({"a": []}, discovers=True, sequential=True), restored=source.snapshots())
    again.clock.after(20, again.stop)
    assert again.run() == [("watermark", 5)]


@pytest.mark.parametrize(("answer", "time"), [(moments(7), 7), (None, 100)])
def test_an_idle_split_is_restored_as_idle_but_is_asked_first(answer, time):
    def split(*items: Any) -> Script:
        return Script({"a": [moments(5), *items], "b": []}, bounded=False)

    source = Driven(split(), idle_timeout="30s")
    source.tasks[0]._source.items["b"] = [None, pass_time(source, 31), lambda: source.trigger(1), source.stop]
    source.run()
    snapshots = source.snapshots()
    assert {e["id"]: e["idle"] for e in snapshots[0].inline["open"]} == {"a": False, "b": True}
    again = Driven(split(moments(100)), restored=snapshots, idle_timeout="30s")
    again.tasks[0]._source.items["b"] = [None, None, None, answer, again.stop]
    assert times_of(again.run()) == [5, time]


# --- splits found between trigger and barrier


def following(*names: str) -> Script:
    items: dict[str, list[Any]] = {
        name: [moments(n * 10 + 1), None, moments(n * 10 + 2)] for n, name in enumerate(names)
    }
    return Script(items, sequential=True, discovers=True)


def read_again(source: Driven, *names: str) -> list[int]:
    """Return the rows that a restored source reads: those that are not in the snapshot."""
    again = Driven(following(*names), restored=source.snapshots())
    again.clock.after(40, again.stop)
    again.run()
    return again.out.rows


def test_a_split_found_and_read_before_a_subtasks_own_barrier_is_in_its_snapshot():
    """The first subtask, which says what is known, has passed the barrier when the split is found."""
    source = Driven(following("a"), subtasks=2)
    source.clock.after(40, source.stop)
    source.trigger(1)
    source.run(0)
    script = source.tasks[0]._source
    script.items["b"] = [moments(11), source.stop, moments(12)]
    source.tasks[0]._assigner.discover()
    source.tasks[1]._triggers.clear()
    source.run(1)
    source.tasks[1].trigger(barrier(1))
    source.run(1)
    assert source.outs[1].rows == [11, 12]
    rows = read_again(source, "a", "b")
    before = source.outs[1].events[: source.outs[1].events.index(("barrier", 1))]
    assert sorted([*rows, *[row for event in rows_of(before) for row in event]]) == [1, 2, 11, 12]


def test_a_split_taken_after_a_subtasks_own_barrier_is_read_from_its_beginning():
    source = Driven(following("a", "b"), subtasks=2)
    source.clock.after(40, source.stop)
    source.trigger(1)
    source.run(1)
    assert source.outs[1].events.index(("barrier", 1)) == 0
    source.run(0)
    rows = read_again(source, "a", "b")
    assert sorted(rows) == [1, 2, 11, 12]


# --- time


def test_time_is_the_least_of_the_splits_and_waits_for_those_that_have_said_nothing():
    source = driven({"a": [moments(5), moments(9), None], "b": [None, moments(3), "stop"]}, script={"bounded": False})
    assert times_of(source.run()) == [3]


def test_time_goes_on_without_a_split_that_ended():
    source = driven({"a": [moments(3)], "b": [moments(5), None, moments(6), "stop"]})
    times = times_of(source.run())
    assert times[0] in (3, 5)  # whichever is read first
    assert times[-1] == 6


def test_an_unread_split_holds_time_at_its_minimum():
    source = driven(
        {"a": [moments(5), moments(50)], "b": [moments(20), "stop"]},
        script={"sequential": True, "minima": {"b": 15}},
    )
    assert times_of(source.run()) == [5, 15, 20]


def test_rows_before_1970_move_time_too():
    source = driven({"a": [moments(-50), moments(-10), moments(0), moments(-5), moments(10), "stop"]})
    assert times_of(source.run()) == [-50, -10, 0, 10]


def test_a_source_watermark_of_zero_is_a_time_like_any_other():
    source = driven({"a": [moments(0), moments(-5), -7, "stop"]})
    assert times_of(source.run()) == [0]


def pass_time(source: Driven, seconds: float) -> Any:
    return lambda: setattr(source.clock, "now", source.clock.now + seconds)


def test_a_split_that_answers_with_nothing_for_longer_than_the_timeout_no_longer_holds_time():
    source = Driven(Script({"a": [], "b": []}, bounded=False), idle_timeout="30s")
    items = source.tasks[0]._source.items
    items["a"] = [moments(5), moments(6), moments(7), source.stop]
    items["b"] = [moments(1), None, pass_time(source, 31)]
    assert times_of(source.run()) == [1, 7]


def test_a_split_is_not_idle_because_the_engine_did_not_ask_it():
    """While what follows is held up for a minute, no split is read: none may be left out of account for it."""
    source = Driven(Script({"a": [], "b": []}, bounded=False), idle_timeout="30s")
    items = source.tasks[0]._source.items
    items["a"] = [moments(5), moments(100), source.stop]
    items["b"] = [moments(1), moments(2), moments(3)]
    held_up = source.out.process

    def slowly(batch):
        source.clock.now += 60
        held_up(batch)

    source.out.process = slowly
    assert max(times_of(source.run())) <= 3


def test_a_source_whose_splits_are_all_idle_says_so_and_counts_again_before_its_next_rows():
    source = Driven(Script({"a": []}, bounded=False), idle_timeout="30s")
    source.tasks[0]._source.items["a"] = [
        moments(5), None, pass_time(source, 31), None, None, moments(4), moments(6), source.stop,
    ]  # fmt: skip
    assert source.run() == [[5], ("watermark", 5), "idle", ("watermark", 5), [4], [6], ("watermark", 6)]


def test_a_source_that_was_idle_from_the_start_counts_before_its_first_rows():
    source = Driven(Script({"a": []}, bounded=False), idle_timeout="30s")
    source.tasks[0]._source.items["a"] = [None, pass_time(source, 31), None, None, moments(4), source.stop]
    assert source.run() == ["idle", ("watermark", START_OF_TIME), [4], ("watermark", 4)]


def test_a_source_that_waits_for_its_next_file_holds_time_where_it_is():
    """Without an idle timeout its next rows must not find that time has gone beyond them."""
    source = Driven(Script({"a": [moments(5)]}, sequential=True, discovers=True))
    source.clock.after(20, source.stop)
    assert times_of(source.run()) == [5]


def test_a_source_that_waits_for_its_next_file_is_idle_after_the_timeout():
    source = Driven(Script({"a": [moments(5)]}, sequential=True, discovers=True), idle_timeout="30s")

    def minute():
        source.clock.now += 60
        if "idle" in source.out.events:
            source.stop()

    source.clock.after(20, minute)
    assert times_of(source.run()) == [5, "idle"]


def test_no_idleness_is_told_between_two_files():
    source = driven(
        {"a": [moments(5), lambda: source.trigger(1)], "b": [lambda: source.trigger(2), moments(6), "stop"]},
        script={"sequential": True, "discovers": True},
    )
    assert "idle" not in source.run()


def test_a_subtask_without_splits_follows_the_others_and_holds_them_once_it_is_given_one():
    """The second subtask must not be beyond the rows of the file that it is about to be given."""
    source = Driven(Script({"a": []}, sequential=True, discovers=True, bounded=False), subtasks=2)
    script, assigner = source.tasks[0]._source, source.tasks[0]._assigner
    script.items["a"] = [moments(5), source.stop]
    source.run(0)
    source.clock.after(20, source.stop)
    assert source.run(1) == [("watermark", 5)]
    script.items["c"] = [moments(8), moments(9), source.stop]
    script.minima["c"] = 7
    assigner.discover()
    script.items["a"] += [moments(30), source.stop]
    assert times_of(source.run(0))[-1] == 7
    assert source.run(1)[1:] == [[8], ("watermark", 8), [9], ("watermark", 9)]


def test_where_no_subtask_has_a_split_time_is_where_the_furthest_came():
    script = Script({"a": [moments(5)], "b": [moments(50)]}, sequential=True, discovers=True)
    source = Driven(script, subtasks=2)
    source.clock.after(20, source.stop)
    for subtask in (0, 1, 0, 1):
        source.run(subtask)
    assert [times_of(out.events)[-1] for out in source.outs] == [50, 50]


# --- rate


def test_a_rate_is_of_the_whole_source_however_many_subtasks_read():
    clock = Clock()
    limiter = RateLimiter(1_000, clock)
    passed = 0
    for _ in range(1_000):
        while limiter.delay() == 0:  # any subtask that asks
            limiter.took(limiter.batch_rows)
            passed += limiter.batch_rows
        clock.now += 0.01
    assert passed == pytest.approx(10_000, abs=150)


def test_a_rate_below_one_row_per_second_lets_single_rows_through():
    clock = Clock()
    limiter = RateLimiter(0.5, clock)
    limiter.took(limiter.batch_rows)
    assert limiter.delay() == pytest.approx(2.0, abs=0.2)


def test_a_source_with_a_rate_asks_for_batches_that_follow_each_other_smoothly():
    source = driven({"a": [moments(1), "stop"]}, rate=200)
    assert source.tasks[0]._context.batch_rows == 10


def test_a_barrier_and_a_drain_pass_at_once_though_the_rate_says_to_wait():
    source = driven({"a": [moments(1), moments(2)]}, rate=0.001)
    source.heard.control.on_ended = lambda _: source.stop()
    source.taken.submit = lambda *taken: (source.heard.control.draining.set(), source.tasks[0].wake())
    source.trigger(1)
    assert source.run() == [("barrier", 1), ("watermark", END_OF_TIME), "end"]
    assert MOMENTS.names == source.tasks[0]._schema.names


def test_a_strategy_that_goes_by_the_clock_tells_the_time_though_no_row_comes(monkeypatch):
    source = driven({"a": [None, "stop"]}, script={"bounded": False})
    source.tasks[0]._clock = SplitClock(ks.processing_time(), "moment", "us", source.clock)
    monkeypatch.setattr("krishiv_stream._engine.sources.open_split.time.time_ns", lambda: 7_000)
    assert times_of(source.run()) == [7]
