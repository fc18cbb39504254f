"""An inner task: barriers aligned over its channels, time as the least of them, the end when all have ended."""

from __future__ import annotations

import pytest

from krishiv_stream._engine.elements import END_OF_TIME, End, Idle, Watermark
from krishiv_stream._engine.inbox import Cancelled
from krishiv_stream._engine.metrics import TaskMetrics
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.task import Task
from tests.unit.engine.support import Emptied, Heard, Recorder, Taken, barrier, moments


class Driven:
    """A task with `channels` channels that runs on the test's own thread until its inbox is empty."""

    def __init__(self, channels: int, restored: int | None = None) -> None:
        self.inbox = Emptied(channels, 1 << 20)
        self.heard = Heard()
        self.taken = Taken()
        self.out = Recorder()
        head = Operator()
        head.outputs.append(self.out)
        self.task = Task(
            "t#0",
            head,
            self.heard.control,
            self.taken,
            TaskMetrics(),
            inbox=self.inbox,
            channels=channels,
            restored_watermark=restored,
        )

    def give(self, channel: int, *elements) -> Driven:
        for element in elements:
            self.inbox.put(channel, element)
        return self

    def run(self) -> list:
        """Take everything that can be taken; return what came out since the last call."""
        before = len(self.out.events)
        with pytest.raises(Cancelled):
            self.task.run()
        return self.out.events[before:]


def test_barrier_waits_for_every_channel_and_rows_behind_it_wait_with_it():
    task = Driven(2)
    task.give(0, moments(1), barrier(1), moments(2))
    assert task.run() == [[1]]
    task.give(1, moments(10), barrier(1), moments(20))
    assert task.run() == [[10], ("barrier", 1), [2], [20]]
    assert [collector.epoch for _, collector in task.taken.collected] == [1]


def test_barriers_of_three_channels_that_come_in_any_order_cut_each_channel_at_its_own():
    task = Driven(3)
    task.give(2, barrier(1), moments(300), barrier(2))
    task.give(0, moments(1), barrier(1), barrier(2), moments(3))
    task.give(1, moments(10), barrier(1), moments(20), barrier(2), moments(30))
    events = task.run()
    first, second = events.index(("barrier", 1)), events.index(("barrier", 2))
    assert sorted(events[:first]) == [[1], [10]]
    assert sorted(events[first + 1 : second]) == [[20], [300]]
    assert sorted(events[second + 1 :]) == [[3], [30]]


def test_a_barrier_of_a_failed_epoch_is_followed_by_the_next_in_every_channel():
    task = Driven(2)
    task.give(0, barrier(1), barrier(2))
    assert task.run() == []
    task.give(1, barrier(1), barrier(2))
    assert task.run() == [("barrier", 1), ("barrier", 2)]


def test_ended_channels_pass_barriers_and_the_task_ends_with_its_last_channel():
    task = Driven(2)
    task.give(0, Watermark(END_OF_TIME), End())
    task.give(1, moments(1), Watermark(5))
    assert task.run() == [[1], ("watermark", 5)]
    task.give(0, barrier(1)).give(1, barrier(1))
    assert task.run() == [("barrier", 1)]
    assert task.heard.ended == []
    task.give(1, Watermark(END_OF_TIME), End())
    assert task.run() == [("watermark", END_OF_TIME), "end"]
    assert task.heard.ended == ["t#0"]
    task.give(0, barrier(2)).give(1, barrier(2))
    assert task.run() == [("barrier", 2)]


def test_time_waits_for_a_channel_that_has_not_spoken():
    task = Driven(2)
    task.give(0, Watermark(100))
    assert task.run() == []
    task.give(1, Watermark(50))
    assert task.run() == [("watermark", 50)]


def test_restored_time_never_falls():
    task = Driven(2, restored=70)
    task.give(0, Watermark(100)).give(1, Watermark(50))
    assert task.run() == []
    task.give(1, Watermark(80))
    assert task.run() == [("watermark", 80)]


def test_idle_channels_do_not_hold_time_and_idleness_is_told_once_all_are():
    task = Driven(2)
    task.give(0, Watermark(100)).give(1, Idle())
    assert task.run() == [("watermark", 100)]
    task.give(0, Idle())
    assert task.run() == ["idle"]


def test_idle_channels_pass_barriers():
    task = Driven(2)
    task.give(0, Idle(), barrier(1)).give(1, Watermark(5), barrier(1))
    assert task.run()[-1] == ("barrier", 1)


def test_a_task_that_was_idle_says_so_when_it_is_no_longer_though_time_has_not_risen():
    """Else what follows would leave it out of account, and go beyond the rows that it is about to send."""
    task = Driven(2)
    task.give(0, Watermark(100), Idle()).give(1, Watermark(100), Idle())
    assert task.run() == [("watermark", 100), "idle"]
    task.give(0, Watermark(60))
    assert task.run() == [("watermark", 100)]
    task.give(0, Watermark(70))
    assert task.run() == []


def test_idleness_is_told_once():
    task = Driven(2)
    task.give(0, Idle()).give(1, Idle(), Idle())
    assert task.run() == ["idle"]


def test_an_error_in_a_chain_is_told_with_its_task_and_the_chain_is_closed():
    closed = []

    class Broken(Operator):
        def process(self, batch):
            raise ValueError("no")

        def close(self):
            closed.append(True)

    heard = Heard()
    inbox = Emptied(1, 1 << 20)
    task = Task(
        "t#0", Broken(), heard.control, Taken(), TaskMetrics(), inbox=inbox, channels=1, restored_watermark=None
    )
    inbox.put(0, moments(1))
    task.start()
    task.join()
    ((name, error),) = heard.failures
    assert (name, str(error)) == ("t#0", "no")
    assert closed == [True]


@pytest.mark.parametrize("step", ["open", "barrier", "close"])
def test_an_error_at_any_step_ends_the_thread_and_is_told(step):
    class Broken(Operator):
        pass

    def fail(*_):
        raise ValueError(step)

    setattr(Broken, step, fail)
    heard = Heard()
    inbox = Emptied(1, 1 << 20)
    task = Task(
        "t#0", Broken(), heard.control, Taken(), TaskMetrics(), inbox=inbox, channels=1, restored_watermark=None
    )
    inbox.put(0, barrier(1))
    task.start()
    task.join()
    assert [str(error) for _, error in heard.failures] == [step]
