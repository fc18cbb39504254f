"""One attempt: the first to end it says how; tearing it down ends every thread, whatever they wait for."""

from __future__ import annotations

import threading

import pytest

from krishiv_checkpoint import BarrierKind
from krishiv_guarantees import FatalError
from krishiv_stream._engine.elements import Barrier
from krishiv_stream._engine.errors import TaskFailed, TaskInterrupted
from krishiv_stream._engine.execution import Execution, TaskPlane, as_krishiv_error
from krishiv_stream._engine.graph import Graph
from krishiv_stream._engine.inbox import Inbox
from krishiv_stream._engine.metrics import TaskMetrics
from krishiv_stream._engine.operator import Operator
from krishiv_stream._engine.operators.exchange import Forward
from krishiv_stream._engine.snapshots import SnapshotWriter
from krishiv_stream._engine.state.blocks import RocksBlocks
from krishiv_stream._engine.task import Task
from tests.unit.engine.support import Heard, moments


class Driver:
    """Stands for the checkpoint driver: notes what is called when."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    def start(self) -> None:
        self._calls.append("driver starts")

    def close(self) -> None:
        self._calls.append("driver closed")


class Sending(Operator):
    """Sends everything on to an inbox, and waits where that is full."""

    def __init__(self, target: Inbox) -> None:
        super().__init__()
        self.outputs.append(Forward((target, 0)))
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def calls() -> list[str]:
    return []


def execution(calls: list[str], *tasks: Task, heard: Heard | None = None) -> Execution:
    graph = Graph(tasks=list(tasks))
    return Execution(graph, (heard or Heard()).control, Driver(calls), SnapshotWriter(None, 1))


def test_the_first_to_end_an_attempt_says_how(calls):
    failed = execution(calls)
    failed.fail(ValueError("first"))
    failed.finish("finished")
    failed.fail(ValueError("second"))
    assert (str(failed.error), failed.outcome) == ("first", None)
    finished = execution(calls)
    finished.finish("stopped")
    finished.fail(ValueError("late"))
    assert (finished.error, finished.outcome) == (None, "stopped")
    assert failed.wait(0)
    assert not execution(calls).wait(0)


def test_tearing_down_wakes_senders_and_receivers_and_closes_their_chains(calls):
    heard = Heard()
    first, second = Inbox(1, 1 << 20), Inbox(1, 10)
    sender, receiver = Sending(second), Operator()
    entered = threading.Event()

    def wait(batch):
        entered.set()
        assert heard.control.cancelled.wait(10)

    receiver.process = wait
    tasks = [
        Task(f"t#{n}", head, heard.control, None, TaskMetrics(), inbox=inbox, channels=1, restored_watermark=None)
        for n, (head, inbox) in enumerate([(sender, first), (receiver, second)])
    ]
    running = execution(calls, *tasks, heard=heard)
    running.start()
    for _ in range(3):
        first.put(0, moments(*range(100)))
    assert entered.wait(10)
    running.tear_down()
    assert [task._thread.is_alive() for task in tasks] == [False, False]
    assert sender.closed
    assert heard.failures == []
    assert calls == ["driver starts", "driver closed"]


def test_an_attempt_whose_tasks_never_ran_can_be_torn_down(calls):
    options = {"inbox": Inbox(1, 1), "channels": 1, "restored_watermark": None}
    task = Task("t#0", Operator(), Heard().control, None, TaskMetrics(), **options)
    execution(calls, task).tear_down()
    assert calls == ["driver closed"]


def test_the_plane_knows_no_epoch_twice_and_passes_triggers_to_every_source():
    plane = TaskPlane()
    plane.trigger(1, BarrierKind.CHECKPOINT)  # before there are tasks
    triggered: list[Barrier] = []

    class Source:
        trigger = triggered.append

    heard = Heard()
    plane.control, plane.graph = heard.control, Graph(sources=[Source(), Source()])
    plane.trigger(2, BarrierKind.STOP)
    plane.completed(2)
    plane.completed(1)
    assert triggered == [Barrier(2, BarrierKind.STOP)] * 2
    assert heard.control.completed == 2


def test_errors_of_ours_stay_what_they_are_and_others_are_wrapped_with_their_cause():
    ours, theirs, broken = FatalError("ours"), ValueError("theirs"), ConnectionResetError("gone")
    assert as_krishiv_error("t#0", ours) is ours
    wrapped = as_krishiv_error("t#0", theirs)
    assert (type(wrapped), wrapped.__cause__) == (TaskFailed, theirs)
    assert "'t#0' failed: ValueError: theirs" in wrapped.message
    assert isinstance(as_krishiv_error("t#0", broken), TaskInterrupted)


def test_state_of_tasks_that_never_ran_is_closed_too(calls, tmp_path):
    blocks = RocksBlocks(tmp_path / "state", 0)
    blocks.put(moments(1))
    Execution(Graph(stores=[blocks]), Heard().control, Driver(calls), SnapshotWriter(None, 1)).tear_down()
    assert not (tmp_path / "state").exists()
